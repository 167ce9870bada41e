"""What system identification is made of: excitations, derivatives, delays, regressions."""

import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from real.fr3_config import FR3Config
from real.kinematics import Kinematics
from real.sysid.compare import delay
from real.sysid.excitation import ARM_SPEED, arm_plan, both_plan, hand_plan
from real.sysid.regress import SIGMAS, solve
from real.sysid.smooth import EDGE, STEP_S, even, shifted, smooth
from real.workspace import Workspace, WorkspaceConfig

# ---- excitation --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_excitations_are_bounded_safe_and_begin_and_end_at_home(seed):
    space = Workspace(WorkspaceConfig(), Kinematics())
    driver = FR3Config("172.16.0.2")
    for plan in (arm_plan(12.0, seed=seed), arm_plan(120.0, seed=seed), hand_plan(8.0), both_plan(30.0, 0.5, seed)):
        np.testing.assert_allclose(plan[[0, -1]], robot.HOME[None].repeat(2, 0), atol=1e-9)
        arm = plan[:, robot.ARM]
        speed = np.gradient(arm, STEP_S, axis=0)
        assert np.abs(speed).max() < ARM_SPEED
        assert (np.abs(speed) < 0.95 * driver.speed * robot.ARM_MAX_VELOCITY).all(), "the driver lets every target pass unchanged"
        assert (np.abs(np.gradient(speed, STEP_S, axis=0)) < 0.95 * driver.acceleration * robot.ARM_MAX_ACCELERATION).all()
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
