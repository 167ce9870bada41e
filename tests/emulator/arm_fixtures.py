"""An emulated arm at an address of its own, shared by a test module."""

import itertools
import os

from real.emulator.arm_process import ArmProcess
from real.emulator.fci_config import FciConfig

PATIENCE_S = 0.2
"""A busy machine must not look like a bad line; only a client that is silent for 20 x this is cut off."""
_count = itertools.count(1)


def free_address() -> str:
    """A loopback address that no other test process uses."""
    pid = os.getpid()
    return f"127.{100 + next(_count) % 100}.{pid // 250 % 250}.{1 + pid % 250}"


def emulated_arm(**changes) -> ArmProcess:
    return ArmProcess(FciConfig(free_address(), **{"patience_s": PATIENCE_S, **changes}))
