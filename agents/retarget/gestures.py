"""Poses of the parametric hand: named gestures, random poses, and pinches that are solved for."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from agents.retarget.flesh import overlap
from agents.retarget.human import HIGH, LOW, HandShape, keypoints
from dexhil_env.hil.retarget.keypoints import TIPS
from dexhil_env.types import F64

CALIBRATION: Final = ("open", "spread", "fist")
HELD_OUT: Final = ("hook", "point", "key", "thumb_up", "power", "victory", "tripod")
"""Gestures that training never shows; the test recordings are made of them."""

_STRAIGHT, _CURLED = (2, 3, 2), (82, 100, 62)
_SIDEWAYS: Final = np.isin(np.arange(21), (5, 9, 13, 17))
"""The abduction angles."""
_FAN: Final = (6, 0, -5, -11)
"""Abduction of index to little finger when the hand is spread [deg]."""


def _pose(thumb: tuple[float, ...], fingers: tuple[tuple[float, ...], ...], fan: float = 0.2) -> F64:
    """Angles (21,) [rad] from degrees."""
    return np.deg2rad([*thumb, *(value for finger, side in zip(fingers, _FAN, strict=True) for value in (fan * side, *finger))])


GESTURES: Final[dict[str, F64]] = {
    "open": _pose((40, 15, 10, 2, 0), (_STRAIGHT,) * 4, 0.3),
    "spread": _pose((55, 25, 10, 0, -5), (_STRAIGHT,) * 4, 1.6),
    "relax": _pose((25, 25, 15, 15, 15), ((20, 25, 12), (25, 28, 14), (28, 30, 15), (28, 30, 15))),
    "fist": _pose((15, 40, 35, 40, 45), (_CURLED,) * 4, 0.0),
    "hook": _pose((35, 10, 10, 5, 10), ((5, 88, 55),) * 4, 0.0),
    "point": _pose((15, 35, 30, 35, 40), (_STRAIGHT, _CURLED, _CURLED, _CURLED), 0.1),
    "key": _pose((8, 22, 20, 20, 30), ((45, 70, 35), (55, 75, 40), (60, 78, 42), (62, 78, 42)), 0.0),
    "thumb_up": _pose((62, 12, 5, -5, -10), ((75, 92, 52),) * 4, 0.0),
    "power": _pose((25, 48, 30, 20, 25), ((48, 45, 25), (50, 48, 28), (52, 50, 28), (55, 50, 28)), 0.3),
    "victory": _pose((12, 42, 35, 40, 45), (_STRAIGHT, _STRAIGHT, _CURLED, _CURLED), 1.6),
}  # fmt: skip
"""Angles (21,) [rad] of each named gesture; ours, within the ranges of ``LOW`` and ``HIGH``."""


def jitter(pose: F64, rng: np.random.Generator, sd_deg: float = 4.0) -> F64:
    """Vary a pose (21,) as people do."""
    return np.clip(pose + np.deg2rad(rng.normal(0, sd_deg, pose.shape)), LOW, HIGH)


def random_poses(count: int, rng: np.random.Generator) -> F64:
    """Draw free poses (count, 21) [rad]: fingers curl together and apart, DIP follows PIP, spreading fades with the curl."""
    curl = np.clip(rng.uniform(0, 1, (count, 1)) + rng.normal(0, 0.25, (count, 4)) * rng.integers(0, 2, (count, 1)), 0, 1)
    curl = np.where(rng.random((count, 4)) < 0.15, rng.uniform(0, 1, (count, 4)), curl)
    split = np.clip(curl[..., None] + rng.normal(0, 0.18, (count, 4, 2)), 0, 1.05)
    mcp = -5 + 92 * split[..., 0] + rng.normal(0, 3, (count, 4))
    pip = 102 * split[..., 1]
    dip = (2 / 3) * pip + rng.normal(0, 5, (count, 4))
    fan = rng.uniform(-0.2, 1.7, (count, 1)) * np.array(_FAN) * (1 - curl) + rng.normal(0, 2.5, (count, 4))
    thumb = rng.uniform([-5, 3, 3, -5, -10], [60, 52, 45, 50, 65], (count, 5))
    fingers = np.stack([fan, mcp, pip, dip], axis=-1).reshape(count, 16)
    return np.clip(np.deg2rad(np.concatenate([thumb, fingers], axis=1)), LOW, HIGH)


def pinch_poses(
    shape: HandShape, finger: NDArray[np.bool_], rng: np.random.Generator, gap_m: float | F64 = 0.004, iterations: int = 120
) -> F64:
    """Solve for poses (B, 21) [rad] in which the thumb's tip is ``gap_m`` [m] away from the tips of chosen fingers.

    Args:
        shape: whose hand.
        finger: (B, 4) bool, the fingers (index to little) that the thumb meets.
        rng: varies start and therefore the solution.
        gap_m: distance of the tip points at contact: half a fingertip's thickness each, as the sensors place them.
        iterations: steps of Adam.
    """
    count = len(finger)
    rest = np.deg2rad([30, 42, 30, 15, 25, *([0, 48, 45, 28] * 4)]) * np.ones((count, 1))
    curl = rng.choice([0.1, 0.5, 1.0, 1.6], (count, 1, 1)) * np.ones((1, 4, 4))
    others = np.where(finger[:, :, None], 1.0, curl)  # the fingers that take no part are anything from straight to curled
    rest[:, 5:] *= others.reshape(count, 16)
    rest = np.clip(rest + np.deg2rad(rng.normal(0, 1, rest.shape) * np.where(_SIDEWAYS, 2, 7)), LOW, HIGH)
    low, high, start = (torch.as_tensor(part, dtype=torch.float32) for part in (LOW, HIGH, rest))
    mask = torch.as_tensor(finger, dtype=torch.float32)
    free = torch.ones(count, 21)
    free[:, 5:] = mask[:, :, None].expand(-1, -1, 4).reshape(count, 16)
    gap = torch.as_tensor(np.broadcast_to(gap_m, (count,)).copy(), dtype=torch.float32)
    effort = torch.as_tensor(np.where(_SIDEWAYS, 1.0, 0.03), dtype=torch.float32)
    move = torch.zeros(count, 21, requires_grad=True)
    optimiser = torch.optim.Adam([move], lr=0.04)
    for step in range(iterations):
        optimiser.param_groups[0]["lr"] = 0.04 * (1 - step / iterations)
        pose = torch.clamp(start + move * free, low, high)
        points = keypoints(shape, pose)
        tips = points[:, TIPS]
        way = tips[:, 1:] - tips[:, :1]
        reach = ((way.norm(dim=-1) - gap[:, None]) * 100).pow(2) * mask
        loss = (reach.sum(1) + 2.0 * overlap(points) + (effort * (move * free).pow(2)).sum(1)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return torch.clamp(start + move * free, low, high).double().numpy()


def single(finger: int, count: int) -> NDArray[np.bool_]:
    """Return a (count, 4) mask that names one finger, 0 for the index."""
    mask = np.zeros((count, 4), dtype=bool)
    mask[:, finger] = True
    return mask
