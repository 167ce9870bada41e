"""The mux next to the motors: who drives arm and hand at this tick, the label from that source, then the limits."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dexhil_env import robot
from dexhil_env.limits import Limiter
from dexhil_env.types import ARM, F64, HAND, Command, Source

HANDBACK_BLEND_S = 0.3
"""Duration of the minimum-jerk blend from the person's last command to the policy's."""


class CommandSource(Protocol):
    """The part of an operator that the mux sees."""

    def poll(self, t_s: float, commanded: F64) -> Command:
        """Return what the person asks for now; ``commanded`` (19,) [rad] is the last target sent, the anchor of a takeover."""
        ...


def min_jerk(x: float) -> float:
    """Minimum-jerk ramp from 0 to 1 for x in [0, 1]."""
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


@dataclass(slots=True)
class Handover:
    """One takeover or release of one limb.

    Attributes:
        t_s: time [s].
        limb: ``"arm"`` or ``"hand"``.
        kind: ``"takeover"`` or ``"release"``.
        goal_jump_rad: largest difference between the first goal of the new source and the last target sent [rad].
        target_jump_rad: the same after the limiter: what the motors saw in one tick [rad].
    """

    t_s: float
    limb: str
    kind: str
    goal_jump_rad: float
    target_jump_rad: float


class _Limb:
    """Goal generator of one limb: ramps to the newest command, blends back to the policy after a release."""

    def __init__(self, name: str, part: slice, command_period_s: float, period_s: float) -> None:
        self.name, self.part = name, part
        self._command_ticks = max(1, round(command_period_s / period_s))
        self._blend_ticks = round(HANDBACK_BLEND_S / period_s)
        self.reset()

    def reset(self) -> None:
        self.human = False
        self.stamp_ns: int = 0
        self.blend_left = 0
        self._start: F64 = np.zeros(0)
        self._goal: F64 = np.zeros(0)
        self._elapsed = self._duration = 1

    def aim(self, start: F64, goal: F64, ticks: int) -> None:
        self._start, self._goal, self._elapsed, self._duration = start, goal, 0, ticks

    def goal(self, commanded: F64, command: F64 | None, stamp_ns: int, policy_goal: F64) -> F64:
        if command is not None:
            if not self.human or stamp_ns != self.stamp_ns:
                self.aim(self._goal if self.human else commanded, command, self._command_ticks)
            self.human, self.blend_left, self.stamp_ns = True, 0, stamp_ns
            self._elapsed = min(self._elapsed + 1, self._duration)
            return self._start + (self._goal - self._start) * (self._elapsed / self._duration)
        if self.human:
            self.human, self.blend_left = False, self._blend_ticks
            self._start = commanded
        if self.blend_left > 0:
            self.blend_left -= 1
            share = min_jerk(1.0 - self.blend_left / self._blend_ticks)
            return self._start + share * (policy_goal - self._start)
        return policy_goal


@dataclass
class PeriodReport:
    """What the mux did in one control period.

    Attributes:
        applied: (19,) target sent at the last tick [rad].
        source: who made that target.
        blending: a hand-back blend was running at the last tick.
        handovers: takeovers and releases within the period.
        t_arm_ns, t_hand_ns: stamps of the human commands in force at the last tick, 0 for none.
        tick_sources: source of every tick.
    """

    applied: F64
    source: Source = Source.POLICY
    blending: bool = False
    handovers: list[Handover] = field(default_factory=list[Handover])
    t_arm_ns: int = 0
    t_hand_ns: int = 0
    tick_sources: list[Source] = field(default_factory=list[Source])


class ServoMux:
    """Chooses at every servo tick between the policy's and the person's command, per limb, and limits the result.

    The label of a control period is the source of its last tick: the one that made ``applied``.

    Args:
        control_ticks: servo ticks per control period.
        period_s: of a servo tick [s].
        limiter: what every target passes; by default the limits of the joints.
    """

    def __init__(
        self,
        control_ticks: int = round(robot.CONTROL_PERIOD_S / robot.SERVO_PERIOD_S),
        period_s: float = robot.SERVO_PERIOD_S,
        limiter: Limiter | None = None,
    ) -> None:
        self.limiter = limiter or Limiter(period_s=period_s)
        self.operator: CommandSource | None = None
        self.control_ticks, self.period_s = control_ticks, period_s
        self._limbs = (
            _Limb("arm", ARM, robot.ARM_COMMAND_PERIOD_S, period_s),
            _Limb("hand", HAND, robot.HAND_COMMAND_PERIOD_S, period_s),
        )
        self.reset(robot.HOME)

    @property
    def commanded(self) -> F64:
        """(19,) last target sent [rad]."""
        return self.limiter.position

    def reset(self, position: F64) -> None:
        """Stand still at ``position`` (19,) [rad], policy in charge."""
        self.limiter.reset(position)
        for limb in self._limbs:
            limb.reset()
        self._action = self.limiter.position.copy()
        self.begin(self._action)

    def begin(self, action: F64) -> None:
        """Start a control period with the policy's target (19,) [rad]; reached linearly at its end.

        A limb that the policy drives goes on from the policy's last target, one that it gets back from where the person left it.
        """
        start = self.limiter.position.copy()
        for limb in self._limbs:
            if not limb.human and limb.blend_left == 0:
                start[limb.part] = self._action[limb.part]
        self._start, self._action, self._tick = start, np.array(action, dtype=float), 0
        self.report = PeriodReport(self.limiter.position.copy())

    def tick(self, t_s: float) -> F64:
        """Return the target (19,) [rad] to send at time ``t_s``."""
        self._tick += 1
        policy_goal = self._start + (self._action - self._start) * min(self._tick / self.control_ticks, 1.0)
        before = self.limiter.position
        command = self.operator.poll(t_s, before.copy()) if self.operator is not None else Command()
        goal = np.empty_like(policy_goal)
        changed: list[tuple[_Limb, str]] = []
        for limb, part, stamp in zip(self._limbs, (command.arm, command.hand), (command.t_arm_ns, command.t_hand_ns), strict=True):
            was_human = limb.human
            goal[limb.part] = limb.goal(before[limb.part].copy(), part, stamp, policy_goal[limb.part])
            if limb.human != was_human:
                changed.append((limb, "takeover" if limb.human else "release"))
        target = self.limiter.step(goal)
        for limb, kind in changed:
            wanted = (command.arm if limb.name == "arm" else command.hand) if kind == "takeover" else goal[limb.part]
            assert wanted is not None
            jumps = (float(np.abs(x - before[limb.part]).max()) for x in (wanted, target[limb.part]))
            self.report.handovers.append(Handover(t_s, limb.name, kind, *jumps))
        self._note(command, target)
        return target

    def _note(self, command: Command, target: F64) -> None:
        report = self.report
        report.applied = target
        report.source = command.source
        report.blending = any(limb.blend_left > 0 for limb in self._limbs)
        report.t_arm_ns = command.t_arm_ns if command.arm is not None else 0
        report.t_hand_ns = command.t_hand_ns if command.hand is not None else 0
        report.tick_sources.append(command.source)
