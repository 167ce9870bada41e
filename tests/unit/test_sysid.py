"""System identification: what is put into an emulated robot comes out of its log, and the tuned twin moves like it."""

import json

import numpy as np
import pytest

from dexhil_env import make_env, robot
from dexhil_env.errors import ConfigError, DatasetError
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.registration import ENV_IDS
from dexhil_env.rollout import run_episode
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.make import make_task
from dexhil_env.sim.scene import SceneConfig
from dexhil_env.sim.tuning import RobotTuning
from dexhil_env.store import EpisodeStore
from real.emulator.arm_body import MujocoArm
from real.emulator.emulator_config import RealityConfig
from real.kinematics import Kinematics
from real.sysid import cli
from real.sysid.arm_fit import fit_arm
from real.sysid.compare import compare, delay
from real.sysid.dynamics import ArmDynamics
from real.sysid.episode import episode_log, read_episode
from real.sysid.excitation import ARM_ACCELERATION, ARM_SPEED, arm_plan, both_plan, hand_plan
from real.sysid.hand_fit import fit_hand
from real.sysid.identify import identify
from real.sysid.log import MotionLog
from real.sysid.regress import SIGMAS, solve
from real.sysid.replay import measured, replay
from real.sysid.smooth import EDGE, STEP_S, even, shifted, smooth
from real.workspace import Workspace, WorkspaceConfig
from tests.unit.helpers import make_episode
from tests.unit.sysid_rig import run_arm, run_hand

FRICTION = np.array([1.137] * 4 + [0.763, 0.44, 0.248])
"""Of the model in assets/fr3 [Nm]."""
DAMPING = 0.21
ARM_S = 14.0
NOISE = 2e-5
TRUTH = RealityConfig(arm_friction=1.6, arm_damping=6.0, arm_torque=0.9, arm_latency_s=0.004, encoder_noise=NOISE)
LATENCY_S = 0.02
"""In front of the driver."""


@pytest.fixture(scope="module")
def plain():
    return run_arm(arm_plan(ARM_S), RealityConfig(encoder_noise=NOISE))


@pytest.fixture(scope="module")
def log():
    return run_arm(arm_plan(ARM_S), TRUTH, LATENCY_S)


@pytest.fixture(scope="module")
def found(log):
    return identify(log)


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


# ---- logs --------------------------------------------------------------------------------------------------------------------------


def test_a_log_comes_back_from_its_file(log, tmp_path):
    log.save(tmp_path / "a.npz")
    back = MotionLog.load(tmp_path / "a.npz")
    for name in ("time_s", "target", "state_s", "arm_pos", "arm_torque", "hand_pos"):
        np.testing.assert_array_equal(getattr(back, name), getattr(log, name))
    assert back.duration_s == pytest.approx(len(log) * STEP_S, rel=0.01)


def test_what_is_no_log_is_refused(log, tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(DatasetError, match="cannot read"):
        MotionLog.load(path)
    path.write_text("nonsense")
    with pytest.raises(DatasetError, match="cannot read"):
        MotionLog.load(path)
    np.savez(path, time_s=np.zeros(3))
    with pytest.raises(DatasetError, match="target"):
        MotionLog.load(path)
    log.save(path)
    for change, message in (
        ({"facts": np.array(json.dumps({"version": 7, "joints": robot.ACTION_NAMES}))}, "version 7"),
        ({"facts": np.array(json.dumps({"version": 1, "joints": ["a"]}))}, "another robot"),
        ({"arm_pos": np.zeros((5, 7))}, "arm_pos .* must have shape"),
        ({"target": np.where(np.arange(19) == 3, np.nan, log.target)}, "target .* must be finite"),
        ({"time_s": log.time_s[::-1]}, "must increase"),
    ):
        with np.load(path) as file:
            content = {**file, **change}
        bad = tmp_path / "bad.npz"
        np.savez(bad, **content)
        with pytest.raises(DatasetError, match=message):
            MotionLog.load(bad)


def test_an_episode_is_a_log_without_torques(tmp_path):
    episode = make_episode(40)
    episode.state[:, :19] = robot.HOME
    ramp = np.linspace(0.0, 0.1, 40)
    episode.action[:] = robot.HOME
    episode.action[:, 0] += ramp
    read = episode_log(episode)
    assert len(read) == 40 * 10
    assert read.time_s[1] - read.time_s[0] == pytest.approx(STEP_S)
    for row in (5, 20, 39):
        at = np.searchsorted(read.time_s, (row + 1) / 20 - 1.5 * STEP_S)
        np.testing.assert_allclose(read.target[at], episode.action[row], atol=1e-6)
    with pytest.raises(DatasetError, match="no torques"):
        identify(read)
    store = EpisodeStore(tmp_path / "data")
    store.append(episode)
    assert "episode 0" in read_episode(tmp_path / "data", 0).facts["source"]
    with pytest.raises(DatasetError, match="episodes 0 to 0"):
        read_episode(tmp_path / "data", 1)
    cli.gap(dataset=tmp_path / "data", out=tmp_path / "gap.html")
    assert "fr3_joint1" in (tmp_path / "gap.html").read_text()


class Waves:
    """A policy that moves every joint a little."""

    def __init__(self):
        self.steps = 0

    def reset(self, seed=None):
        pass

    def act(self, observation, instruction):
        self.steps += 1
        reach = np.concatenate([np.full(7, 0.06), np.full(12, 0.15)])
        return (robot.HOME + reach * (1 - np.cos(0.2 * self.steps))).astype(np.float32)


def test_an_episode_of_the_twin_itself_has_no_gap():
    env = make_env(ENV_IDS[0], cameras=(), max_episode_steps=50)
    log = episode_log(run_episode(env, Waves(), 0, EpisodeRecorder("plush")))
    apart = compare(measured(log), replay(log), log.mount)
    assert apart.rms.max() < 3e-3, "between two observations the motion is drawn straight"
    assert np.nanmax(np.abs(apart.delay_s)) < 4e-3
    assert apart.palm_m.max() < 5e-3


def test_a_log_that_tells_nothing_is_refused(log):
    still = MotionLog(**{**vars(log), "target": np.tile(robot.HOME, (len(log), 1))})
    with pytest.raises(DatasetError, match="nothing moves"):
        identify(still)
    away = MotionLog(**{**vars(log), "target": log.target + 0.3})
    with pytest.raises(DatasetError, match="begin at home"):
        replay(away)


# ---- excitation --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_excitations_are_bounded_safe_and_begin_and_end_at_home(seed):
    space = Workspace(WorkspaceConfig(), Kinematics())
    for plan in (arm_plan(12.0, seed=seed), hand_plan(8.0), both_plan(30.0, 0.5, seed)):
        np.testing.assert_allclose(plan[[0, -1]], robot.HOME[None].repeat(2, 0), atol=1e-9)
        arm = plan[:, robot.ARM]
        speed = np.gradient(arm, STEP_S, axis=0)
        assert np.abs(speed).max() < ARM_SPEED
        assert np.abs(np.gradient(speed, STEP_S, axis=0)).max() < 1.2 * ARM_ACCELERATION
        assert ((plan >= robot.LOW) & (plan <= robot.HIGH)).all()
        assert {space.trouble(row) for row in plan[::25]} == {""}


def test_senseless_excitations_are_refused():
    for bad in ({"duration_s": 1.0}, {"scale": 0.0}, {"scale": 1.5}, {"duration_s": float("nan")}):
        with pytest.raises(ConfigError, match=r"(excitation lasts)|scale"):
            arm_plan(**bad)


# ---- mathematics -------------------------------------------------------------------------------------------------------------------


def test_the_window_differentiates():
    t = STEP_S * np.arange(400)
    inside = slice(EDGE, -EDGE)
    np.testing.assert_allclose(smooth(3 * t + 1, 1)[inside], 3.0)
    np.testing.assert_allclose(smooth(2 * t**2, 2)[inside], 4.0)
    wave = np.sin(2 * np.pi * t)
    shrunk = smooth(wave)[inside] / np.where(np.abs(wave) > 0.1, wave, np.nan)[inside]
    slope = smooth(wave, 1)[inside] / (2 * np.pi * np.cos(2 * np.pi * t))[inside]
    assert np.nanmax(np.abs(shrunk - np.nanmedian(shrunk))) < 1e-3, "value and slope shrink alike: equations stay as they were"
    assert np.median(slope) == pytest.approx(np.nanmedian(shrunk), rel=1e-3)
    np.testing.assert_allclose(even(np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.5, 1.5])), [0.5, 1.5])


def test_delay_and_coefficients_of_a_noisy_equation_and_their_intervals():
    t, inside = STEP_S * np.arange(3000), 0
    wave = np.sin(2 * np.pi * 0.7 * t) + 0.5 * np.sin(2 * np.pi * 1.3 * t)
    other = np.cos(2 * np.pi * 0.3 * t)
    for seed in range(20):
        y = 2.0 * shifted(wave, 0.0137) - 0.7 * other + np.random.default_rng(seed).normal(0, 0.1, len(t))
        fit = solve(lambda d, y=y: (np.column_stack([shifted(wave, d), other])[50:], y[50:]), 0.0, 0.1)
        truth, got = np.array([2.0, -0.7, 0.0137]), np.append(fit.values, fit.delay_s)
        inside += np.sum(np.abs(got - truth) < SIGMAS * np.append(fit.errors, fit.delay_error_s))
        assert fit.delay_s == pytest.approx(0.0137, abs=2e-3)
    assert 0.85 <= inside / 60 <= 1.0
    assert fit.condition < 3.0


def test_alike_regressors_show_in_the_condition_number():
    x = np.sin(0.1 * np.arange(2000))
    fit = solve(lambda d: (np.column_stack([x, x + 1e-5 * np.cos(0.37 * np.arange(2000))]), x), 0.0, 0.0)
    assert fit.condition > 1e4


def test_the_delay_between_two_motions():
    t = STEP_S * np.arange(1000)
    early, late = (0.1 * np.sin(4 * (t - lag) + 0.3 * np.sin(7 * (t - lag))) for lag in (0.0, 0.043))
    assert delay(late, early) == pytest.approx(0.043, abs=1e-3)
    assert delay(early, late) == pytest.approx(-0.043, abs=1e-3)
    assert np.isnan(delay(0 * late, early))


# ---- the twin's tuning -------------------------------------------------------------------------------------------------------------


def twin_of(tuning):
    twin = SimBackend(make_task("plush"), scene=SceneConfig(tuning=tuning))
    rng = np.random.default_rng(0)
    twin.reset(rng)
    twin.task.reset(rng, {})
    return twin


class Targets:
    def __init__(self):
        self.count = 0

    def tick(self, _):
        self.count += 1
        target = robot.HOME.copy()
        target[:7] += 0.05 * (1 - np.cos(3 * STEP_S * self.count))
        target[7:] += min(0.2 * STEP_S * self.count, 0.2)
        return target


def test_without_tuning_the_twin_is_what_it_was():
    models = [twin_of(tuning) for tuning in (None, RobotTuning())]
    for twin in models:
        twin.run(Targets(), 40)
    np.testing.assert_array_equal(models[0].data.qpos, models[1].data.qpos)
    assert models[0].model.nhistory == models[0].model.nuserdata == 0


def test_a_tuned_twin_goes_on_bit_for_bit_from_a_saved_state(found):
    twin, targets = twin_of(found.tuning), Targets()
    np.testing.assert_allclose(twin.model.dof_frictionloss[twin._arm_dof], found.tuning.arm_friction)
    start = twin.data.qpos.copy()
    twin.run(targets, 3)
    assert np.abs(twin.data.qpos - start)[twin._arm_qpos].max() < 1e-3, "what was on its way before the reset is home"
    twin.run(targets, 60)
    state, count = twin.save_state(), targets.count
    twin.run(targets, 50)
    after = twin.data.qpos.copy()
    twin.restore_state(state)
    targets.count = count
    twin.run(targets, 50)
    np.testing.assert_array_equal(twin.data.qpos, after)


def test_latency_and_lag_of_the_twin_are_what_they_say():
    log = run_hand(hand_plan(9.0), np.full(12, 0.05), 0.0)
    usual, late = (replay(log, RobotTuning(hand_latency_s=latency)) for latency in (0.0, 0.03))
    assert np.nanmedian(compare(late, usual, log.mount).delay_s[robot.HAND]) == pytest.approx(0.03, abs=2e-3)
    lagging = replay(log, RobotTuning(hand_lag_s=[0.12] * 12))
    fits = fit_hand(MotionLog(**{**vars(log), "hand_s": np.tile(lagging.time_s[:, None], (1, 12)), "hand_pos": lagging.pos[:, robot.HAND]}))
    np.testing.assert_allclose([fit.lag_s for fit in fits], 0.12, rtol=0.12)


def test_a_tuning_comes_back_from_its_file_and_wrong_ones_are_refused(found, tmp_path):
    path = tmp_path / "t.toml"
    path.write_text(found.tuning.toml())
    back = RobotTuning.load(path)
    np.testing.assert_allclose(back.arm_friction, found.tuning.arm_friction, rtol=1e-5)
    assert back.arm_latency_s == pytest.approx(found.tuning.arm_latency_s, rel=1e-5)
    assert back.hand_lag_s is None
    for text, message in (
        ("[tuning]\nfriction = [1]", "unknown key 'friction'; allowed"),
        ("[tuning]\narm_friction = [1.0, 2.0]", "arm_friction needs 7 numbers"),
        ("[tuning]\narm_latency_s = 3.0", "arm_latency_s must lie"),
        ("[tuning]\narm_latency_s = 'x'", "t.toml"),
        ("[other]", r"no table \[tuning\]"),
        ("[", "cannot read"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            RobotTuning.load(path)


# ---- verbs -------------------------------------------------------------------------------------------------------------------------


def test_identify_and_gap_write_what_they_found(log, tmp_path, capsys):
    log.save(tmp_path / "a.npz")
    cli.identify(tmp_path / "a.npz", tmp_path / "t.toml")
    cli.gap(tmp_path / "a.npz", tuning=tmp_path / "t.toml", out=tmp_path / "gap.html")
    assert RobotTuning.load(tmp_path / "t.toml").arm_friction is not None
    page, gap = ((tmp_path / name).read_text() for name in ("t.html", "gap.html"))
    for joint in robot.ARM_JOINTS:
        assert joint in page
        assert joint in gap
    assert page.count("<svg") == 14
    assert "nan" not in gap.replace("nance", "")
    assert "palm, robot against tuned twin" in capsys.readouterr().out
    for wrong in ({}, {"log": tmp_path / "a.npz", "dataset": tmp_path}):
        with pytest.raises(ConfigError, match="either"):
            cli.gap(**wrong)
    with pytest.raises(ConfigError, match=r"end in \.html"):
        cli.gap(tmp_path / "a.npz", out=tmp_path / "gap.txt")


def test_measured_and_replayed_motions_stand_on_the_same_grid(log):
    robot_track, twin = measured(log), replay(log)
    np.testing.assert_array_equal(robot_track.time_s, twin.time_s)
    assert robot_track.pos.shape == twin.pos.shape == (len(twin.time_s), 19)
