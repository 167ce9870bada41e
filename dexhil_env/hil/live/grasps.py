"""Hand shapes that a slider or a button can ask for: the way from the open hand to a pinch, a tripod or a power grasp."""

from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.hil.live.messages import GRASPS
from dexhil_env.types import F64

THUMB_FIRST: Final = 0.45
"""Share of the way after which the thumb stands opposite the fingers: it must be there before they arrive."""
_SAMPLES: Final = np.linspace(0.0, 1.0, 41)


def _motors(**angles: float) -> F64:
    return np.array([angles.get(name, 0.0) for name in robot.HAND_MOTORS])


CLOSED: Final[dict[str, F64]] = {
    "open": _motors(),
    # thumb and index pads press on each other: the scripted expert's squeeze on a tissue
    "pinch": _motors(th_rot=0.77, th_mcp=1.30, th_dip=0.09, ff_mcp=1.30, ff_dip=0.54),
    "tripod": _motors(th_rot=1.0, th_mcp=1.25, th_dip=0.10, ff_mcp=1.25, ff_dip=0.55, mf_mcp=1.25, mf_dip=0.55),
    # the scripted expert's grasp of a toy
    "power": np.array([1.15, 0.85, 0.75, 0.05, *(1.15, 1.1) * 4]),
}
"""Closed hands (12,) [rad]."""
_WAYS: Final = {
    name: np.array([np.concatenate([[min(value / THUMB_FIRST, 1.0) * full[0]], value * full[1:]]) for value in _SAMPLES])
    for name, full in CLOSED.items()
}
FINGERS: Final = (slice(0, 3), slice(4, 6), slice(6, 8), slice(8, 10), slice(10, 12))
"""Motors of each finger, thumb first; the spread belongs to none."""


def shape(grasp: str, value: float) -> F64:
    """Return motor angles (12,) [rad] a share ``value`` (0 to 1) on the way from the open hand to a grasp."""
    angles = value * CLOSED[grasp]
    angles[0] = min(value / THUMB_FIRST, 1.0) * CLOSED[grasp][0]
    return angles


def finger(index: int, value: float) -> F64:
    """Return the motor angles [rad] of one finger (thumb 0), closed by a share of the power grasp."""
    return shape("power", value)[FINGERS[index]]


def closures(hand: F64) -> list[float]:
    """Return how far each finger of a hand (12,) [rad] is closed, 0 to 1, thumb first."""
    full = CLOSED["power"]
    return [float(np.clip(hand[part][-2:].sum() / full[part][-2:].sum(), 0.0, 1.0)) for part in FINGERS]


def nearest(grasp: str, hand: F64) -> float:
    """Return the share of the way to a grasp whose shape is nearest to a hand (12,) [rad]."""
    if grasp not in GRASPS or grasp == "open":
        return 0.0
    return float(_SAMPLES[int(np.argmin(np.abs(_WAYS[grasp] - hand).sum(axis=1)))])
