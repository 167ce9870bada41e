"""The target filter and the limiter behind it: nothing unsafe is ever sent, and what is safe passes untouched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexhil_env import robot
from dexhil_env.errors import ActionError, ConfigError
from real.emulator.fr3_limits import velocity_limits
from real.fr3_config import FR3Config
from real.kinematics import Kinematics
from real.limiter import SafeLimiter
from real.workspace import Workspace, WorkspaceConfig

KINEMATICS = Kinematics()
CONFIG = WorkspaceConfig()
SPACE = Workspace(CONFIG, KINEMATICS)
TOLERANCE_M = 2e-6
"""Rounding, twice what the filter allows itself."""
DOWN = robot.HOME + np.concatenate([[0.0, 0.75, 0.0, -0.1, 0.0, 0.0, 0.0], np.zeros(12)])
"""On the way from home to here the palm goes down to the table and below."""
FIST = np.concatenate([robot.ARM_HOME, [1.1, 0.8, 0.7, 0.0, *(1.2, 1.1) * 4]])

anywhere = st.lists(st.floats(-1.0, 1.0), min_size=19, max_size=19).map(
    lambda unit: np.clip(robot.HOME + np.array(unit) * np.concatenate([np.full(7, 1.2), np.full(12, 1.5)]), robot.LOW, robot.HIGH)
)


def safe(target, fingers=None, tolerance=TOLERANCE_M):
    return SPACE.excess(target, fingers).max() < tolerance


def test_home_is_in_the_middle_of_it():
    assert SPACE.trouble(robot.HOME) == ""
    assert SPACE.trouble(FIST) == ""


def test_kinematics_agree_with_the_twin():
    import mujoco

    from dexhil_env.sim.scene import SceneConfig, build_spec

    model = build_spec(SceneConfig()).compile()
    data = mujoco.MjData(model)
    for name, angle in zip(robot.ARM_JOINTS, FIST[:7], strict=True):
        data.joint(name).qpos[0] = angle
    for name, angle in zip(robot.HAND_JOINTS, robot.coupling_matrix() @ FIST[7:], strict=True):
        data.joint(name).qpos[0] = angle
    mujoco.mj_kinematics(model, data)
    points = KINEMATICS(FIST)
    np.testing.assert_allclose(points.palm, data.site("ee").xpos, atol=1e-12)
    np.testing.assert_allclose(points.rotation.ravel(), data.site("ee").xmat, atol=1e-12)
    np.testing.assert_allclose(points.tips, [data.site(f"tip_{i}").xpos for i in range(1, 6)], atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(anywhere, anywhere)
def test_from_a_safe_target_every_wish_ends_in_a_safe_target(a, b):
    start = SPACE.filter(robot.HOME, a).target
    assert safe(start)
    found = SPACE.filter(start, b, start[robot.HAND])
    assert safe(found.target)
    assert 0.0 <= found.share <= 1.0
    assert (found.share == 1.0) == (found.reason == "")
    low, high = np.minimum(start, b) - 1e-12, np.maximum(start, b) + 1e-12
    assert ((found.target >= low) & (found.target <= high)).all(), "no joint goes where nobody wanted it"


@settings(max_examples=100, deadline=None)
@given(anywhere)
def test_what_is_safe_all_the_way_passes_untouched(a):
    steps = np.linspace(robot.HOME, a, 60)
    found = SPACE.filter(robot.HOME, a)
    if all(safe(step, tolerance=1e-12) for step in steps):
        np.testing.assert_array_equal(found.target, a)
        assert found.share == 1.0


def test_it_goes_down_to_the_table_and_not_through_it():
    found = SPACE.filter(robot.HOME, DOWN)
    assert 0.2 < found.share < 1.0
    assert "below" in found.reason or "too low over the table" in found.reason
    again = SPACE.filter(found.target, DOWN)
    assert np.abs(again.target - found.target).max() < 0.01, "it stands there"
    assert SPACE.filter(found.target, robot.HOME).share == 1.0, "and comes back"


def test_a_far_wish_does_not_jump_over_what_is_forbidden():
    """The end is allowed, the way is not: joint 1 swings the palm out of the box and, on the other side, in again."""
    narrow = Workspace(WorkspaceConfig(low=(-0.8, -0.8, 0.1), high=(0.8, 0.2, 0.9)), KINEMATICS)
    there, here = robot.HOME.copy(), robot.HOME.copy()
    here[0], there[0] = 0.0, 2.6
    assert narrow.trouble(here) == narrow.trouble(there) == "" or "y above" in narrow.trouble(there)
    assert narrow.filter(here, there).share < 0.5


def test_outside_it_may_only_come_back():
    outside = SPACE.filter(robot.HOME, DOWN).target
    outside = outside + 0.1 * (DOWN - robot.HOME)
    assert not safe(outside)
    back = SPACE.filter(outside, robot.HOME)
    assert back.share == 1.0
    deeper = SPACE.filter(outside, outside + 0.05 * (DOWN - robot.HOME))
    assert SPACE.excess(deeper.target).max() <= SPACE.excess(outside).max() + TOLERANCE_M


def test_a_blocked_finger_does_not_block_the_arm():
    low = SPACE.filter(robot.HOME, DOWN).target
    wish = np.concatenate([0.9 * low[robot.ARM] + 0.1 * robot.ARM_HOME, FIST[robot.HAND]])
    wish[1] = low[1] - 0.2  # up
    assert np.abs(SPACE.filter(low, wish).target[robot.ARM] - wish[robot.ARM]).max() < 1e-9


def test_the_arm_stops_for_the_fingers_where_they_are_not_where_they_should_be():
    """Fingers that hang down although they should be bent: the arm stays as high as they need."""
    bent = np.concatenate([DOWN[robot.ARM], FIST[robot.HAND]])
    straight = SPACE.filter(FIST, bent, robot.HAND_HOME).target
    free = SPACE.filter(FIST, bent, FIST[robot.HAND]).target
    assert KINEMATICS(straight).palm[2] > KINEMATICS(free).palm[2] + 0.01
    tips = KINEMATICS(np.concatenate([straight[robot.ARM], robot.HAND_HOME])).tips
    assert tips[:, 2].min() > CONFIG.tip_clearance_m - 1e-3


@pytest.mark.parametrize("bad", [np.full(19, np.nan), np.full(19, np.inf), np.zeros(18)])
def test_nonsense_is_refused(bad):
    with pytest.raises(ActionError, match="19 finite"):
        SPACE.filter(robot.HOME, bad)


@pytest.mark.parametrize("changes", [{"low": (0.9, 0.0, 0.0)}, {"table_m": 3.0}, {"tip_press_m": -0.01}, {"joint_margin": 0.5}])
def test_config_is_checked(changes):
    with pytest.raises(ConfigError):
        WorkspaceConfig(**changes)


# ---- the limiter -------------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(anywhere, min_size=1, max_size=4), st.integers(1, 60))
def test_the_limiter_never_sends_an_unsafe_or_too_fast_target(goals, ticks):
    arm = FR3Config("x")
    limiter = SafeLimiter(SPACE, arm, 3.0)
    limiter.reset(robot.HOME)
    before = robot.HOME
    v_max = np.concatenate([robot.ARM_MAX_VELOCITY * arm.speed, np.full(12, 3.0)])
    for goal in goals:
        for _ in range(ticks):
            target = limiter.step(goal)
            assert safe(target)
            assert (np.abs(target - before) <= v_max * robot.SERVO_PERIOD_S + 1e-9).all()
            low, high = velocity_limits(before[robot.ARM])
            speed = (target - before)[robot.ARM] / robot.SERVO_PERIOD_S
            assert ((speed >= low - 1e-9) & (speed <= high + 1e-9)).all(), "the FR3 would stop: too fast so near the end of a range"
            before = target


def test_the_limiter_brakes_in_front_of_the_table():
    """The speed towards the table ends without a jump: at most twice what the arm may decelerate in a tick."""
    limiter = SafeLimiter(SPACE, FR3Config("x"))
    limiter.reset(robot.HOME)
    velocities = []
    for k in range(600):
        limiter.step(robot.HOME + min(k / 300, 1.0) * (DOWN - robot.HOME))
        velocities.append(limiter.velocity[robot.ARM].copy())
    assert limiter.held
    assert np.abs(velocities[-1]).max() < 1e-3
    dv = robot.ARM_MAX_ACCELERATION[0] * FR3Config("x").acceleration * robot.SERVO_PERIOD_S
    assert np.abs(np.diff(velocities, axis=0)).max() <= 2 * dv + 1e-9


def test_a_target_that_is_held_at_a_border_does_not_creep_over_it():
    limiter = SafeLimiter(SPACE, FR3Config("x"), 3.0)
    limiter.reset(robot.HOME)
    for shoulder, elbow, ticks in ((0.7, -3.04, 58), (0.1, -2.3, 58), (0.7, -2.3, 1000)):
        goal = robot.HOME.copy()
        goal[[1, 3]] = shoulder, elbow
        for _ in range(ticks):
            assert safe(limiter.step(goal))


def test_a_pause_begins_again_from_rest():
    limiter = SafeLimiter(SPACE, FR3Config("x"))
    limiter.reset(robot.HOME)
    goal = robot.HOME + 0.2 * (np.arange(19) < 7)
    for _ in range(20):
        limiter.step(goal)
    assert np.abs(limiter.velocity).max() > 0.1
    where = limiter.position.copy()
    limiter.pause()
    np.testing.assert_array_equal(limiter.position, where)
    assert np.abs(limiter.velocity).max() == 0.0


@pytest.mark.parametrize("joint", range(7))
@pytest.mark.parametrize("end", ["low", "high"])
def test_near_the_end_of_a_range_the_limiter_is_as_slow_as_the_arm_demands(joint, end):
    """The space is as wide as the world here: only the joint's own range counts."""
    wide = Workspace(WorkspaceConfig((-9.0, -9.0, -9.0), (9.0, 9.0, 9.0), table_m=-1.0), KINEMATICS)
    limiter = SafeLimiter(wide, FR3Config("x", speed=1.0, acceleration=1.0))
    limiter.reset(robot.HOME)
    goal = robot.HOME.copy()
    goal[joint] = (wide.low if end == "low" else wide.high)[joint]
    for _ in range(1500):
        before = limiter.position.copy()
        limiter.step(goal)
        low, high = velocity_limits(before[robot.ARM])
        speed = limiter.velocity[robot.ARM]
        assert ((speed >= low - 1e-9) & (speed <= high + 1e-9)).all()
    assert limiter.position[joint] == pytest.approx(goal[joint], abs=1e-3), "it arrives all the same"
