"""An emulated arm at an address of its own, and what tests do with it."""

import itertools
import os
import time

import numpy as np

from real.emulator.arm_process import ArmProcess
from real.emulator.fci_config import FciConfig
from real.fr3_config import FR3Config

PATIENCE_S = 0.2
"""A busy machine must not look like a bad line; only a client that is silent for 20 x this is cut off."""
STALE_FAULT_S = 0.6
"""Longer than the 0.2 s of the robot, so that a busy machine does not look like a frozen arm; shorter than libfranka's 1 s."""
_count = itertools.count(1)


def free_address() -> str:
    """A loopback address that no other test process uses."""
    pid = os.getpid()
    return f"127.{100 + next(_count) % 100}.{pid // 250 % 250}.{1 + pid % 250}"


def emulated_arm(**changes) -> ArmProcess:
    return ArmProcess(FciConfig(free_address(), **{"patience_s": PATIENCE_S, **changes}))


def client_config(arm, **changes) -> FR3Config:
    relaxed = {"stale_hold_s": 0.25, "stale_fault_s": STALE_FAULT_S}
    return FR3Config(arm.config.address, **{**relaxed, **changes})


def drive(driver, seconds, where=lambda t: 0.0, period_s=0.05):
    """Stream set points around the present pose; returns the start pose."""
    start, begin = driver.state().q, time.monotonic()
    while (t := time.monotonic() - begin) < seconds:
        driver.command(start + where(t), time.monotonic_ns())
        time.sleep(period_s)
    return start


def stands_still(arm):
    before = arm.status().q
    time.sleep(0.15)
    return np.abs(arm.status().q - before).max() < 2e-3
