"""When a failure is impending: the rules by which the simulated human decides to take over.

The paper names two failure modes, bad contact (missing the object) and arm-hand discoordination (closing before the wrist has
arrived). Two more are common sense: no progress, and leaving the safe region. The thresholds are calibrated so that the experts' own
episodes raise (almost) no alarm; ``tests/physics/test_scripted.py`` holds them to that.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import ConfigError
from dexhil_env.types import F64

FLEXION = tuple(robot.HAND_MOTORS.index(name) for name in ("ff_mcp", "mf_mcp", "rf_mcp", "lf_mcp"))


class RiskMonitor(Protocol):
    """Names the failure in sight."""

    def reset(self) -> None:
        """A new episode, or a new start after a hand-back."""
        ...

    def look(self, T_base_ee: F64, hand: F64, t_s: float) -> str | None:
        """Return the reason for alarm, or None.

        Args:
            T_base_ee: (4, 4) commanded palm pose.
            hand: (12,) commanded motor angles [rad].
            t_s: time [s].
        """
        ...


@dataclass(frozen=True)
class RiskConfig:
    """Thresholds of the rules.

    Attributes:
        stall_s: this long without progress is an alarm [s].
        stall_gain: increase of the task's progress that counts as progress.
        workspace_m: (low, high) corners of the safe box of the palm [m].
    """

    stall_s: float = 3.0
    stall_gain: float = 0.02
    workspace_m: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.25, -0.4, 0.05), (0.85, 0.4, 0.75))


class _Common:
    """No progress and leaving the safe region, for every task."""

    def __init__(self, env: DexHiLEnv, config: RiskConfig) -> None:
        self._env, self.config = env, config
        self.reset()

    def reset(self) -> None:
        """Forget the best progress."""
        self._best = -1.0
        self._best_at: float | None = None

    def common(self, T_base_ee: F64, t_s: float) -> str | None:
        """Judge what does not depend on the task."""
        progress = self._env.evaluation.progress
        if self._best_at is None or progress > self._best + self.config.stall_gain:
            self._best, self._best_at = progress, t_s
        low, high = self.config.workspace_m
        if (T_base_ee[:3, 3] < low).any() or (T_base_ee[:3, 3] > high).any():
            return "leaving the safe region"
        if t_s - self._best_at > self.config.stall_s:
            return "no progress"
        return None


@dataclass(frozen=True)
class PlushRiskConfig(RiskConfig):
    """Thresholds for grasping the toy.

    Attributes:
        early_m: closing the fingers with the grasp centre further from the toy than this is premature [m].
        early_flexion_rad: mean finger flexion that counts as closing [rad].
        offset_m: being low with the grasp centre further beside the toy than this misses it [m].
        low_m: palm height that counts as low [m].
        empty_height_m: rising this far above the lowest point of the attempt with a closed hand and the toy on the table is empty [m].
        held_height_m: height of the toy's centre that shows that the hand holds it [m]; a toy on the table has 0.036.
    """

    early_m: float = 0.11
    early_flexion_rad: float = 0.55
    offset_m: float = 0.09
    low_m: float = 0.19
    empty_height_m: float = 0.07
    held_height_m: float = 0.055


GRASP_CENTRE_EE = np.array([0.068, 0.008, 0.040])
"""Middle of the closed hand in the palm frame [m]."""


class PlushRisk(_Common):
    """Rules for the plush toy."""

    def __init__(self, env: DexHiLEnv, config: PlushRiskConfig | None = None) -> None:
        self.rules = config or PlushRiskConfig()
        super().__init__(env, self.rules)

    def reset(self) -> None:
        """Forget the attempt."""
        super().reset()
        self._lowest_closed: float | None = None

    def look(self, T_base_ee: F64, hand: F64, t_s: float) -> str | None:
        """Judge a grasp; see :class:`RiskMonitor`."""
        rules, metrics = self.rules, self._env.evaluation.metrics
        centre = T_base_ee[:3, :3] @ GRASP_CENTRE_EE + T_base_ee[:3, 3]
        beside = float(np.hypot(centre[0] - metrics["toy_x_m"], centre[1] - metrics["toy_y_m"]))
        above = max(0.0, float(centre[2]) - 0.05)
        lifted = metrics["toy_centre_height_m"] > rules.held_height_m
        closing = float(hand[list(FLEXION)].mean()) > rules.early_flexion_rad
        height = float(T_base_ee[2, 3])
        if not closing or lifted:
            self._lowest_closed = None
        else:
            self._lowest_closed = height if self._lowest_closed is None else min(height, self._lowest_closed)
        if closing and not lifted and np.hypot(beside, above) > rules.early_m:
            return "closing before the wrist has arrived"
        if not lifted and height < rules.low_m and beside > rules.offset_m:
            return "bad contact: beside the toy"
        if self._lowest_closed is not None and height > self._lowest_closed + rules.empty_height_m:
            return "bad contact: lifting an empty hand"
        return self.common(T_base_ee, t_s)


@dataclass(frozen=True)
class TissueRiskConfig(RiskConfig):
    """Thresholds for pinching the tissue.

    Attributes:
        early_m: pinching with the fingertips further from the edge than this is premature [m].
        early_gap_m: distance of thumb tip and index tip that counts as pinching [m].
        miss_m: being at the height of the edge with the fingertips further from it than this misses it [m].
        empty_height_m: rising this far above the lowest point of the attempt with closed fingers and no extraction is empty [m].
    """

    early_m: float = 0.07
    early_gap_m: float = 0.03
    miss_m: float = 0.08
    empty_height_m: float = 0.05


class TissueRisk(_Common):
    """Rules for the tissue."""

    def __init__(self, env: DexHiLEnv, config: TissueRiskConfig | None = None) -> None:
        self.rules = config or TissueRiskConfig()
        super().__init__(env, self.rules)

    def reset(self) -> None:
        """Forget the attempt."""
        super().reset()
        self._lowest_closed: float | None = None
        self._fraction_then = 0.0

    def look(self, T_base_ee: F64, hand: F64, t_s: float) -> str | None:
        """Judge a pinch; see :class:`RiskMonitor`."""
        del hand
        rules, metrics = self.rules, self._env.evaluation.metrics
        distance, fraction = metrics["tip_distance_m"], metrics["extracted_fraction"]
        pinching = metrics["tip_gap_m"] < rules.early_gap_m
        height = float(T_base_ee[2, 3])
        if not pinching:
            self._lowest_closed = None
        elif self._lowest_closed is None or height < self._lowest_closed:
            self._lowest_closed, self._fraction_then = height, fraction
        if pinching and distance > rules.early_m and fraction < 0.5:
            return "closing before the wrist has arrived"
        lifted = self._lowest_closed is not None and height > self._lowest_closed + rules.empty_height_m
        if lifted and fraction < self._fraction_then + 0.05 and fraction < 0.5:
            return "bad contact: missed the tissue's edge"
        return self.common(T_base_ee, t_s)


def make_risk_monitor(env: DexHiLEnv) -> RiskMonitor:
    """Return the rules of an environment's task.

    Raises:
        ConfigError: the task has none.
    """
    rules = {"plush": PlushRisk, "tissue": TissueRisk}
    if env.task.name not in rules:
        raise ConfigError(f"no risk rules for the task {env.task.name!r}; pass ScriptedOperator(risk=...) (known: {tuple(rules)})")
    return rules[env.task.name](env)
