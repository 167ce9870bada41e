import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexhil_env import robot
from dexhil_env.servo import HANDBACK_BLEND_S, ServoMux, min_jerk
from dexhil_env.types import ARM, HAND, Command, Source

DT = robot.SERVO_PERIOD_S


class Script:
    """An operator that engages limbs by a given schedule and asks for a fixed offset from the pose at the press."""

    def __init__(self, schedule, offset=0.1):
        self.schedule, self.offset = schedule, offset
        self.anchor = {"arm": None, "hand": None}
        self.sent = []

    def poll(self, t_s, commanded):
        want = self.schedule(round(t_s / DT))
        parts = {}
        for name, part in (("arm", ARM), ("hand", HAND)):
            if name in want:
                if self.anchor[name] is None:
                    self.anchor[name] = commanded[part].copy()
                    parts[name] = self.anchor[name]
                else:
                    parts[name] = self.anchor[name] + self.offset
            else:
                self.anchor[name] = None
        stamp = round(t_s * 1e9) + 1
        command = Command(parts.get("arm"), parts.get("hand"), stamp, stamp)
        self.sent.append(command.source)
        return command


def drive(mux, periods, policy):
    targets, reports = [], []
    tick = 0
    for period in range(periods):
        mux.begin(policy(period))
        for _ in range(mux.control_ticks):
            targets.append(mux.tick(tick * DT))
            tick += 1
        reports.append(mux.report)
    return np.array(targets), reports


def test_without_a_person_the_policy_target_is_reached_at_the_end_of_its_period():
    mux = ServoMux()
    step = np.concatenate([np.full(7, 0.004), np.full(12, 0.01)])
    _, reports = drive(mux, 20, lambda k: robot.HOME + (k + 1) * step * min(k + 1, 5) / 5)
    error = np.abs(reports[-1].applied - (robot.HOME + 20 * step))
    assert error.max() < 2e-3
    assert {report.source for report in reports} == {Source.POLICY}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([(), ("arm",), ("hand",), ("arm", "hand")]), min_size=4, max_size=40), st.integers(1, 13))
def test_the_label_is_the_source_of_the_executed_command_at_every_tick(blocks, ticks_per_block):
    script = Script(lambda tick: blocks[min(tick // ticks_per_block, len(blocks) - 1)])
    mux = ServoMux()
    mux.operator = script
    _, reports = drive(mux, 25, lambda _: robot.HOME)
    labels = [source for report in reports for source in report.tick_sources]
    assert labels == script.sent
    assert [report.source for report in reports] == labels[mux.control_ticks - 1 :: mux.control_ticks]


def test_takeover_is_immediate_and_bumpless_and_release_blends():
    script = Script(lambda tick: ("arm", "hand") if 53 <= tick < 130 else ())
    mux = ServoMux()
    mux.operator = script
    _, reports = drive(mux, 30, lambda k: robot.HOME + 0.2 * np.sin(0.3 * k) * np.array([1.0] * 7 + [0] * 12))
    events = [event for report in reports for event in report.handovers]
    assert [(event.limb, event.kind, round(event.t_s / DT)) for event in events] == [
        ("arm", "takeover", 53), ("hand", "takeover", 53), ("arm", "release", 130), ("hand", "release", 130),
    ]  # fmt: skip
    assert max(event.goal_jump_rad for event in events) < 1e-3
    blend_ticks = round(HANDBACK_BLEND_S / DT)
    blending = [report.blending for report in reports]
    assert sum(blending) == pytest.approx(blend_ticks / mux.control_ticks, abs=1)


def test_one_limb_can_be_taken_while_the_policy_keeps_the_other():
    script = Script(lambda tick: ("hand",), offset=0.2)
    mux = ServoMux()
    mux.operator = script
    goal = robot.HOME + np.concatenate([np.full(7, 0.1), np.zeros(12)])
    _, reports = drive(mux, 30, lambda _: goal)
    assert reports[-1].source is Source.HAND
    assert np.allclose(reports[-1].applied[ARM], goal[ARM], atol=1e-3)
    assert np.allclose(reports[-1].applied[HAND], robot.HAND_HOME + 0.2, atol=1e-3)
    assert reports[-1].t_arm_ns == 0
    assert reports[-1].t_hand_ns > 0


def test_min_jerk_is_a_smooth_step():
    x = np.linspace(0, 1, 101)
    y = np.array([min_jerk(value) for value in x])
    assert y[0] == 0
    assert y[-1] == 1
    assert (np.diff(y) >= 0).all()
    assert abs(y[1] / x[1]) < 1e-2
    assert min_jerk(0.5) == pytest.approx(0.5)
