"""The FR3 driver against the emulated arm: it connects, follows, goes home, and tells what is wrong with an address or a setting."""

import socket
import sys
import threading
import time

import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.errors import ActionError, ConfigError, DeviceError, DeviceTimeout
from real.fr3 import FR3, FR3Config
from tests.emulator.arm_fixtures import client_config, drive, emulated_arm, free_address, stands_still
from tests.emulator.waiting import wait_until

pytest.importorskip("franky")


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
    wait_until(lambda: np.abs(fr3.state().q - fr3._aim.reference.goal).max() < 0.02)
    assert np.abs(fr3.state().q - start).max() > 0.05
    fr3.stop()
    assert fr3.faults() == []
    status = arm.status()
    assert status.mode == "IDLE"
    for name in ("torque", "torque_rate", "measured_velocity", "measured_acceleration"):
        assert status.ratios[name] <= 1.0, (name, status.worst[name])


@pytest.mark.parametrize("brakes", [True, False])
def test_a_motion_that_brakes_before_it_ends_keeps_the_limits(arm, fr3, brakes):
    fr3.start()
    drive(fr3, 0.8, lambda t: 0.6 * t * t * np.array([0, 0, 0, 0, 0, 0, 1.0]), period_s=0.02)
    assert fr3.state().dq[6] > 0.5
    if brakes:
        fr3.brake()
        assert np.abs(fr3.state().dq).max() < 0.1
    fr3.stop()
    time.sleep(0.3)
    assert fr3.faults() == []
    assert (arm.status().ratios["measured_acceleration"] <= 1.0) == brakes


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
    driver = FR3(client_config(arm))
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


def test_a_slow_arm_is_driven_on_its_own_clock():
    """The dead-man's 0.15 s are 0.38 s of wall time, and a ramp has the speed in robot time that its set points ask for."""
    with emulated_arm(pace=0.4) as slow, FR3(client_config(slow, clock="robot", stale_hold_s=0.5, stale_fault_s=0.9)) as driver:
        driver.start()
        start = driver.state()
        while (t := driver.state().robot_time_s - start.robot_time_s) < 0.3:
            driver.command(start.q + 0.1 * t, round(1 + t * 1e9))
            time.sleep(0.02)
        time.sleep(0.2)
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
