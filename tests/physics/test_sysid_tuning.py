"""The tuning of the twin's robot: files, and that it does what it says."""

import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.make import make_task
from dexhil_env.sim.scene import SceneConfig
from dexhil_env.sim.tuning import RobotTuning
from real.sysid.compare import compare
from real.sysid.excitation import hand_plan
from real.sysid.hand_fit import fit_hand
from real.sysid.log import MotionLog
from real.sysid.replay import replay
from real.sysid.smooth import STEP_S
from tests.unit.sysid_rig import perturbed_found, run_hand


@pytest.fixture(scope="module")
def found():
    return perturbed_found()


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


def test_a_twin_keeps_the_limits_of_a_gentler_robot():
    fastest = {}
    for share in (1.0, 0.35):
        limiter = twin_of(RobotTuning(arm_speed=share, arm_acceleration=share)).limiter()
        limiter.reset(robot.HOME)
        path = np.array([limiter.step(robot.LOW) for _ in range(100)])
        fastest[share] = np.abs(np.diff(path, axis=0)).max(0) / robot.SERVO_PERIOD_S
        assert (np.abs(np.diff(path, 2, axis=0))[:, :7].max() / robot.SERVO_PERIOD_S**2) < 10.0 * share + 1e-6
    assert (fastest[0.35][:7] <= 0.35 * robot.ARM_MAX_VELOCITY + 1e-9).all()
    assert (fastest[1.0][:7] > 0.35 * robot.ARM_MAX_VELOCITY).any()
    np.testing.assert_array_equal(fastest[0.35][7:], fastest[1.0][7:])
    with pytest.raises(ConfigError, match=r"RobotTuning.arm_speed must lie in \[0.01, 1.0\]; got 0"):
        RobotTuning(arm_speed=0.0)


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
