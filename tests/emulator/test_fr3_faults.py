"""Every fault of arm, line and caller ends in a holding arm."""

import subprocess
import sys
import time

import numpy as np
import pytest

from dexhil_env.errors import DeviceError
from real.emulator.fci_wire import ErrorBit
from real.fr3 import FR3
from real.fr3_link import LinkLost
from tests.emulator.arm_fixtures import client_config, drive, emulated_arm, stands_still
from tests.emulator.waiting import wait_until

pytest.importorskip("franky")


def test_a_silent_caller_first_holds_then_stops(arm, fr3):
    fr3.start()
    drive(fr3, 0.3)
    wait_until(lambda: fr3.holding, 1.0)
    assert fr3.running
    fr3.command(fr3.state().q, time.monotonic_ns())
    assert not fr3.holding, "a new set point ends the hold"
    wait_until(lambda: not fr3.running, 3.0)
    assert fr3.faults() == ["no set point for 1 s"]
    wait_until(lambda: arm.status().mode == "IDLE")
    assert stands_still(arm)
    with pytest.raises(DeviceError, match=r"no set point.*recover\(\)"):
        fr3.command(fr3.state().q, time.monotonic_ns())


def test_a_short_freeze_holds_and_is_survived(arm, fr3):
    fr3.start()
    drive(fr3, 0.3)
    arm.freeze(0.4)
    seen = False
    end = time.monotonic() + 0.8
    while time.monotonic() < end:
        fr3.command(fr3.state().q, time.monotonic_ns())
        time.sleep(0.02)
        seen |= fr3.holding
    assert seen
    assert fr3.running, fr3.faults()


def test_a_frozen_arm_is_a_fault_before_libfranka_notices_and_the_connection_comes_back(arm, fr3):
    fr3.start()
    drive(fr3, 0.2)
    arm.freeze(1.6)
    frozen = time.monotonic()
    wait_until(fr3.faults)
    assert time.monotonic() - frozen < 1.0
    assert "no news from the arm" in fr3.faults()[0]
    calls = []
    for _ in range(20):
        begin = time.monotonic()
        fr3.state()
        calls.append(time.monotonic() - begin)
        time.sleep(0.01)
    assert np.median(calls) < 0.005, "state() never waits"
    time.sleep(0.5)  # libfranka has given up by now
    wait_until(lambda: arm.status().mode == "REFLEX")
    fr3.recover()
    assert fr3.faults() == []
    fr3.start()
    drive(fr3, 0.2)
    assert fr3.running, fr3.faults()


def test_a_connection_that_is_lost_unnoticed_comes_back(arm, fr3, monkeypatch):
    lost = fr3._link

    def fail():
        raise LinkLost("nobody is there")

    monkeypatch.setattr(lost, "recover", fail)
    fr3.recover()
    assert fr3._link is not lost, "a new connection"
    fr3.start()
    drive(fr3, 0.2)
    assert fr3.running, fr3.faults()


@pytest.mark.parametrize("bit", [ErrorBit.JOINT_REFLEX, ErrorBit.CARTESIAN_REFLEX, ErrorBit.JOINT_VELOCITY_VIOLATION])
def test_a_reflex_is_a_fault_until_recover_is_called(arm, fr3, bit):
    fr3.start()
    drive(fr3, 0.2)
    arm.reflex(bit)
    wait_until(fr3.faults, 1.0)
    assert bit.name.lower() in fr3.faults()[0]
    assert not fr3.running
    with pytest.raises(DeviceError, match=bit.name.lower()):
        fr3.start()
    time.sleep(0.1)
    assert arm.status().mode == "REFLEX", "nothing recovers by itself"
    fr3.recover()
    assert fr3.faults() == []
    assert arm.status().mode == "IDLE"


def test_a_push_ends_the_motion(arm, fr3):
    fr3.start()
    drive(fr3, 0.2)
    arm.push(np.array([0, 0, 0, 25.0, 0, 0, 0]))
    wait_until(fr3.faults, 2.0)
    assert "reflex" in fr3.faults()[0]


def test_the_user_stop_is_a_fault_and_stays_one(arm, fr3):
    fr3.start()
    drive(fr3, 0.2)
    arm.user_stop(True)
    wait_until(fr3.faults, 1.0)
    assert fr3.faults()[0] == "user stop pressed"
    with pytest.raises(DeviceError, match="release the user stop"):
        fr3.recover()
    arm.user_stop(False)
    time.sleep(0.1)
    assert fr3.faults(), "releasing alone clears nothing"
    fr3.recover()
    fr3.start()
    assert fr3.running


def test_a_bad_line_is_a_fault(arm, fr3):
    fr3.start()
    drive(fr3, 0.7)
    arm.line(loss=0.3)
    wait_until(fr3.faults, 3.0)
    assert "packets" in fr3.faults()[0] or "communication_constraints" in fr3.faults()[0]


def test_an_exception_of_the_caller_leaves_a_holding_arm(arm):
    def program():
        with FR3(client_config(arm)) as driver:
            driver.recover()
            driver.start()
            drive(driver, 0.2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        program()
    wait_until(lambda: arm.status().mode == "IDLE")
    assert arm.status().events[-1][1] == "finished", "stopped gently, not dropped"
    assert stands_still(arm)


def test_a_program_that_just_ends_stops_the_arm_gently(arm):
    code = (
        "import sys, time\n"
        "from real.fr3 import FR3, FR3Config\n"
        "fr3 = FR3(FR3Config(sys.argv[1]))\n"
        "fr3.connect(); fr3.recover(); fr3.start(); time.sleep(0.2)\n"
    )
    subprocess.run([sys.executable, "-c", code, arm.config.address], check=True, timeout=30.0)
    wait_until(lambda: arm.status().mode == "IDLE")
    assert arm.status().events[-1][1] == "finished"


def test_a_dead_arm_is_a_fault_and_state_never_waits():
    with emulated_arm() as own, FR3(client_config(own)) as driver:
        driver.start()
        drive(driver, 0.2)
        own.process.kill()
        wait_until(driver.faults, 3.0)
        begin = time.monotonic()
        driver.state()
        assert time.monotonic() - begin < 0.1
        wait_until(lambda: any("connection to the arm lost" in fault for fault in driver.faults()))
        with pytest.raises(DeviceError, match="FCI is activated"):
            driver.recover()
