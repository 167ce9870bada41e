"""What stands between command and motor, and what finds faults; in invented time, so that every delay is exact."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexhil_env import robot
from real.dexhand_config import DexHandConfig
from real.dexhand_guard import ClearBudget, TargetGuard
from real.dexhand_monitor import HandMonitor
from real.dexhand_protocol import HAND_HIGH, HAND_LOW
from real.dexhand_replies import Feedback, Malformed, MotorError, StartUp, Tactile, WarningReport

CONFIG = DexHandConfig()
MS = 1_000_000
FF_MCP, FF_DIP, TH_ROT, FF_SPR = (robot.HAND_MOTORS.index(name) for name in ("ff_mcp", "ff_dip", "th_rot", "ff_spr"))


def run(guard: TargetGuard, goal: np.ndarray | None, ticks: int) -> np.ndarray:
    for _ in range(ticks):
        guard.step(goal)
    return guard.target


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-10, 10), min_size=12, max_size=12), min_size=1, max_size=20))
def test_targets_stay_in_range_and_under_the_speed_limit(goals):
    guard = TargetGuard(CONFIG)
    guard.anchor(np.full(12, 0.2))
    before = guard.target
    for goal in goals:
        target = guard.step(np.array(goal))
        assert (target >= HAND_LOW).all()
        assert (target <= HAND_HIGH).all()
        assert np.abs(target - before).max() <= CONFIG.max_velocity * CONFIG.period_s + 1e-12
        before = target


def test_a_goal_in_reach_is_sent_as_it_is():
    guard = TargetGuard(CONFIG)
    guard.anchor(np.full(12, 0.1))
    goal = np.linspace(0.09, 0.13, 12)
    assert guard.step(goal) == pytest.approx(goal)
    assert guard.step(None) == pytest.approx(goal)


def test_a_stalled_finger_opens_two_degrees_and_closes_again_only_after_it_was_opened():
    guard = TargetGuard(CONFIG)
    guard.anchor(np.full(12, 0.1))
    goal = np.full(12, 1.0)
    goal[FF_SPR] = 0.2
    run(guard, goal, 10)  # on their way, at 0.6 rad
    measured = guard.target.copy()
    measured[FF_MCP] = 0.3
    guard.block(FF_MCP, measured)
    assert not guard.backed_off(2)
    target = run(guard, goal, 50)
    assert guard.backed_off(2)
    assert target[FF_MCP] == pytest.approx(0.3 - math.radians(2.0))
    assert target[FF_DIP] == pytest.approx(0.6), "the other motor of the finger does not close either"
    assert target[robot.HAND_MOTORS.index("mf_mcp")] == pytest.approx(1.0), "other fingers go on"
    assert guard.stalled.sum() == 1
    assert run(guard, None, 5) == pytest.approx(target), "holding moves nothing"
    assert guard.stalled.any(), "nor does it free the finger"

    goal[FF_MCP] = 0.2
    assert run(guard, goal, 100)[FF_DIP] == pytest.approx(1.0)
    assert not guard.stalled.any()
    goal[FF_MCP] = 0.9
    assert run(guard, goal, 100)[FF_MCP] == pytest.approx(0.9)


def test_the_motors_of_the_palm_are_independent():
    guard = TargetGuard(CONFIG)
    guard.anchor(np.full(12, 0.1))
    guard.block(TH_ROT, guard.target)
    target = run(guard, HAND_HIGH, 100)
    assert target[FF_SPR] == pytest.approx(HAND_HIGH[FF_SPR])
    assert target[TH_ROT] == pytest.approx(0.1 - math.radians(2.0))


def test_clears_are_rationed():
    budget = ClearBudget(per_minute=3, interval_s=0.5)
    sent = [now_s for now_s in np.arange(0.0, 59.0, 0.01) if budget.take(2, now_s)]
    assert len(sent) == 3
    assert np.diff(sent).min() > 0.49
    assert budget.exhausted(2, 59.0)
    assert not budget.exhausted(3, 59.0)
    assert budget.take(2, 60.2)


def report(
    board: int, current: float = 0.0, errors: tuple[MotorError, MotorError] = (MotorError.NONE, MotorError.NONE), **tactile
) -> Feedback:
    touch = Tactile(**{"normal": 1.0, "tangential": 0.0, "direction": 0.0, "proximity": 0, "temperature_c": 30.0, **tactile})
    return Feedback(board, (0.1, 0.2), (current, 0.0), (0, 0), (0, 0), None if board == 1 else touch, errors)


@pytest.fixture
def monitor() -> HandMonitor:
    monitor = HandMonitor(CONFIG)
    monitor.restart_clock(0)
    for board in range(6):
        monitor.feed(report(board), 0)
    return monitor


def test_a_silent_bus_is_found_after_80_ms(monitor):
    monitor.check(79 * MS)
    assert not monitor.faults
    monitor.check(81 * MS)
    assert list(monitor.faults) == ["bus-gone"]


def test_a_silent_board_is_found_after_100_ms(monitor):
    for now_ms in range(0, 110, 10):
        for board in (0, 1, 2, 4, 5):
            monitor.feed(report(board), now_ms * MS)
        monitor.check(now_ms * MS)
        assert not monitor.faults
    monitor.check(101 * MS)
    assert list(monitor.faults) == ["board-stale middle"]
    monitor.feed(report(3), 102 * MS)
    monitor.check(103 * MS)
    assert monitor.faults, "a fault stays"
    monitor.forget()
    monitor.check(104 * MS)
    assert not monitor.faults


def test_nothing_is_missed_before_the_clock_starts():
    monitor = HandMonitor(CONFIG)
    monitor.check(10_000 * MS)
    assert not monitor.faults


def test_high_current_counts_only_when_it_lasts(monitor):
    for now_ms in range(0, 190, 10):
        monitor.feed(report(2, current=-0.5), now_ms * MS + 1)
    assert monitor.over_current(190 * MS) == []
    monitor.feed(report(2, current=0.1), 191 * MS)
    for now_ms in range(200, 420, 10):
        monitor.feed(report(2, current=0.5), now_ms * MS)
        assert now_ms > 400 or monitor.over_current(now_ms * MS) == []
    assert monitor.over_current(411 * MS) == [FF_DIP]


def test_heat_nonsense_and_restarts_are_faults(monitor):
    monitor.feed(report(4, temperature_c=54.0), 0)
    assert not monitor.faults
    monitor.feed(report(4, temperature_c=56.0), 0)
    monitor.feed(StartUp(5), 0)
    for n in range(6):
        assert "bad-frames" not in monitor.faults
        monitor.feed(Malformed(0, "of 3 bytes"), n * MS)
    assert sorted(monitor.faults) == ["bad-frames", "hot ring", "restarted little"]


def test_scattered_nonsense_is_not_a_fault(monitor):
    for n in range(20):
        monitor.feed(Malformed(0, "of 3 bytes"), n * 300 * MS)
    assert not monitor.faults


def test_errors_in_reports_need_clearing(monitor):
    monitor.feed(report(2, errors=(MotorError.STALL, MotorError.NONE)), 0)
    assert monitor.stalled_motors() == [FF_DIP]
    monitor.feed(report(2), 0)
    assert monitor.stalled_boards() == [2], "a report without the bit does not undo it before the board was cleared"
    monitor.note_cleared(2)
    monitor.feed(report(2), 0)
    assert monitor.stalled_boards() == []
    monitor.feed(report(2, errors=(MotorError.HALL, MotorError.NONE)), 0)
    assert monitor.stalled_boards() == []
    monitor.check(0)
    assert list(monitor.faults) == ["motor-error index"]


def test_lost_touch_and_board_warnings_are_said_but_do_not_stop(monitor):
    monitor.feed(WarningReport(0, b"\x01"), 0)
    for board in range(6):
        monitor.feed(Feedback(board, (0, 0), (0, 0), (0, 0), (0, 0)) if board == 3 else report(board), 150 * MS)
    texts = " | ".join(monitor.warnings(151 * MS))
    assert "tactile middle" in texts
    assert "tactile ring" not in texts
    assert "warning thumb" in texts
    assert "warning thumb" not in " | ".join(monitor.warnings(6_000 * MS))
    assert not monitor.faults


def test_state(monitor):
    monitor.feed(report(0, normal=3.0, tangential=4.0), 20 * MS)
    state = monitor.state(50 * MS, np.zeros(12, dtype=bool), ["careful"])
    assert state.fingertip_force == pytest.approx([5.0, 1.0, 1.0, 1.0, 1.0])
    assert state.age_s == pytest.approx([0.03, 0.05, 0.05, 0.05, 0.05, 0.05])
    assert state.t_ns == 0
    assert state.motor_pos[[FF_DIP, FF_MCP]] == pytest.approx([0.1, 0.2])
    assert state.errors == ("careful",)
    state.motor_pos[:] = 9.0
    assert monitor.motor_pos.max() < 1.0, "the state is a copy"
