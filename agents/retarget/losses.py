"""The loss terms of both stages. Lengths in decimetres where vectors come in, in centimetres where squares are summed.

Eq. 1 and 2 of the DexHiL paper leave s(d), f(d) and all weights open; ours are here and in ``docs/retargeting.md``. Direction, coverage,
flatness and pinch are GeoRT's (arXiv 2503.07541).
"""

from dataclasses import dataclass

import torch

from agents.retarget.kinematics import CM, Posed
from dexhil_env.errors import ConfigError

_DM_TO_CM = 10.0


@dataclass(frozen=True)
class LossWeights:
    """Weights of eq. 2 and of our two additions.

    Attributes:
        direction: thumb tip moves as the person's does.
        cover: the thumb's workspace is used [1/cm^2].
        flat: equal steps give equal steps.
        pinch: tips meet where the person's do [1/cm^2].
        kin: eq. 1 on thumb-fingertip pairs [1/cm^2].
        contact: the surfaces meet, not the points alone [1/cm^2]; ours.
        clear: no link of the thumb inside a finger [1/cm^2]; ours.
        own: root-to-tip vector of the thumb itself [1/dm^2]; ours.
    """

    direction: float = 0.3
    cover: float = 0.3
    flat: float = 1.0
    pinch: float = 20.0
    kin: float = 0.5
    contact: float = 10.0
    clear: float = 40.0
    own: float = 1.0

    def __post_init__(self) -> None:
        bad = {name: value for name, value in vars(self).items() if value < 0}
        if bad:
            raise ConfigError(f"loss weights are zero or positive; got {bad}")


GAMMA = 1e-4
"""Weight of |q|^2 in eq. 1 with lengths in decimetres: too small to be seen in the pose, enough to settle what is free."""
PINCH_M = 0.004
"""Excess over the contact distance at which the pinch term fades [m]."""


def reach_loss(posed: Posed, motors: torch.Tensor, reach: torch.Tensor, first: int = 1) -> torch.Tensor:
    """Eq. 1: root-to-tip vectors of the fingers from ``first`` on; s = 1 / f^2, so that closed fingers count as much as straight ones."""
    error = posed.reach_dm()[:, first:] - reach[:, first:]
    weight = 1.0 / torch.clamp(reach[:, first:].pow(2).sum(-1), min=0.1)
    return (0.5 * weight * error.pow(2).sum(-1)).sum(1).mean() + GAMMA * motors.pow(2).sum(1).mean()


def kin_loss(posed: Posed, approach: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """Eq. 1 on the thumb-fingertip pairs, weighted with s(d) in ``near`` (B, 4) [cm^2]."""
    error = (posed.approach_dm() - approach) * _DM_TO_CM
    return (0.5 * near * error.pow(2).sum(-1)).mean(1).mean()


def pinch_loss(posed: Posed, excess_m: torch.Tensor) -> torch.Tensor:
    """GeoRT's pinch term: squared tip distance where the person pinches [cm^2]; faded in, so that the thumb does not snap shut."""
    distance = (posed.tips[:, 1:] - posed.tips[:, :1]).mul(CM).pow(2).sum(-1)
    return (torch.exp(-((excess_m / PINCH_M) ** 2)) * distance).sum(1).mean()


def contact_loss(gaps_m: torch.Tensor, approach: torch.Tensor, excess_m: torch.Tensor) -> torch.Tensor:
    """Free way between the outer links against the wanted tip distance, close to contact [cm^2]."""
    wanted = approach.norm(dim=-1) * _DM_TO_CM
    near = torch.exp(-((excess_m / 0.010) ** 2))
    return (near * (gaps_m[:, 2, :, 2] * CM - wanted).pow(2)).sum(1).mean()


def clear_loss(gaps_m: torch.Tensor) -> torch.Tensor:
    """Depth of any link of the thumb inside a finger's, beyond 2 mm [cm^2]."""
    return torch.relu(-0.2 - gaps_m * CM).pow(2).flatten(1).sum(1).mean()


def direction_loss(before: torch.Tensor, after: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """1 - cosine between the robot's and the person's tip movement, (B, 3) each."""
    return (1.0 - torch.nn.functional.cosine_similarity(after - before, moved, dim=-1, eps=1e-6)).mean()


def flat_loss(before: torch.Tensor, middle: torch.Tensor, after: torch.Tensor, step_m: float) -> torch.Tensor:
    """Second difference of the tip (B, 3) over a step of the person's tip, per step."""
    return ((after + before - 2 * middle) / step_m).pow(2).sum(-1).mean()


def cover_loss(tips: torch.Tensor, workspace: torch.Tensor) -> torch.Tensor:
    """Chamfer distance between the tips reached (B, 3) and points of the workspace (N, 3), both ways [cm^2]."""
    distance = torch.cdist(tips * CM, workspace * CM).pow(2)
    return distance.min(1).values.mean() + distance.min(0).values.mean()
