"""The FR3 driver against the emulated arm: it follows, and every fault of arm, line and caller ends in a holding arm."""

import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.errors import ActionError, ConfigError, DeviceError, DeviceTimeout
from real.emulator.fci_wire import ErrorBit
from real.fr3 import FR3, FR3Config
from tests.emulator.arm_fixtures import emulated_arm, free_address

pytest.importorskip("franky")
STALE_FAULT_S = 0.6
"""Longer than the 0.2 s of the robot, so that a busy machine does not look like a frozen arm; shorter than libfranka's 1 s."""


@pytest.fixture(scope="module")
def arm():
    with emulated_arm() as process:
        yield process


@pytest.fixture
def fr3(arm):
    arm.line()
    arm.push(np.zeros(7))
    arm.user_stop(False)
    with FR3(config(arm)) as driver:
        driver.recover()
        yield driver


def config(arm, **changes):
    relaxed = {"stale_hold_s": 0.25, "stale_fault_s": STALE_FAULT_S}
    return FR3Config(arm.config.address, **{**relaxed, **changes})


def wait_until(condition, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


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


def test_connect_configures_and_state_is_fresh(arm, fr3):
    assert arm.status().load_mass == pytest.approx(0.678)
    first = fr3.state()
    assert (first.mode, first.errors) == ("Idle", ())
    np.testing.assert_allclose(first.q, arm.status().q, atol=1e-3)
    wait_until(lambda: fr3.state().robot_time_s > first.robot_time_s + 0.05)
    assert fr3.state().age_s < 0.25


def test_it_follows_20_hz_set_points_within_the_limits(arm, fr3):
    fr3.start()
    start = drive(fr3, 1.0, lambda t: 0.05 * (1 - np.cos(np.pi * t)) * np.ones(7))
    wait_until(lambda: np.abs(fr3.state().q - fr3._reference.goal).max() < 0.02)
    assert np.abs(fr3.state().q - start).max() > 0.05
    fr3.stop()
    assert fr3.faults() == []
    status = arm.status()
    assert status.mode == "IDLE"
    for name in ("torque", "torque_rate", "measured_velocity", "measured_acceleration"):
        assert status.ratios[name] <= 1.0, (name, status.worst[name])


def test_home_moves_and_waits(arm, fr3):
    fr3.start()
    for goal in (robot.ARM_HOME + 0.05, robot.ARM_HOME):
        fr3.home(goal, speed=0.2)
        np.testing.assert_allclose(arm.status().q, goal, atol=5e-3)
    assert not fr3.running
    with pytest.raises(ActionError):
        fr3.home(robot.ARM_HOME, speed=1.0)
    with pytest.raises(ActionError):
        fr3.home(robot.ARM_HIGH)


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


@pytest.mark.parametrize(
    ("set_point", "text"),
    [
        (np.full(7, np.nan), "finite"),
        (np.zeros(6), "7 finite"),
        (robot.ARM_HOME + np.array([0, 0, 0, 0, 0, 0, 1.0]), "fr3_joint7"),
    ],
)
def test_a_bad_set_point_is_refused_and_nothing_moves(arm, fr3, set_point, text):
    fr3.home(robot.ARM_HOME, 0.2)
    fr3.start()
    drive(fr3, 0.2)
    with pytest.raises(ActionError, match=text):
        fr3.command(set_point, time.monotonic_ns())
    assert fr3.running
    assert stands_still(arm)


def test_calls_out_of_order_say_what_to_do(arm):
    threads = threading.active_count()
    driver = FR3(config(arm))
    with pytest.raises(DeviceError, match=r"connect\(\)"):
        driver.state()
    with pytest.raises(DeviceError, match=r"connect\(\)"):
        driver.start()
    driver.stop()
    driver.close()
    driver.connect()
    driver.connect()
    driver.recover()
    with pytest.raises(DeviceError, match=r"start\(\)"):
        driver.command(driver.state().q, 1)
    driver.close()
    driver.close()
    assert threading.active_count() <= threads


def test_an_exception_of_the_caller_leaves_a_holding_arm(arm):
    def program():
        with FR3(config(arm)) as driver:
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
    with emulated_arm() as own, FR3(config(own)) as driver:
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


def test_a_slow_arm_is_driven_on_its_own_clock():
    """The dead-man's 0.15 s are 0.75 s of wall time, and a ramp has the speed in robot time that its set points ask for."""
    with emulated_arm(pace=0.2) as slow, FR3(config(slow, clock="robot", stale_hold_s=0.5, stale_fault_s=0.9)) as driver:
        driver.start()
        start = driver.state()
        while (t := driver.state().robot_time_s - start.robot_time_s) < 0.3:
            driver.command(start.q + 0.1 * t, round(1 + t * 1e9))
            time.sleep(0.02)
        time.sleep(0.35)
        assert not driver.holding
        wait_until(lambda: driver.holding)
        driver.stop()
        assert driver.faults() == []
        assert 0.05 < slow.status().worst["measured_velocity"] < 0.2


def test_a_wrong_address_is_told_within_three_seconds():
    begin = time.monotonic()
    with pytest.raises(DeviceError, match="FCI is activated"):
        FR3(FR3Config(free_address())).connect()
    assert time.monotonic() - begin < 3.0


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", DeviceError, "no Franka control box"),
        (bytes.fromhex("00000000 01000000 0f000000 01 0500"), DeviceError, "FCI version 5"),
        (bytes.fromhex("00000000 01000000 0f000000 00 0a00"), DeviceTimeout, "firewall"),
        (None, DeviceTimeout, "no answer"),
        (b"", DeviceError, "another program"),
    ],
)
def test_whatever_else_answers_is_told_apart(answer, kind, text):
    address = free_address()
    with socket.create_server((address, 1337)) as server:

        def serve():
            client, _ = server.accept()
            if answer is not None:
                client.sendall(answer)
                if not answer:
                    client.close()
            held.append(client)

        held: list[socket.socket] = []
        thread = threading.Thread(target=serve)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(kind, match=text):
            FR3(FR3Config(address, connect_timeout_s=0.5)).connect()
        assert time.monotonic() - begin < 3.0
        thread.join()
        for client in held:
            client.close()


def test_without_franky_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "franky", None)
    with pytest.raises(ConfigError, match=r'pip install "dexhil\[real\]"'):
        FR3(FR3Config("127.0.0.1")).connect()


@pytest.mark.parametrize(
    "changes",
    [
        {"address": ""},
        {"stiffness": (600.0,) * 6},
        {"max_error": (0.1,) * 7},
        {"speed": 0.0},
        {"dead_man_s": 2.0},
        {"stale_hold_s": 0.5},
        {"clock": "moon"},
    ],
)
def test_config_is_checked(changes):
    with pytest.raises(ConfigError):
        FR3Config(**{"address": "127.0.0.1", **changes})


def test_the_wrist_stays_below_its_torque_limit_even_blocked():
    made = FR3Config("x")
    torque = np.multiply(made.stiffness, made.max_error)
    assert (torque[4:] < 12.0).all()
