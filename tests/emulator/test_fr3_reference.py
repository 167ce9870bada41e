"""The reference of the arm's controller: limits, exactness, holding."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dexhil_env import robot
from dexhil_env.limits import Limiter
from real.fr3_aim import bounded_velocity
from real.fr3_config import FR3Config
from real.fr3_reference import Reference

DT = robot.SERVO_PERIOD_S
LOW, HIGH = robot.ARM_LOW + 0.1, robot.ARM_HIGH - 0.1
MAX_V, MAX_A = robot.ARM_MAX_VELOCITY / 2, robot.ARM_MAX_ACCELERATION / 2


@pytest.fixture
def reference():
    made = Reference(LOW, HIGH, MAX_V, MAX_A, np.full(7, 0.1))
    made.reset(robot.ARM_HOME)
    return made


def run(reference, ticks):
    """Positions and velocities of some ticks with an arm that follows at once."""
    rows = [reference.tick(DT, reference.position) for _ in range(ticks)]
    return np.array([q for q, _ in rows]), np.array([dq for _, dq in rows])


def test_it_stands_where_it_was_put(reference):
    q, dq = run(reference, 20)
    np.testing.assert_array_equal(q, np.tile(robot.ARM_HOME, (20, 1)))
    np.testing.assert_array_equal(dq, 0.0)


def test_a_set_point_is_reached_exactly_and_then_it_stands(reference):
    goal = robot.ARM_HOME + 0.05
    reference.aim(goal, 1)
    q, dq = run(reference, 200)
    np.testing.assert_allclose(q[-1], goal, atol=1e-12)
    np.testing.assert_array_equal(dq[-1], 0.0)


@given(
    st.lists(st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7), min_size=1, max_size=12),
    st.sampled_from([1, 7, 10]),
    st.sampled_from([robot.ARM_HOME, HIGH - 0.4, LOW + 0.4, HIGH]),
)
@example([[0.0] * 6 + [step] for step in (-0.25, 0, 0, 0, -0.25, 0.25, -0.25, 0, 0, 0, 0, 0)], 10, LOW + 0.4)
@settings(max_examples=100, deadline=None)
def test_whatever_comes_velocity_acceleration_and_range_are_kept(steps, ticks, where):
    reference = Reference(LOW, HIGH, MAX_V, MAX_A, np.full(7, 0.1))
    reference.reset(where)
    velocity, stamp = np.zeros(7), 0
    for step in steps:
        stamp += round(ticks * DT * 1e9)
        reference.aim(reference.goal + np.array(step), stamp)
        for q, dq in zip(*run(reference, ticks), strict=True):
            assert (np.abs(dq) <= MAX_V + 1e-9).all()
            assert (np.abs(dq - velocity) <= MAX_A * DT + 1e-9).all()
            assert ((q >= LOW) & (q <= HIGH)).all()
            velocity = dq


def test_full_speed_into_the_end_of_the_range_brakes_in_time():
    reference = Reference(LOW, HIGH, MAX_V, MAX_A, np.full(7, 0.1))
    reference.reset(robot.ARM_HOME)
    q = np.zeros((1, 7))
    for i in range(60):
        reference.aim(reference.goal + 0.06, 1 + i * 50_000_000)
        before = reference.velocity.copy()
        q, dq = run(reference, 10)
        assert (np.abs(np.diff(np.vstack([before, dq]), axis=0)) <= MAX_A * DT + 1e-9).all()
    np.testing.assert_allclose(q[-1], HIGH, atol=1e-3)


def test_an_arm_that_starts_outside_the_range_is_led_in_without_a_jump(reference):
    outside = HIGH + 0.05
    reference.reset(outside)
    q, _ = run(reference, 5)
    np.testing.assert_array_equal(q[-1], outside)
    reference.aim(HIGH + 0.02, 1)
    q, dq = run(reference, 100)
    assert (np.abs(np.diff(dq, axis=0)) <= MAX_A * DT + 1e-9).all()
    np.testing.assert_allclose(q[-1], HIGH, atol=1e-9)


def test_an_arm_pushed_out_of_the_range_does_not_take_the_reference_with_it(reference):
    q, _ = reference.tick(DT, HIGH + 0.3)
    assert (q <= HIGH).all()


def test_velocity_is_the_derivative_of_position(reference):
    reference.aim(robot.ARM_HOME + 0.1, 1)
    q, dq = run(reference, 30)
    np.testing.assert_allclose(np.diff(q, axis=0), dq[1:] * DT, atol=1e-12)


def test_a_stream_that_keeps_the_limits_passes_with_a_short_delay(reference):
    """200 Hz set points as the mux sends them, at 20 Hz, and at 30 Hz: the delay is about one period."""
    for rate_hz, longest_ms in ((200, 16), (30, 48), (20, 66)):
        reference.reset(robot.ARM_HOME)
        every = round(1 / (rate_hz * DT))
        limiter = Limiter(LOW, HIGH, MAX_V, MAX_A * 0.9, DT)
        limiter.reset(robot.ARM_HOME)
        sent, got = [], []
        for i in range(600):
            target = limiter.step(robot.ARM_HOME + 0.3 * np.sin(2 * np.pi * 0.25 * i * DT))
            if i % every == 0:
                reference.aim(target, 1 + round(i * DT * 1e9))
            sent.append(target[0])
            got.append(reference.tick(DT, reference.position)[0][0])
        errors = [np.abs(np.array(sent[200:-20]) - np.array(got[200 + d : 580 + d])).max() for d in range(20)]
        assert 1e3 * DT * int(np.argmin(errors)) <= longest_ms
        assert min(errors) < 2.5e-3


def test_a_hold_brakes_and_stays(reference):
    for i in range(20):
        reference.aim(robot.ARM_HOME + 0.02 * (i + 1), 1 + i * 50_000_000)
        run(reference, 10)
    before, speed = reference.position.copy(), reference.velocity.copy()
    assert speed[0] > 0.2
    reference.hold()
    q, dq = run(reference, 60)
    assert (np.diff(q, axis=0) >= -1e-4).all(), "it does not come back"
    np.testing.assert_allclose(q[-1] - before, speed**2 / (2 * MAX_A), atol=speed.max() * DT)
    np.testing.assert_allclose(dq[-1], 0.0, atol=1e-12)


def test_a_blocked_arm_keeps_the_reference_on_its_leash(reference):
    """The force of the controller stays bounded by stiffness x leash, and nothing is fed forward into the obstacle."""
    dq = np.ones(7)
    for i in range(40):
        reference.aim(reference.goal + 0.02, 1 + i * 50_000_000)
        for _ in range(10):
            q, dq = reference.tick(DT, robot.ARM_HOME)
            assert (np.abs(q - robot.ARM_HOME) <= 0.1 + 1e-12).all()
    np.testing.assert_allclose(dq, 0.0, atol=1e-12)


def test_an_old_stamp_is_ignored(reference):
    reference.aim(robot.ARM_HOME + 0.05, 1000)
    reference.aim(robot.ARM_HOME - 0.05, 900)
    np.testing.assert_array_equal(reference.goal, robot.ARM_HOME + 0.05)


def test_no_time_no_motion(reference):
    reference.aim(robot.ARM_HOME + 0.05, 1)
    q, _ = reference.tick(0.0, robot.ARM_HOME)
    np.testing.assert_array_equal(q, robot.ARM_HOME)


def test_spring_and_damper_together_stay_below_the_joints_torque():
    config = FR3Config("127.0.0.1")
    rng, stiffness = np.random.default_rng(0), np.array(config.stiffness)
    for _ in range(200):
        q, dq, dq_d = rng.normal(0, 1, 7), rng.normal(0, 2, 7), rng.normal(0, 2, 7)
        q_d = q + rng.uniform(-0.9, 0.9, 7) * config.max_error
        asked = bounded_velocity(q_d, dq_d, q, dq, stiffness)
        torque = stiffness * (q_d - q) + 2 * np.sqrt(stiffness) * (asked - dq)
        assert (np.abs(torque) <= 0.85 * robot.ARM_MAX_TORQUE + 1e-9).all()
    gentle = bounded_velocity(q + 0.005, dq + 0.05, q, dq, stiffness)
    np.testing.assert_array_equal(gentle, dq + 0.05)
