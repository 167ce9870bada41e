"""System identification: what is put into an emulated robot comes out of its log, and the tuned twin moves like it."""

import numpy as np
import pytest

from dexhil_env import robot
from real.emulator.arm_body import MujocoArm
from real.emulator.emulator_config import RealityConfig
from real.sysid.arm_fit import fit_arm
from real.sysid.dynamics import ArmDynamics
from real.sysid.excitation import arm_plan, hand_plan
from real.sysid.hand_fit import fit_hand
from real.sysid.identify import identify
from real.sysid.smooth import STEP_S
from tests.unit.sysid_rig import ARM_S, DAMPING, FRICTION, LATENCY_S, NOISE, TRUTH, perturbed_found, run_arm, run_hand


@pytest.fixture(scope="module")
def plain():
    return run_arm(arm_plan(ARM_S), RealityConfig(encoder_noise=NOISE))


@pytest.fixture(scope="module")
def found():
    return perturbed_found()


def of(found, name):
    return np.array([each.value for each in found.estimates if each.name == name])


# ---- the arm -----------------------------------------------------------------------------------------------------------------------


def test_friction_damping_and_gain_of_a_perturbed_arm_are_recovered(found):
    np.testing.assert_allclose(of(found, "dry friction"), TRUTH.arm_friction * FRICTION, rtol=0.1)
    np.testing.assert_allclose(of(found, "viscous damping"), TRUTH.arm_damping * DAMPING, rtol=0.1)
    np.testing.assert_allclose(of(found, "torque gain"), TRUTH.arm_torque, rtol=0.1)


def test_its_latency_is_recovered(found, plain):
    base = identify(plain)
    total, inner = (of(each, "latency, target to motion")[0] for each in (found, base))
    assert total - inner == pytest.approx(1e3 * (LATENCY_S + TRUTH.arm_latency_s), rel=0.1)
    assert of(found, "  of it torque to motion")[0] == pytest.approx(1e3 * TRUTH.arm_latency_s, rel=0.1)
    assert abs(of(base, "  of it torque to motion")[0]) < 0.4
    np.testing.assert_allclose(of(base, "dry friction"), FRICTION, rtol=0.1)


def test_intervals_hold_the_truth(found):
    truth = {
        "dry friction": TRUTH.arm_friction * FRICTION,
        "viscous damping": np.full(7, TRUTH.arm_damping * DAMPING),
        "torque gain": np.full(7, TRUTH.arm_torque),
    }
    inside = []
    for name, values in truth.items():
        widths = np.array([each.half_width for each in found.estimates if each.name == name])
        inside += list(np.abs(of(found, name) - values) < widths)
        assert (widths < 0.3 * values).all(), "and they say something"
    assert np.mean(inside) >= 0.8


def test_latency_and_damping_are_told_apart(plain):
    """Both make the arm late in proportion to its speed."""
    late = fit_arm(run_arm(arm_plan(ARM_S), RealityConfig(encoder_noise=NOISE), 0.03))
    thick = fit_arm(run_arm(arm_plan(ARM_S), RealityConfig(encoder_noise=NOISE, arm_damping=15.0)))
    usual = fit_arm(plain)
    for joint in range(7):
        assert late[joint].damping == pytest.approx(usual[joint].damping, abs=0.1)
        assert thick[joint].damping == pytest.approx(15 * DAMPING, rel=0.1)
        assert late[joint].servo.delay_s - usual[joint].servo.delay_s == pytest.approx(0.03, abs=1e-3)
        assert thick[joint].servo.delay_s == pytest.approx(usual[joint].servo.delay_s, abs=1e-3)


def test_without_acceleration_the_gain_is_not_claimed():
    slow = arm_plan(60.0, scale=0.4)[-round(20.0 / STEP_S) :]  # the triangles
    arm = fit_arm(run_arm(slow, RealityConfig(arm_friction=1.6, encoder_noise=1e-4)))
    assert not all(fit.gain_known for fit in arm)
    for joint, fit in enumerate(arm):
        if fit.gain_known:
            assert fit.gain == pytest.approx(1.0, rel=0.1)
        else:
            assert fit.gain == 1.0
            assert np.isnan(fit.gain_error)
            assert fit.friction == pytest.approx(1.6 * FRICTION[joint], rel=0.1)


def test_the_tuned_twin_moves_like_the_robot(found):
    arm = robot.ARM
    assert (found.after.rms[arm] < 0.25 * found.before.rms[arm]).all()
    assert found.after.palm_m.max() < 0.25 * found.before.palm_m.max()
    assert np.abs(found.after.delay_s[arm]).max() < 3e-3


def test_torques_of_the_model_are_those_of_the_emulated_arm():
    arm = MujocoArm(reality=RealityConfig(arm_friction=0.0, arm_damping=0.0))
    torque, speeds = np.array([4.0, -6.0, 3.0, 2.0, 0.4, -0.3, 0.2]), []
    for _ in range(60):
        arm.step(torque, robot.ARM_HOME)
        speeds.append(arm.joint_vel)
    q, dq, ddq = arm.joint_pos, speeds[-11], (speeds[-1] - speeds[-21]) / 0.02
    inertial, velocity = ArmDynamics().torques(q[None], dq[None], ddq[None])
    np.testing.assert_allclose(inertial[0] + velocity[0], torque, atol=0.15)


# ---- the hand ----------------------------------------------------------------------------------------------------------------------


def test_lag_and_latency_of_motors_are_recovered():
    lags, latency_s = np.linspace(0.03, 0.12, 12), 0.045
    fits = fit_hand(run_hand(hand_plan(12.0), lags, latency_s, noise=2e-4))
    np.testing.assert_allclose([fit.lag_s for fit in fits], lags, rtol=0.1)
    np.testing.assert_allclose([fit.fit.delay_s for fit in fits], latency_s, rtol=0.1)
    np.testing.assert_allclose([fit.report_hz for fit in fits], 100.0, rtol=0.02)


def test_a_tuned_hand_lags_as_the_robot_does():
    lags = np.full(12, 0.09)
    log = run_hand(hand_plan(9.0), lags, 0.06)
    result = identify(log)
    assert result.arm is None
    assert result.tuning.arm_friction is None, "nothing is said of what did not move"
    assert (result.after.rms[robot.HAND] < 0.3 * result.before.rms[robot.HAND]).all()
