import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexhil_env import robot
from dexhil_env.limits import Limiter

DT = robot.SERVO_PERIOD_S


def run(goals, start=None):
    limiter = Limiter()
    limiter.reset(robot.HOME if start is None else start)
    return np.array([limiter.position.copy(), *(limiter.step(goal) for goal in goals)])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_velocity_acceleration_and_range_are_kept_for_any_goals(seed, hold):
    rng = np.random.default_rng(seed)
    goals = np.repeat(rng.uniform(robot.LOW - 1, robot.HIGH + 1, (12, 19)), hold, axis=0)
    path = run(goals, rng.uniform(robot.LOW, robot.HIGH))
    velocity = np.diff(path, axis=0) / DT
    acceleration = np.diff(velocity, axis=0, prepend=np.zeros((1, 19))) / DT
    assert (np.abs(velocity) <= robot.MAX_VELOCITY + 1e-9).all()
    assert (np.abs(acceleration) <= robot.MAX_ACCELERATION * (1 + 1e-6) + 1e-6).all()
    assert (path >= robot.LOW).all()
    assert (path <= robot.HIGH).all()


def test_reaches_a_constant_goal_without_overshoot():
    goal = robot.HOME.copy()
    goal[:7] += 0.3
    goal[7:] += 0.25
    path = run([goal] * 400)
    assert np.allclose(path[-1], goal, atol=1e-6)
    assert (path <= goal + 1e-9).all()


def test_follows_a_moving_goal_by_the_braking_distance_and_does_not_overshoot_when_it_stops():
    speed = np.concatenate([np.full(7, 0.5), np.full(12, 0.2)])
    ramp = robot.HOME + np.outer(np.arange(1, 201) * DT, speed)
    ramp = np.clip(ramp, robot.LOW, robot.HIGH)
    path = run([*ramp, *([ramp[-1]] * 100)])
    lag = (ramp[150] - path[151])[:7]
    assert lag == pytest.approx(0.5**2 / (2 * 10) - 0.5 * DT / 2, abs=1e-4)
    assert (path <= ramp[-1] + 1e-9).all()
    assert np.allclose(path[-1], ramp[-1], atol=1e-6)


def test_equals_the_closed_form_time_to_move():
    # bang-bang motion of 0.4 rad at 10 rad/s^2 takes 2 sqrt(d/a); the velocity limit 2.62 is not met
    goal = robot.HOME.copy()
    goal[0] += 0.4
    path = run([goal] * 200)
    arrival = np.flatnonzero(np.abs(path[:, 0] - goal[0]) < 1e-3)[0] * DT
    assert arrival == pytest.approx(2 * np.sqrt(0.4 / 10), abs=0.03)
