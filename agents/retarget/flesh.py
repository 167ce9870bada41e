"""Fingers have thickness: keep the parametric hand's thumb out of its fingers."""

from typing import Final

import torch

from agents.retarget.human import HIGH, LOW, HandShape, keypoints
from agents.retarget.kinematics import segment_distance
from dexhil_env.types import F64

THUMB_RADII_M: Final = (0.0085, 0.0070)
"""Half the thickness of the thumb's two phalanges [m], less what the flesh yields; ours."""
FINGER_RADII_M: Final = (0.0080, 0.0070, 0.0065)
"""The same for the three phalanges of a finger [m]."""
_MOVABLE: Final = torch.tensor([1.0] * 5 + [0.3, 0.3, 0.3, 0.3] * 4)
"""The thumb gives way rather than the fingers."""


def free_way(points: torch.Tensor) -> torch.Tensor:
    """Return the free way (B, 2, 4, 3) [m] between the thumb's phalanges and the fingers', for keypoints (B, 21, 3) [m]."""
    fingers = points[:, 1:].reshape(-1, 5, 4, 3)
    start, end = fingers[:, :, :-1], fingers[:, :, 1:]
    thumb_radii = torch.tensor(THUMB_RADII_M, dtype=points.dtype)
    radii = torch.tensor(FINGER_RADII_M, dtype=points.dtype)
    # the tip point lies on the skin: the axis of the last phalanx ends one radius before it
    last = torch.cat([thumb_radii[-1:], radii[-1:].expand(4)])[:, None]
    cut = end[:, :, 2] - last * torch.nn.functional.normalize(end[:, :, 2] - start[:, :, 2], dim=-1)
    end = torch.cat([end[:, :, :2], cut[:, :, None]], dim=2)
    gap = segment_distance(start[:, 0, 1:, None, None], end[:, 0, 1:, None, None], start[:, None, 1:], end[:, None, 1:])
    return gap - (thumb_radii[:, None, None] + radii)


def overlap(points: torch.Tensor) -> torch.Tensor:
    """Return the squared depth (B,) of the thumb inside the fingers [cm^2]."""
    return torch.relu(-free_way(points) * 100).pow(2).flatten(1).sum(1)


def push_out(shape: HandShape, angles: F64, iterations: int = 30) -> F64:
    """Move poses (B, 21) [rad] as little as it takes for the thumb to be outside the fingers."""
    with torch.no_grad():
        inside = (overlap(keypoints(shape, torch.as_tensor(angles, dtype=torch.float32))) > 0).numpy()
    result = angles.copy()
    if inside.any():
        result[inside] = _push(shape.of(inside), angles[inside], iterations)
    return result


def _push(shape: HandShape, angles: F64, iterations: int) -> F64:
    low, high, start = (torch.as_tensor(part, dtype=torch.float32) for part in (LOW, HIGH, angles))
    move = torch.zeros_like(start, requires_grad=True)
    optimiser = torch.optim.Adam([move], lr=0.05)
    for _ in range(iterations):
        pose = torch.minimum(torch.maximum(start + move * _MOVABLE, low), high)
        loss = (30 * overlap(keypoints(shape, pose)) + 0.1 * move.pow(2).sum(1)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return torch.minimum(torch.maximum(start + move * _MOVABLE, low), high).double().numpy()
