"""The emulated arm against two independent clients: libfranka (in franky) and franka-rs."""

import contextlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.errors import DeviceError
from real.emulator.arm_body import MujocoArm
from real.emulator.arm_process import ArmProcess
from real.emulator.fci import FciServer
from real.emulator.fci_config import FciConfig
from real.emulator.fci_wire import ErrorBit
from tests.emulator.arm_fixtures import emulated_arm, free_address
from tests.emulator.waiting import wait_until

STIFFNESS = np.array([600.0, 600, 600, 600, 250, 150, 50])
STEP = 0.08
"""Size of the test motions [rad]."""


@pytest.fixture
def franky_robot(arm):
    franky = pytest.importorskip("franky")
    arm.line()
    arm.user_stop(False)
    robot_ = franky.Robot(arm.config.address, realtime_config=franky.RealtimeConfig.Ignore)
    robot_.recover_from_errors()
    robot_.relative_dynamics_factor = 0.2
    yield robot_
    with contextlib.suppress(Exception):
        robot_.stop()


@pytest.fixture
def franka_robot(arm):
    franka = pytest.importorskip("franka")
    arm.line()
    arm.user_stop(False)
    robot_ = franka.Robot(arm.config.address, realtime="ignore")
    robot_.automatic_error_recovery()
    return robot_


def test_franky_reads_the_arm(arm, franky_robot):
    import franky

    state = franky_robot.state
    np.testing.assert_allclose(state.q, arm.status().q, atol=1e-3)
    from_urdf = franky_robot.model.pose(franky.Frame.EndEffector, state).matrix
    np.testing.assert_allclose(state.O_T_EE.matrix, from_urdf, atol=1e-3)  # the URDF and the twin are one arm
    franky_robot.set_load(0.678, [0, 0, 0.09], np.diag([0.001] * 3).ravel().tolist())
    assert arm.status().load_mass == pytest.approx(0.678)
    wait_until(lambda: abs(franky_robot.state.m_load - 0.678) < 1e-6)
    before, wall = franky_robot.state.time.to_sec(), time.monotonic()
    time.sleep(0.4)
    assert 0.3 < (franky_robot.state.time.to_sec() - before) / (time.monotonic() - wall) < 1.1


def test_franka_rs_reads_the_arm(arm, franka_robot):
    assert franka_robot.fci_version == 10
    state = franka_robot.read_once()
    np.testing.assert_allclose(state.q, arm.status().q, atol=1e-3)
    franka_robot.set_collision_behavior_simple([40] * 7, [40] * 7, [60] * 6, [60] * 6)
    gravity = np.array(franka_robot.model().gravity(state.q))
    assert 5 < abs(gravity[1]) < 60  # the shoulder carries the arm


def test_franky_moves_the_arm_within_its_limits(arm, franky_robot):
    import franky

    goal = np.array(franky_robot.state.q) + STEP
    franky_robot.move(franky.JointMotion(goal))
    np.testing.assert_allclose(arm.status().q, goal, atol=5e-3)
    franky_robot.move(franky.JointMotion(goal - STEP))
    status = arm.status()
    assert status.ratios["commanded_velocity"] > 0.05
    for name in ("commanded_velocity", "commanded_acceleration", "commanded_jerk", "measured_velocity"):
        assert status.ratios[name] <= 1.0, name


def test_franky_tracks_with_torques(arm, franky_robot):
    import franky

    start = np.array(franky_robot.state.q)
    with franky.JointImpedanceTracker(franky_robot, stiffness=STIFFNESS) as tracker:
        for share in np.linspace(0, 1, 80):
            tracker.set_target(start + share * STEP)
            time.sleep(0.005)
        wait_until(lambda: np.abs(franky_robot.state.q - start - STEP).max() < 0.02)
        assert tracker.is_running
    status = arm.status()
    assert status.mode == "IDLE"
    assert status.ratios["torque_rate"] <= 1.0
    assert status.ratios["torque"] <= 1.0


def test_franka_rs_tracks_with_torques(arm, franka_robot):
    start = np.array(franka_robot.read_once().q)
    with franka_robot.joint_targets(fraction=0.3) as targets:
        targets.move_to(start - STEP)
        wait_until(lambda: np.abs(np.array(targets.state().q) - (start - STEP)).max() < 0.02)
    assert arm.status().mode == "IDLE"


def test_franka_rs_sees_a_reflex(arm, franka_robot):
    targets = franka_robot.joint_targets(fraction=0.2)
    wait_until(lambda: arm.status().mode == "MOVE")
    time.sleep(0.05)
    arm.reflex(ErrorBit.JOINT_REFLEX)
    wait_until(lambda: not targets.running)
    with pytest.raises(Exception, match="joint_reflex"):
        targets.stop()
    franka_robot.automatic_error_recovery()
    assert arm.status().mode == "IDLE"


def test_franky_sees_every_error_bit_by_its_name(arm, franky_robot):
    for bit in ErrorBit:
        arm.reflex(bit)
        wait_until(lambda: franky_robot.state.robot_mode.name == "Reflex")
        assert str(franky_robot.state.current_errors).lower() == f'["{bit.name.lower()}"]'
        franky_robot.recover_from_errors()
        wait_until(lambda: franky_robot.state.robot_mode.name == "Idle")


def test_a_push_trips_the_threshold_that_the_client_set(arm, franky_robot):
    import franky

    franky_robot.set_collision_behavior(10.0, 1000.0)
    tracker = franky.JointImpedanceTracker(franky_robot, stiffness=STIFFNESS)
    wait_until(lambda: arm.status().mode == "MOVE")
    arm.push(np.array([0, 0, 0, 8.0, 0, 0, 0]))
    time.sleep(0.2)
    assert tracker.is_running
    arm.push(np.array([0, 0, 0, 13.0, 0, 0, 0]))
    wait_until(lambda: not tracker.is_running)
    arm.push(np.zeros(7))
    with pytest.raises(franky.ControlException, match="joint_reflex"):
        tracker.stop()


@pytest.mark.parametrize("fault", [{"loss": 1.0}, {"delay_s": 0.005}], ids=["loss", "delay"])
def test_a_line_that_is_too_bad_ends_the_motion(arm, franky_robot, fault):
    import franky

    tracker = franky.JointImpedanceTracker(franky_robot, stiffness=STIFFNESS)
    wait_until(lambda: arm.status().mode == "MOVE")
    time.sleep(0.05)
    arm.line(**fault)
    wait_until(lambda: arm.status().events[-1][1] == "communication_constraints_violation")
    arm.line()
    wait_until(lambda: not tracker.is_running)


def test_some_loss_is_survived_and_shown(arm, franky_robot):
    import franky

    with franky.JointImpedanceTracker(franky_robot, stiffness=STIFFNESS) as tracker:
        arm.line(loss=0.1)
        wait_until(lambda: 0.6 < franky_robot.state.control_command_success_rate < 0.93)  # 0.9 x 0.9 expected
        assert tracker.is_running
        arm.line()


def test_a_killed_client_leaves_a_holding_arm():
    """As on the robot the next client must recover first; the arm stands in the meantime."""
    franky = pytest.importorskip("franky")
    with emulated_arm() as arm:
        code = (
            "import franky, numpy, time\n"
            f"r = franky.Robot({arm.config.address!r}, realtime_config=franky.RealtimeConfig.Ignore)\n"
            "t = franky.JointImpedanceTracker(r, stiffness=numpy.full(7, 100.0))\n"
            "time.sleep(30)\n"
        )
        client = subprocess.Popen([sys.executable, "-c", code])
        wait_until(lambda: arm.status().mode == "MOVE", 20.0)
        client.send_signal(signal.SIGKILL)
        client.wait()
        wait_until(lambda: arm.status().mode == "REFLEX")
        before = arm.status().q
        time.sleep(0.2)
        np.testing.assert_allclose(arm.status().q, before, atol=1e-3)
        again = franky.Robot(arm.config.address, realtime_config=franky.RealtimeConfig.Ignore)
        again.recover_from_errors()
        wait_until(lambda: again.state.robot_mode.name == "Idle")


def test_a_second_client_is_turned_away(arm, franky_robot):
    franka = pytest.importorskip("franka")
    with pytest.raises(Exception, match=r"(?i)connection|closed|network"):
        franka.Robot(arm.config.address, realtime="ignore")
    assert franky_robot.state.robot_mode.name == "Idle"


def test_a_slow_robot_moves_the_same_way():
    franky = pytest.importorskip("franky")
    with emulated_arm(pace=0.3) as slow:
        client = franky.Robot(slow.config.address, realtime_config=franky.RealtimeConfig.Ignore)
        goal = np.array(robot.ARM_HOME) + STEP
        started = client.state.time.to_sec()
        wall = time.monotonic()
        client.move(franky.JointMotion(goal, relative_dynamics_factor=0.2))
        assert (client.state.time.to_sec() - started) / (time.monotonic() - wall) < 0.4
        np.testing.assert_allclose(slow.status().q, goal, atol=5e-3)


def test_a_taken_address_says_so(arm):
    with pytest.raises(DeviceError, match="another loopback address"):
        ArmProcess(FciConfig(arm.config.address))


@pytest.mark.parametrize(("catch_up_s", "late"), [(0.03, False), (0.005, True)])
def test_a_short_delay_is_made_up_for_and_a_long_one_forgotten(catch_up_s, late):
    server = FciServer(MujocoArm(), FciConfig(free_address(), patience_s=0.1, catch_up_s=catch_up_s))
    due = server._deadline = time.monotonic() - 0.015
    server.wait()
    assert server.cycles_late == late
    assert (server._deadline == pytest.approx(due + 1e-3, rel=0, abs=1e-4)) is not late
    server.close()
