"""How well a retargeting follows a person: numbers that mean the same for every method. The bars are those of ``docs/retargeting.md``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from agents.retarget.kinematics import Posed
from dexhil_env.hil.retarget.features import REACH_MAX_M, REACH_MIN_M, excess
from dexhil_env.hil.retarget.keypoints import TIPS, flexion, root_to_tip
from dexhil_env.hil.retarget.kinematics import FLEXION_MAX_RAD, forward
from dexhil_env.hil.retarget.network import HIGH
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.types import F64

PINCH_M: Final = 0.008
"""Excess of the person's tip distance over contact that counts as a pinch [m]."""
MOVE_M: Final = 0.002
"""A fingertip's way that counts as a movement [m] (GeoRT)."""
BALL_M: Final = 0.008
"""A point of the workspace this near to a reached one is covered [m]."""
_FIST_RAD: Final = np.deg2rad(180.0)
_SUNK_M: Final = 0.003

Method = Callable[[F64], F64]
"""Canonical keypoints (T, 21, 3) [m] of consecutive frames -> motors (T, 12) [rad]."""


@dataclass(frozen=True)
class Bar:
    """One row of the table.

    Attributes:
        key: name in the JSON.
        title: name in the table, with its unit.
        limit: what is asked, or None for information only.
        smaller: the value may not be above the limit; otherwise not below.
        digits: shown behind the point.
    """

    key: str
    title: str
    limit: float | None = None
    smaller: bool = True
    digits: int = 1

    def met(self, value: float | None) -> bool | None:
        """Tell whether a value meets the bar; None where there is nothing to tell."""
        if self.limit is None or value is None or np.isnan(value):
            return None
        return value <= self.limit if self.smaller else value >= self.limit


BARS: Final = (
    Bar("direction_deg", "direction of four fingers, mean [deg]", 8.0),
    Bar("thumb_direction_deg", "direction of the thumb, mean [deg]"),
    Bar("extension_error", "extension error (0 to 1)", 0.05, digits=3),
    Bar("open_extension", "extension of an open hand", None, digits=3),
    Bar("fist_flexion", "flexion of a fist / person's", 0.93, smaller=False, digits=3),
    Bar("pinch_mm", "pinch with one finger, tip distance, mean [mm]", 5.0),
    Bar("pinch_p95_mm", "pinch with one finger, 95 % [mm]", 12.0),
    Bar("pinch_contact", "pinches in contact (gap < 3 mm) [%]"),
    Bar("pinch_sunk", "pinches sunk in (gap < -4 mm) [%]"),
    Bar("several_gap_mm", "several fingers at once, surface distance [mm]"),
    Bar("any_pinch_mm", "all pinches, tip distance, mean [mm]"),
    Bar("sweep_gain", "slow pinch, largest gain, mean over fingers", 3.0),
    Bar("sweep_gain_worst", "slow pinch, largest gain, worst finger"),
    Bar("sweep_gap_25_mm", "slow pinch, gap at 25 mm [mm]"),
    Bar("sweep_final_mm", "slow pinch, gap at the end [mm]", 3.0),
    Bar("sweep_monotonic", "slow pinch, closing steps [%]"),
    Bar("motion_cos", "motion cosine", 0.84, smaller=False, digits=3),
    Bar("coverage_fingers", "workspace covered, fingers [%]"),
    Bar("coverage_thumb", "workspace covered, thumb [%]"),
    Bar("colliding", "frames with a collision > 3 mm [%]", 6.0),
    Bar("noise_deg_per_mm", "noise [deg per mm]", digits=2),
    Bar("jerk_ratio", "jerk over the person's", digits=2),
    Bar("latency_p50_ms", "latency per frame, median [ms]", 0.1, digits=3),
    Bar("latency_p99_ms", "latency per frame, 99 % [ms]", digits=3),
    Bar("calibration_s", "calibration with training, CPU [s]", 120.0, digits=0),
)


def score(keypoints: F64, motors: F64, profile: Profile, hz: float) -> dict[str, float]:
    """Judge one recording (T, 21, 3) [m] and its motors (T, 12) [rad]; NaN where no frame tells."""
    posed, human = forward(motors), root_to_tip(keypoints)
    robot = posed.tips - posed.roots
    angle = np.rad2deg(np.arccos(np.clip((_unit(human) * _unit(robot)).sum(-1), -1, 1)))
    distance = np.linalg.norm(human[:, 1:], axis=-1)
    asked = np.clip((distance - profile.dmin_m[1:]) / (profile.dmax_m - profile.dmin_m)[1:], 0, 1)
    given = np.clip((np.linalg.norm(robot[:, 1:], axis=-1) - REACH_MIN_M) / (REACH_MAX_M - REACH_MIN_M), 0, 1)
    result = {
        "direction_deg": float(angle[:, 1:].mean()),
        "thumb_direction_deg": float(angle[:, 0].mean()),
        "extension_error": float(np.abs(asked - given).mean()),
        "open_extension": _mean(given[(asked > 0.95).all(1)]),
        "fist_flexion": _fist(keypoints, motors),
        "motion_cos": _motion(keypoints, posed.tips, hz),
        "jerk_ratio": _jerk(posed.tips, REACH_MAX_M) / _jerk(keypoints[:, TIPS], float(profile.dmax_m[1:].mean())),
        "coverage_fingers": float(np.mean([_coverage(posed.tips[:, finger], finger) for finger in range(1, 5)])),
        "coverage_thumb": _coverage(posed.tips[:, 0], 0),
    }
    gaps = free_way(motors)
    result["colliding"] = float(100 * (gaps.min(axis=(1, 2, 3)) < -_SUNK_M).mean())
    return result | _pinches(keypoints, posed.tips, gaps, profile)


def _unit(vectors: F64) -> F64:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else float("nan")


def free_way(motors: F64) -> F64:
    """Return the free way (T, 3, 4, 3) [m] between the links of the thumb and of the fingers."""
    with torch.no_grad():
        return Posed(torch.as_tensor(motors, dtype=torch.float32)).gaps().numpy().astype(float)


def _fist(keypoints: F64, motors: F64) -> float:
    """Flexion of the robot over the person's where all four fingers are closed; the person counts up to the robot's range."""
    human = flexion(keypoints)
    robot = motors[:, [4, 6, 8, 10]] + 2 * motors[:, [5, 7, 9, 11]]
    closed = (human > _FIST_RAD).all(axis=1)
    return _mean(robot[closed]) / _mean(np.minimum(human[closed], FLEXION_MAX_RAD)) if closed.any() else float("nan")


def _pinches(keypoints: F64, tips: F64, gaps: F64, profile: Profile) -> dict[str, float]:
    _, over = excess(keypoints, profile)
    held = over < PINCH_M
    distance, gap = 1000 * np.linalg.norm(tips[:, 1:] - tips[:, :1], axis=-1), gaps[:, 2, :, 2]
    alone = held & (held.sum(axis=1, keepdims=True) == 1)
    several = held & ~alone
    return {
        "pinch_mm": _mean(distance[alone]),
        "pinch_p95_mm": float(np.percentile(distance[alone], 95)) if alone.any() else float("nan"),
        "pinch_contact": 100 * _mean(gap[alone] < 0.003),
        "pinch_sunk": 100 * _mean(gap[alone] < -0.004),
        "several_gap_mm": 1000 * _mean(np.abs(gap[several])),
        "any_pinch_mm": _mean(distance[held]),
    }


def _motion(keypoints: F64, tips: F64, hz: float) -> float:
    """Mean cosine between the movements of the tips over 1/30 s, where the person's is more than 2 mm (GeoRT)."""
    lag = max(round(hz / 30), 1)
    human = keypoints[lag:, TIPS] - keypoints[:-lag, TIPS]
    robot = tips[lag:] - tips[:-lag]
    moving = np.linalg.norm(human, axis=-1) > MOVE_M
    return _mean((_unit(human) * _unit(robot)).sum(-1)[moving])


def _jerk(points: F64, size_m: float) -> float:
    """Root mean square of the third difference of the tips, over the size of the hand."""
    return float(np.sqrt((np.diff(points, n=3, axis=0) ** 2).sum(-1).mean())) / size_m


def _coverage(tips: F64, finger: int) -> float:
    """Percentage of the robot's reachable points of a fingertip that come near a tip of the recording."""
    sample = np.random.default_rng(0).uniform(0, HIGH, (400, 12))
    space = torch.as_tensor(forward(sample).tips[:, finger])
    nearest = torch.cdist(space, torch.as_tensor(tips[:: max(len(tips) // 2000, 1)])).min(dim=1).values
    return float(100 * (nearest < BALL_M).double().mean())


def score_sweep(keypoints: F64, motors: F64, finger: int, profile: Profile) -> dict[str, float]:
    """Judge one slow pinch with ``finger`` (0 index); ``keypoints`` approach in equal steps of the tips' distance."""
    person = np.linalg.norm(keypoints[:, TIPS[finger + 1]] - keypoints[:, 4], axis=-1)
    tips = forward(motors).tips
    robot = np.linalg.norm(tips[:, finger + 1] - tips[:, 0], axis=-1)
    gap = 1000 * free_way(motors)[:, 2, finger, 2]
    step = np.abs(np.diff(person))
    at_25 = int(np.abs(person - profile.contact_m[finger] - 0.025).argmin())
    return {
        "sweep_gain": float((np.abs(np.diff(robot)) / np.maximum(step, step.mean())).max()),
        "sweep_gap_25_mm": float(gap[at_25]),
        "sweep_final_mm": float(np.abs(gap[-1])),
        "sweep_monotonic": float(100 * (np.diff(robot) < 0.0005).mean()),
    }


def noise(method: Method, keypoints: F64, rng: np.random.Generator) -> float:
    """Return the deviation of the motors [deg] per millimetre of noise on every keypoint of a hand at rest."""
    frames = keypoints[np.linspace(0, len(keypoints) - 1, 12).astype(int)]
    spread = [method(frame + rng.normal(0, 0.001, (20, *frame.shape)))[5:].std(axis=0) for frame in frames]
    return float(np.rad2deg(np.sqrt(np.mean(np.square(spread)))))
