"""When a failure is impending: the rules by which the simulated human decides to take over.

The paper names two failure modes, bad contact (missing the object) and arm-hand discoordination (closing before the wrist has
arrived). Two more are common sense: no progress, and leaving the safe region. The thresholds are calibrated so that the experts' own
episodes raise (almost) no alarm; ``tests/physics/test_scripted.py`` holds them to that.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import ConfigError
from dexhil_env.hil.experts.plush import Grasp
from dexhil_env.hil.experts.tissue import DEPTH_M, PINCH_IN_EE
from dexhil_env.hil.sim_experts import sim_backend
from dexhil_env.sim.tissue import SUCCESS_FRACTION, TissueTask
from dexhil_env.types import F64

GRASP = Grasp()
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
        ahead_s: how far a person sees the motion of the palm ahead [s].
        workspace_m: (low, high) corners of the safe box of the palm [m].
    """

    stall_s: float = 3.0
    stall_gain: float = 0.02
    ahead_s: float = 0.15
    workspace_m: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.25, -0.4, 0.05), (0.85, 0.4, 0.75))


class _Common:
    """No progress and leaving the safe region, for every task."""

    def __init__(self, env: DexHiLEnv, config: RiskConfig) -> None:
        self._env, self.config = env, config
        self.reset()

    def reset(self) -> None:
        """Forget the best progress and the motion."""
        self._palms: deque[tuple[float, F64]] = deque(maxlen=3)
        self._best = -1.0
        self._best_at: float | None = None

    def ahead(self, T_base_ee: F64, t_s: float) -> F64:
        """Return the palm pose (4, 4) that the present motion leads to in ``ahead_s``."""
        self._palms.append((t_s, T_base_ee[:3, 3].copy()))
        then, position = self._palms[0]
        moved = T_base_ee.copy()
        if t_s > then:
            moved[:3, 3] += (T_base_ee[:3, 3] - position) * (self.config.ahead_s / (t_s - then))
        return moved

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
    """Thresholds for grasping the toy. A person sees a miss coming: the hand goes down beside the toy, or closes before it is there.

    Attributes:
        beside_m: going down open with the grasp centre further beside the toy than this will miss it [m]; the expert stays within 0.05.
        low_m: height over the height of the grasp that counts as going down [m].
        closing_rad: mean finger flexion that counts as closing [rad].
        early_m: closing higher than this over the height of the grasp is premature [m].
        empty_m: rising this far above the lowest point of the closed hand without the toy is empty [m]; a held toy hangs up to 0.08 m low.
        early_beside_m: closing further beside the toy than this is premature [m].
        held_height_m: height of the toy's centre that shows that the hand holds it [m]; a toy on the table has 0.036.
    """

    beside_m: float = 0.055
    low_m: float = 0.055
    closing_rad: float = 0.4
    early_m: float = 0.035
    empty_m: float = 0.09
    early_beside_m: float = 0.055
    held_height_m: float = 0.055


class PlushRisk(_Common):
    """Rules for the plush toy."""

    def __init__(self, env: DexHiLEnv, config: PlushRiskConfig | None = None) -> None:
        self.rules = config or PlushRiskConfig()
        super().__init__(env, self.rules)

    def reset(self) -> None:
        """Forget the attempt."""
        super().reset()
        self._lowest = np.inf
        self._begun: tuple[float, float] | None = None

    def look(self, T_base_ee: F64, hand: F64, t_s: float) -> str | None:
        """Judge a grasp; see :class:`RiskMonitor`."""
        rules = self.rules
        beside, over = self._off(T_base_ee)
        beside_soon, over_soon = self._off(self.ahead(T_base_ee, t_s))
        held = self._env.evaluation.metrics["toy_centre_height_m"] > rules.held_height_m
        closed = float(hand[list(FLEXION)].mean()) > rules.closing_rad
        if not closed:
            self._begun = None
        elif self._begun is None:
            self._begun = (over, beside)
        self._lowest = min(self._lowest, over) if closed else np.inf
        if not held and self._begun is not None:
            if self._begun[0] > rules.early_m or self._begun[1] > rules.early_beside_m:
                return "closing before the wrist has arrived"
            if over > self._lowest + rules.empty_m:
                return "bad contact: lifting an empty hand"
        if not held and not closed and over_soon < rules.low_m and min(beside, beside_soon) > rules.beside_m:
            return "bad contact: beside the toy"
        return self.common(T_base_ee, t_s)

    def _off(self, T_base_ee: F64) -> tuple[float, float]:
        """Distance of the grasp centre beside the toy and over the height of the grasp [m]."""
        metrics = self._env.evaluation.metrics
        centre = T_base_ee[:3, :3] @ np.array(GRASP.centre_m) + T_base_ee[:3, 3]
        return float(np.hypot(centre[0] - metrics["toy_x_m"], centre[1] - metrics["toy_y_m"])), float(centre[2]) - GRASP.height_m


@dataclass(frozen=True)
class TissueRiskConfig(RiskConfig):
    """Thresholds for pinching the tissue.

    Attributes:
        across_m: going down open with the pinch further across the ridge of the tissue than this will miss it [m].
        low_m: height over the place to pinch that counts as going down [m].
        closing_gap_m: distance of thumb tip and index tip that counts as closing [m]; they come down 4 to 6 cm apart.
        early_m: closing higher than this over the place to pinch is premature [m].
        empty_m: rising this far above the lowest point of the closed fingers, without the tissue coming along, is empty [m].
        empty_s: fingers closed for this long that do not touch the tissue on both sides have missed it [s]; closing takes 0.45.
        gain: increase of the extracted share that shows that the tissue comes along.
    """

    across_m: float = 0.028
    low_m: float = 0.05
    closing_gap_m: float = 0.035
    early_m: float = 0.022
    empty_m: float = 0.05
    empty_s: float = 0.6
    gain: float = 0.05


class TissueRisk(_Common):
    """Rules for the tissue."""

    def __init__(self, env: DexHiLEnv, config: TissueRiskConfig | None = None) -> None:
        self.rules = config or TissueRiskConfig()
        super().__init__(env, self.rules)

    def reset(self) -> None:
        """Forget the attempt."""
        super().reset()
        self._lowest, self._lowest_over, self._fraction_then = np.inf, np.inf, 0.0
        self._gripped_at: float | None = None

    def look(self, T_base_ee: F64, hand: F64, t_s: float) -> str | None:
        """Judge a pinch; see :class:`RiskMonitor`."""
        del hand
        rules, metrics = self.rules, self._env.evaluation.metrics
        fraction, height = metrics["extracted_fraction"], float(T_base_ee[2, 3])
        task = sim_backend(self._env).task
        assert isinstance(task, TissueTask)
        material = task.material()
        ridge = material[int(material[:, 2].argmax())]
        across, over = self._off(task, T_base_ee, ridge)
        across_soon, over_soon = self._off(task, self.ahead(T_base_ee, t_s), ridge)
        out = fraction > SUCCESS_FRACTION
        closed = not out and metrics["tip_gap_m"] < rules.closing_gap_m
        if not closed:
            self._lowest = self._lowest_over = np.inf
        elif height < self._lowest:
            self._lowest, self._fraction_then = height, fraction
        if closed:
            self._lowest_over = min(self._lowest_over, over)
        if not closed or task.gripping() or self._gripped_at is None:
            self._gripped_at = t_s
        if closed and self._lowest_over > rules.early_m:
            return "closing before the wrist has arrived"
        if closed and t_s - self._gripped_at > rules.empty_s:
            return "bad contact: missed the tissue's edge"
        if closed and height > self._lowest + rules.empty_m and fraction < self._fraction_then + rules.gain:
            return "bad contact: missed the tissue's edge"
        if not out and not closed and over_soon < rules.low_m and min(across, across_soon) > rules.across_m:
            return "bad contact: beside the tissue's edge"
        return self.common(T_base_ee, t_s)

    def _off(self, task: TissueTask, T_base_ee: F64, ridge: F64) -> tuple[float, float]:
        """Distance of the pinch across the slit and over the place to pinch, from the highest point (3,) of the tissue [m]."""
        pinch = T_base_ee[:3, :3] @ PINCH_IN_EE + T_base_ee[:3, 3]
        local = task.pack.to_pack(sim_backend(self._env).model, np.stack([pinch, ridge]))
        return abs(float(local[0, 0] - local[1, 0])), float(pinch[2] - ridge[2] + DEPTH_M)


def make_risk_monitor(env: DexHiLEnv) -> RiskMonitor:
    """Return the rules of an environment's task.

    Raises:
        ConfigError: the task has none.
    """
    rules = {"plush": PlushRisk, "tissue": TissueRisk}
    if env.task.name not in rules:
        raise ConfigError(f"no risk rules for the task {env.task.name!r}; pass ScriptedOperator(risk=...) (known: {tuple(rules)})")
    return rules[env.task.name](env)
