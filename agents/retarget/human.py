"""A parametric right hand: bones and joint angles -> the 21 keypoints, in torch so that gestures can be solved for.

Mean bones: Buryanov and Kotiuk, "Proportions of hand segments", Int. J. Morphol. 28(3), 2010 (distal phalanx with its pulp). Where the
finger roots lie in the palm, how users differ, and the convergence of flexed fingers are ours. Frame and order: see
:mod:`dexhil_env.hil.retarget.keypoints`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.keypoints import ROOTS, bone_lengths
from dexhil_env.types import F64

BONES_MM: Final = np.array([[46.2, 31.6, 27.4], [39.8, 22.4, 19.6], [44.6, 26.3, 21.4], [41.4, 25.7, 21.3], [32.7, 18.1, 19.7]])
"""(5, 3) thumb metacarpal and phalanges, then the phalanges of index to little finger [mm]."""
PALM_MM: Final = np.array([[6.0, 25.0, 8.0], [0.0, 17.0, 87.0], [0.0, 0.0, 92.0], [0.0, -17.0, 84.0], [0.0, -34.0, 72.0]])
"""(5, 3) thumb CMC and the MCP of the four fingers in the canonical frame [mm]."""
BONE_SD: Final = 0.06
"""Standard deviation of one bone over its mean; of the size of the whole hand too (Buryanov and Kotiuk: 5 to 8 %)."""
CONVERGENCE_DEG: Final = np.array([-2.0, 2.0, 5.0, 9.0])
"""Turn of the flexion plane of index to little finger towards the thumb side [deg]; ours."""

ANGLES: Final = (
    "radial", "palmar", "roll", "th_mcp", "th_ip",
    *(f"{finger}_{joint}" for finger in ("index", "middle", "ring", "little") for joint in ("abd", "mcp", "pip", "dip")),
)  # fmt: skip
"""Angles of a pose [rad]; abduction is positive towards the thumb."""
LOW: Final[F64] = np.deg2rad([-15, 0, 0, -10, -15, *([-20, -20, 0, 0] * 4)])
HIGH: Final[F64] = np.deg2rad([65, 60, 60, 55, 80, *([20, 90, 105, 80] * 4)])
"""Ranges of motion (21,) [rad]: AAOS tables; the thumb's roll is free here and in a living hand follows from the other two."""


@dataclass(frozen=True)
class HandShape:
    """The bones of one person, or with a leading axis those of one person per pose.

    Attributes:
        bones_m: (..., 5, 3) lengths [m], see ``BONES_MM``.
        palm_m: (..., 5, 3) roots of the fingers in the canonical frame [m].
        convergence_rad: (..., 4) see ``CONVERGENCE_DEG`` [rad].
    """

    bones_m: F64
    palm_m: F64
    convergence_rad: F64

    def __post_init__(self) -> None:
        if self.bones_m.shape[-2:] != (5, 3) or self.palm_m.shape[-2:] != (5, 3) or not (self.bones_m > 0).all():
            raise ConfigError(f"a hand has (5, 3) positive bones and (5, 3) roots; got {self.bones_m.shape} and {self.palm_m.shape}")

    def of(self, chosen: NDArray[np.bool_]) -> "HandShape":
        """Return the persons of some poses (B,); one person stays one."""
        if self.bones_m.ndim == 2:
            return self
        return HandShape(self.bones_m[chosen], self.palm_m[chosen], self.convergence_rad[chosen])


AVERAGE: Final = HandShape(BONES_MM / 1000, PALM_MM / 1000, np.deg2rad(CONVERGENCE_DEG))


def sample_shape(rng: np.random.Generator, size: float | None = None) -> HandShape:
    """Draw a person; ``size`` fixes the size of the whole hand over the mean instead of drawing it."""
    scale = (1 + np.clip(rng.normal(0, BONE_SD), -0.15, 0.15)) if size is None else size
    bones = BONES_MM * scale * (1 + np.clip(rng.normal(0, BONE_SD, (5, 3)), -0.15, 0.15))
    palm = PALM_MM * scale * (1 + np.clip(rng.normal(0, 0.04, (5, 3)), -0.1, 0.1))
    palm[0] += rng.uniform(-3, 3, 3)
    palm[2, :2] = 0.0
    return HandShape(bones / 1000, palm / 1000, np.deg2rad(CONVERGENCE_DEG + rng.normal(0, 2, 4)))


def crowd(shapes: list[HandShape]) -> HandShape:
    """Stack persons for poses (B, 21) of one person each."""
    return HandShape(
        np.stack([shape.bones_m for shape in shapes]),
        np.stack([shape.palm_m for shape in shapes]),
        np.stack([shape.convergence_rad for shape in shapes]),
    )


def fit_shape(keypoints: F64) -> HandShape:
    """Measure the bones in recorded canonical keypoints (T, 21, 3): medians over the frames."""
    bones = np.median(bone_lengths(keypoints), axis=0)
    return HandShape(bones, np.median(keypoints[:, ROOTS], axis=0), AVERAGE.convergence_rad)


def keypoints(shape: HandShape, angles: torch.Tensor) -> torch.Tensor:
    """Return keypoints (B, 21, 3) [m] of poses (B, 21) [rad]."""
    bones, palm = (torch.as_tensor(part, dtype=angles.dtype) for part in (shape.bones_m, shape.palm_m))
    wrist = torch.zeros(len(angles), 1, 3, dtype=angles.dtype)
    convergence = torch.as_tensor(shape.convergence_rad, dtype=angles.dtype)
    thumb = palm[..., :1, :] + _thumb(bones[..., 0, :], angles[:, :5])
    fingers = palm[..., 1:, None, :] + _fingers(bones[..., 1:, :], angles[:, 5:].reshape(-1, 4, 4), convergence)
    return torch.cat([wrist, thumb, fingers.reshape(len(angles), 16, 3)], dim=1)


def pose_keypoints(shape: HandShape, angles: F64) -> F64:
    """``keypoints`` for numpy arrays."""
    with torch.no_grad():
        return keypoints(shape, torch.as_tensor(np.asarray(angles), dtype=torch.float64)).numpy()


def _chain(bones: torch.Tensor, bends: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ends of the bones along and across a finger, both (..., 4), from the bend of each joint (..., 3)."""
    total = torch.cumsum(bends, dim=-1)
    zero = torch.zeros_like(total[..., :1])
    along = torch.cat([zero, torch.cumsum(bones * torch.cos(total), dim=-1)], dim=-1)
    across = torch.cat([zero, torch.cumsum(bones * torch.sin(total), dim=-1)], dim=-1)
    return along, across


def _fingers(bones: torch.Tensor, angles: torch.Tensor, convergence: torch.Tensor) -> torch.Tensor:
    """(B, 4, 4, 3) joints and tip against the MCP; ``angles`` (B, 4, 4) abduction and three flexions."""
    along, across = _chain(bones, angles[..., 1:])
    sideways = angles[..., :1] * torch.cos(angles[..., 1:2])  # a flexed finger can hardly be spread
    # along and across stay at right angles and of length one, so that bones keep their length
    forth, turn = torch.stack([torch.sin(sideways), torch.cos(sideways)]), convergence[..., None]
    x = across * torch.cos(turn)
    y = along * forth[0] + across * torch.sin(turn) * forth[1]
    z = along * forth[1] - across * torch.sin(turn) * forth[0]
    return torch.stack([x, y, z], dim=-1)


def _thumb(bones: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """(B, 4, 3) joints and tip against the CMC."""
    radial, palmar, roll = angles[:, 0], angles[:, 1], angles[:, 2]
    along, across = _chain(bones, torch.cat([torch.zeros_like(angles[:, :1]), angles[:, 3:]], dim=-1))
    cr, sr, cp, sp, cw, sw = (f(a) for a in (radial, palmar, roll) for f in (torch.cos, torch.sin))
    # the metacarpal's direction, and the way the thumb flexes: across the palm, and with roll back to the palm
    forth = torch.stack([sp, sr * cp, cr * cp], dim=-1)
    ulnar = torch.stack([torch.zeros_like(cr), -cr, sr], dim=-1)
    inward = torch.stack([-cp, sr * sp, cr * sp], dim=-1)
    flex = cw[:, None] * ulnar + sw[:, None] * inward
    return along[..., None] * forth[:, None] + across[..., None] * flex[:, None]
