"""The arm behind the emulated control box: statics, pushes, contact, and the twin that it drags along."""

import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.plush import PlushTask
from real.emulator.arm_body import MujocoArm
from real.emulator.twin_scene import TwinScene


def hold(arm, ticks, tau=None, q_d=robot.ARM_HOME):
    for _ in range(ticks):
        arm.step(tau, q_d)
    return arm.read()


def test_without_torque_it_floats():
    """Gravity is the robot's business, as on the FR3: zero torque commanded, and the arm stays."""
    after = hold(MujocoArm(), 500, np.zeros(7))
    np.testing.assert_allclose(after.q, robot.ARM_HOME, atol=1e-3)
    assert np.abs(after.tau[1]) > 5.0, "the torque sensors show gravity"


def test_a_torque_accelerates_the_joint_it_is_for():
    after = hold(MujocoArm(), 100, np.array([0, 0, 0, 0, 0, 0, 2.0]))
    assert after.dq[6] > 0.5
    assert np.abs(after.dq[:5]).max() < 0.1 * after.dq[6]


def test_positions_are_followed_without_lag():
    arm, q = MujocoArm(), robot.ARM_HOME.copy()
    for i in range(1000):
        q = robot.ARM_HOME + 0.1 * (1 - np.cos(np.pi * i / 1000))
        arm.step(None, q)
    np.testing.assert_allclose(arm.read().q, q, atol=1e-3)


def test_a_push_is_felt_as_torque_and_as_wrench():
    arm = MujocoArm()
    arm.push(np.array([0, 10.0, 0, 0, 0, 0, 0]))
    felt = hold(arm, 200)
    np.testing.assert_allclose(felt.tau_ext, [0, 10, 0, 0, 0, 0, 0], atol=1e-6)
    jacobian_arm = felt.wrench[0] * (felt.flange[2, 3] - 0.333) - felt.wrench[2] * felt.flange[0, 3] + felt.wrench[4]
    assert jacobian_arm == pytest.approx(10.0, rel=0.02)  # moment of the wrench about joint 2, whose axis is +y at the shoulder
    arm.push(np.zeros(7))
    assert np.abs(hold(arm, 200).tau_ext).max() < 1e-6


def test_the_table_pushes_back():
    arm = MujocoArm()
    low = robot.ARM_HOME + np.array([0, 1.3, 0, 0, 0, 0, 0])
    felt = []
    for share in np.linspace(0, 1, 2500):
        arm.step(None, robot.ARM_HOME + share * (low - robot.ARM_HOME))
        felt.append(arm.read().wrench[2])
    assert max(felt) > 20.0
    assert max(np.abs(felt[:500])) == 0.0, "nothing touches on the way down"


def test_fingers_that_touch_each_other_and_friction_are_no_push():
    arm = MujocoArm()
    arm.hand_target = robot.HAND_HIGH.copy()
    hold(arm, 800)
    assert arm.data.ncon > 0, "the closed fingers touch"
    moving = hold(arm, 100, np.array([0, 0, 0, 0, 0, 0, 1.0]))
    assert moving.dq[6] > 0.1
    assert np.abs(moving.tau_ext).max() < 0.1


@pytest.fixture(scope="module")
def scene():
    backend = SimBackend(PlushTask())
    rng = np.random.default_rng(0)
    backend.reset(rng)
    backend.task.reset(rng, {})
    return TwinScene(backend)


def test_the_twin_is_dragged_along_and_keeps_its_own_step(scene):
    arm = MujocoArm(scene=scene)
    begin, ticks = scene.backend.data.time, 1000
    arm.hand_target = np.full(12, 0.2)
    for i in range(ticks):
        arm.step(None, robot.ARM_HOME + 0.1 * (1 - np.cos(np.pi * i / ticks)))
    assert scene.backend.data.time - begin == pytest.approx(ticks * 1e-3)
    state = scene.backend.state()
    np.testing.assert_allclose(state.arm_joint_pos, arm.read().q, atol=2e-3)
    np.testing.assert_allclose(state.hand_motor_pos, 0.2, atol=0.02)


def test_contact_of_the_twin_is_felt_by_the_arm(scene):
    torque = np.array([0, 6.0, 0, 0, 0, 0, 0])
    follow, scene.follow = scene.follow, lambda q, dq, hand: torque
    felt = hold(MujocoArm(scene=scene), 300, np.zeros(7))
    scene.follow = follow
    np.testing.assert_allclose(felt.tau_ext, torque, atol=1e-6)
    assert felt.dq[1] > 0.1, "and it moves the arm"
