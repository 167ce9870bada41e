"""Corners of square tags to a tenth of a pixel: lines fitted to their edges, and where neighbouring lines cross.

Corner detectors see an L that blur rounds off, which makes a tag look smaller and the cube farther than it is. The middle of a blurred
straight edge stays where it was.
"""

from typing import Any, Final

import numpy as np

from dexhil_env.types import F64, U8
from real.optional import require

SAMPLES: Final = 16
"""Places along an edge at which its position is measured."""
MARGIN: Final = 0.12
"""Share of an edge next to each corner that is not used."""
PROFILE: Final = 15
"""Grey values across the edge."""
REACH: Final = (1.5, 5.0)
"""Least and largest half width of that profile [px]; in between it is 0.7 of a module as it is seen across the edge, so that the next
module stays out of it, on a slanting tag too."""
PASSES: Final = 2
_SCALE_PX: Final = 0.3
"""Residual at which a place along the edge counts half: a thumb across the edge must not bend the line."""


def refine(grey: U8, quads: F64) -> F64:
    """Move the corners of tags to where their edges cross.

    Args:
        grey: (H, W) picture.
        quads: (N, 4, 2) corners, clockwise [px].

    Returns:
        (N, 4, 2) corners [px]; a corner that would have moved by more than a module stays where it was.
    """
    _, along, normal = _frame(quads)
    module = np.linalg.norm(along, axis=-1).mean(1) / 6
    sides = (np.abs((along[:, side] * normal).sum(-1)) for side in ([3, 0, 1, 2], [1, 2, 3, 0]))
    reach = np.clip(0.7 * np.minimum(*sides) / 6, *REACH)
    found = quads
    for _ in range(PASSES):
        offset, slope = _fit(*_edge_positions(grey, found, reach))
        moved = _crossings(found, offset, slope)
        good = np.linalg.norm(moved - quads, axis=-1) < np.maximum(module, 2.0)[:, None]
        found = np.where((good & np.isfinite(moved).all(-1))[..., None], moved, found)
    return found


def _frame(quads: F64) -> tuple[F64, F64, F64]:
    """Start (N, 4, 2), direction (N, 4, 2) times length, and outward unit normal (N, 4, 2) of every edge."""
    along = np.roll(quads, -1, 1) - quads
    unit = along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    return quads, along, np.stack([unit[..., 1], -unit[..., 0]], -1)


def _edge_positions(grey: U8, quads: F64, reach: F64) -> tuple[F64, F64]:
    """Where each edge really is: (N, 4, S) distance outwards [px] and (N, 4, S) weight."""
    cv2: Any = require("cv2", "real")
    start, along, normal = _frame(quads)
    share = np.linspace(MARGIN, 1 - MARGIN, SAMPLES)
    s = np.linspace(-1.0, 1.0, PROFILE) * reach[..., None]
    place = (start[:, :, None] + share[None, None, :, None] * along[:, :, None])[:, :, :, None] + (
        s[:, :, None, :, None] * normal[:, :, None, None]
    )
    flat = place.reshape(-1, PROFILE, 2).astype(np.float32)
    values = cv2.remap(grey, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rise = np.diff(values.reshape(place.shape[:-1]).astype(float), axis=-1)
    rise = np.maximum(rise - 0.2 * np.maximum(rise.max(-1, keepdims=True), 1.0), 0.0)
    total = rise.sum(-1)
    middle = (s[..., 1:] + s[..., :-1]) / 2
    return (rise * middle[:, :, None]).sum(-1) / np.maximum(total, 1e-9), total


def _fit(position: F64, weight: F64) -> tuple[F64, F64]:
    """Robust line through the positions of each edge: offset (N, 4) and slope (N, 4) over the share along the edge."""
    share = np.linspace(MARGIN, 1 - MARGIN, SAMPLES)
    strong = weight / np.maximum(weight.max(-1, keepdims=True), 1e-9)
    trust = strong * (strong > 0.3)
    offset, slope = np.median(position, -1), np.zeros(position.shape[:2])
    for _ in range(4):
        residual = position - offset[..., None] - slope[..., None] * share
        w = trust / (1.0 + (residual / _SCALE_PX) ** 2)
        total = np.maximum(w.sum(-1), 1e-9)
        mean_share, mean = (w * share).sum(-1) / total, (w * position).sum(-1) / total
        centred = share - mean_share[..., None]
        slope = (w * centred * position).sum(-1) / np.maximum((w * centred**2).sum(-1), 1e-9)
        offset = mean - slope * mean_share
    return offset, slope


def _crossings(quads: F64, offset: F64, slope: F64) -> F64:
    """Corner i (N, 4, 2) lies where the lines of edges i - 1 and i cross."""
    start, along, normal = _frame(quads)
    point = start + offset[..., None] * normal
    way = along + slope[..., None] * normal
    other_point, other_way = np.roll(point, 1, 1), np.roll(way, 1, 1)
    gap = other_point - point
    cross = way[..., 0] * other_way[..., 1] - way[..., 1] * other_way[..., 0]
    share = (gap[..., 0] * other_way[..., 1] - gap[..., 1] * other_way[..., 0]) / np.where(np.abs(cross) < 1e-9, np.nan, cross)
    return point + share[..., None] * way
