"""The space that the robot may use: no target leaves the box, goes below the table or comes near the end of a joint's range. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ActionError, ConfigError, check_ranges
from dexhil_env.types import F64
from real.kinematics import Points

Corner = tuple[float, float, float]

CHECK_STEP_RAD: Final = 0.05
"""On a way longer than this the poses between are looked at as well [rad]."""
_HALVINGS: Final = 6
"""Of the step in which a rule breaks, when the last safe point is searched."""
_ROUNDING: Final = 1e-6
"""So far beyond a border is still inside [rad or m]; once, not in every tick: a target that is held at a border must not creep."""
_SAME: Final = 1e-12
"""[rad or m]"""
_GROUPS: Final = (
    robot.ARM,
    *(
        np.array([7 + i for i, name in enumerate(robot.HAND_MOTORS) if name.startswith(finger)])
        for finger in ("th", "ff_spr", "ff_m", "ff_d", "mf", "rf", "lf")
    ),
)
"""Joints that may go on alone: the arm, the thumb, the spread, the other fingers."""
FINGERS: Final = ("thumb", "index finger", "middle finger", "ring finger", "little finger")


@dataclass(frozen=True)
class WorkspaceConfig:
    """Where palm and fingers may go, in the robot's base frame.

    Attributes:
        low, high: corners of the box that the palm's target stays in [m].
        table_m: height of the table [m]; 0 when the arm's base stands on it.
        palm_clearance_m: the palm's target stays so far above the table [m].
        tip_clearance_m: the arm's target keeps the fingertips, with the fingers where they are, so far above the table [m]. Negative:
            fingers that lie on the table are no reason to stop, and the arm may press a little. A scripted person needs 20 mm of it to
            grasp from the table; with 5 mm half of the grasps got stuck above it.
        tip_press_m: the fingers' targets may be so far below the table [m]. They press onto it as hard as the motors' current limit allows;
            a grasp from the table needs that (the scripted expert's go 30 mm below).
        joint_margin: the arm's targets stay so far inside the joint ranges [rad].
    """

    low: Corner = (0.25, -0.40, 0.10)
    high: Corner = (0.80, 0.40, 0.75)
    table_m: float = 0.0
    palm_clearance_m: float = 0.10
    tip_clearance_m: float = -0.02
    tip_press_m: float = 0.035
    joint_margin: float = 0.1

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ConfigError(f"low must be below high in every direction; got {self.low}, {self.high}")
        ranges = {
            "table_m": (-1.0, 1.0),
            "palm_clearance_m": (0.0, 0.5),
            "tip_clearance_m": (-0.05, 0.2),
            "tip_press_m": (0.0, 0.06),
            "joint_margin": (0.0, 0.3),
        }
        check_ranges(self, ranges)


@dataclass(frozen=True, slots=True)
class Filtered:
    """What the filter made of a target.

    Attributes:
        target: (19,) [rad], safe to send.
        share: how much of the way from the last target all joints went together, 0 to 1.
        reason: what the rest would have broken, in words; "" when nothing.
    """

    target: F64
    share: float = 1.0
    reason: str = ""


class Workspace:
    """The target filter.

    Args:
        config: the space.
        kinematics: where palm and fingertips are at (19,) angles [rad].

    Attributes:
        low, high: (19,) range of the targets [rad].
    """

    def __init__(self, config: WorkspaceConfig, kinematics: Callable[[F64], Points]) -> None:
        self.config = config
        self._points = kinematics
        self._box_low = np.maximum(config.low, (-np.inf, -np.inf, config.table_m + config.palm_clearance_m))
        self._box_high = np.array(config.high)
        self._arm_floor, self._finger_floor = config.table_m + config.tip_clearance_m, config.table_m - config.tip_press_m
        self.low, self.high = robot.LOW.copy(), robot.HIGH.copy()
        self.low[robot.ARM] += config.joint_margin
        self.high[robot.ARM] -= config.joint_margin

    def excess(self, target: F64, fingers: F64 | None = None) -> F64:
        """Return by how much a target breaks every rule, 0 where it does not.

        Args:
            target: (19,) [rad].
            fingers: (12,) where the motors are [rad]; None where that is not known.

        Returns:
            (54,): joint ranges from below and above [rad] (19 + 19), palm's box from below and above [m] (3 + 3), fingertips' targets and
            fingertips below their floor [m] (5 + 5).
        """
        points = self._points(target)
        there = points.tips if fingers is None else self._points(np.concatenate([target[robot.ARM], fingers])).tips
        floor = -np.inf if fingers is None else self._arm_floor
        beyond = (
            self.low - target, target - self.high, self._box_low - points.palm, points.palm - self._box_high,
            self._finger_floor - points.tips[:, 2], floor - there[:, 2],
        )  # fmt: skip
        return np.maximum(np.concatenate(beyond), 0.0)

    def trouble(self, target: F64, fingers: F64 | None = None) -> str:
        """Return the rule that a target breaks most, in words; "" when none. Arguments as for :meth:`excess`."""
        return _words(self.excess(target, fingers))

    def filter(self, last: F64, wanted: F64, fingers: F64 | None = None) -> Filtered:
        """Return the nearest safe target on the way from the last one.

        All joints go together as far as they can; from there the arm and every finger go the rest of their way alone, if that is safe.
        Where the robot is outside already, it may only come back.

        Args:
            last: (19,) target before [rad].
            wanted: (19,) [rad].
            fingers: (12,) where the motors are [rad]; None where that is not known.

        Raises:
            ActionError: not 19 finite numbers; nothing may be sent.
        """
        if wanted.shape != (robot.ACTION_DIM,) or not np.isfinite(wanted).all():
            raise ActionError(f"a target is {robot.ACTION_DIM} finite joint angles [rad]; got {wanted!r}; the robot keeps its last one")
        before = self.excess(last, fingers)
        broken = self._broken(last, wanted, before, fingers)
        if broken is None:
            return Filtered(wanted.copy())
        low, high, reason = broken
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self._worse(last + middle * (wanted - last), before, fingers):
                high = middle
            else:
                low = middle
        target = last + low * (wanted - last)
        for group in _GROUPS:
            tried = target.copy()
            tried[group] = wanted[group]
            if self._broken(target, tried, before, fingers) is None:
                target = tried
        return Filtered(target, low, reason)

    def _broken(self, last: F64, wanted: F64, before: F64, fingers: F64 | None) -> tuple[float, float, str] | None:
        """Return the shares of the way between which a rule breaks first, and the rule; None when the whole way is safe."""
        steps = max(1, int(np.ceil(np.abs(wanted - last).max() / CHECK_STEP_RAD)))
        for step in range(1, steps + 1):
            pose = wanted if step == steps else last + (step / steps) * (wanted - last)
            reason = self._worse(pose, before, fingers)
            if reason:
                return (step - 1) / steps, step / steps, reason
        return None

    def _worse(self, target: F64, before: F64, fingers: F64 | None) -> str:
        """Return the rule that a target breaks more than it was broken before, in words; "" when there is none."""
        excess = self.excess(target, fingers)
        return _words(np.where(excess > np.maximum(before, _ROUNDING) + _SAME, excess, 0.0))


def _words(excess: F64) -> str:
    joints, palm, tips = excess[:38], excess[38:44], excess[44:]
    if palm.max() > 0.0:
        i = int(palm.argmax())
        return f"palm {'xyz'[i % 3]} {'below' if i < 3 else 'above'} the workspace by {1e3 * palm[i]:.1f} mm"
    if tips.max() > 0.0:
        return f"{FINGERS[int(tips.argmax()) % 5]} too low over the table by {1e3 * tips.max():.1f} mm"
    if joints.max() > 0.0:
        i = int(joints.argmax())
        return f"{robot.ACTION_NAMES[i % 19]} beyond its range by {joints[i]:.3f} rad"
    return ""
