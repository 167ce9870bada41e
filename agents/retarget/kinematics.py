"""The DexHand021's closed-form kinematics in torch, with gradients, and distances between its capsules.

The same chain as :mod:`dexhil_env.hil.retarget.kinematics`, which explains it; a test compares the two.
"""

from typing import Final

import torch

from dexhil_env.hil.retarget import kinematics as k
from dexhil_env.hil.retarget.features import DECIMETRE

CM: Final = 100.0
"""Losses work in centimetres: squares of metres vanish beside angles."""


def _tensor(array: object) -> torch.Tensor:
    return torch.as_tensor(array, dtype=torch.float32)


_BASE, _ALONG, _ACROSS, _AXIS = (_tensor(part) for part in (k.GEOMETRY.base, k.GEOMETRY.along, k.GEOMETRY.across, k.GEOMETRY.axis))
_TWIST, _OFFSET, _SIDE = (_tensor(part)[:, None] for part in (k.GEOMETRY.twist, k.GEOMETRY.offset, k.GEOMETRY.side))
_TURN, _FLEX = _tensor(k.GEOMETRY.turn), _tensor(k.GEOMETRY.flex)
_LINKS = _tensor(k.LINKS_M)
_ENDS = _tensor(k.CAPSULES_M)
_END_SIDE = _tensor(k.CAPSULE_SIDE_M)
_RADII = _tensor(k.RADIUS_M)


class Posed:
    """Posed hands: what the losses ask of them.

    Args:
        motors: (B, 12) [rad].
    """

    def __init__(self, motors: torch.Tensor) -> None:
        turn, bend = motors @ _TURN.T, torch.einsum("bm,fkm->bfk", motors, _FLEX)
        cos, sin = torch.cos(turn)[..., None], torch.sin(turn)[..., None]
        self._u = cos * _ALONG + sin * _ACROSS
        self._w = _TWIST * (cos * _ACROSS - sin * _ALONG)
        self._v = _TWIST * _AXIS
        self._c, self._s = torch.cos(bend), torch.sin(bend)
        self.roots = _BASE + _OFFSET * self._u
        zero = torch.zeros_like(turn)[..., None]
        self._a = torch.cat([zero, torch.cumsum(_LINKS * self._c[..., :2], -1)], -1)
        self._b = torch.cat([zero, torch.cumsum(_LINKS * self._s[..., :2], -1)], -1)
        x, y = k.TIP_M
        c, s = self._c[..., 2:], self._s[..., 2:]
        self.tips = self._place(self._a[..., 2:] + x * c - y * s, self._b[..., 2:] + x * s + y * c, _SIDE)[:, :, 0]
        """(B, 5, 3) fingertips [m]."""

    def _place(self, a: torch.Tensor, b: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
        """(B, 5, K, 3) points from (B, 5, K) coordinates in the finger's plane."""
        u, v, w, root = (part[..., None, :] for part in (self._u, self._v, self._w, self.roots))
        return root + a[..., None] * u + b[..., None] * v - side[..., None] * w

    def capsules(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both ends (B, 5, 3, 3) of the capsule of each link [m]."""
        ends: list[torch.Tensor] = []
        for i in (0, 2):
            x, y = _ENDS[..., i], _ENDS[..., i + 1]
            ends.append(self._place(self._a + x * self._c - y * self._s, self._b + x * self._s + y * self._c, _END_SIDE[..., i // 2]))
        return ends[0], ends[1]

    def reach_dm(self) -> torch.Tensor:
        """Return the root-to-tip vectors (B, 5, 3) [dm]."""
        return (self.tips - self.roots) / DECIMETRE

    def approach_dm(self) -> torch.Tensor:
        """Return the thumb-to-fingertip vectors (B, 4, 3) [dm]."""
        return (self.tips[:, 1:] - self.tips[:, :1]) / DECIMETRE

    def gaps(self) -> torch.Tensor:
        """Return the free way (B, 3, 4, 3) [m] between each link of the thumb and each link of each finger, negative inside."""
        start, end = self.capsules()
        thumb = [part[:, 0, :, None, None, :] for part in (start, end)]
        other = [part[:, None, 1:] for part in (start, end)]
        radii = _RADII[:, None, None] + _RADII
        return segment_distance(thumb[0], thumb[1], other[0], other[1]) - radii


def segment_distance(p0: torch.Tensor, p1: torch.Tensor, q0: torch.Tensor, q1: torch.Tensor) -> torch.Tensor:
    """Return the distance between segments p and q; arguments broadcast, last axis 3.

    Ericson, Real-Time Collision Detection, 5.1.9.
    """
    d1, d2, r = p1 - p0, q1 - q0, p0 - q0
    a, e, f = (d1 * d1).sum(-1), (d2 * d2).sum(-1), (d2 * r).sum(-1)
    c, b = (d1 * r).sum(-1), (d1 * d2).sum(-1)
    s = torch.clamp((b * f - c * e) / torch.clamp(a * e - b * b, min=1e-12), 0.0, 1.0)
    t = torch.clamp((b * s + f) / e, 0.0, 1.0)
    s = torch.clamp((b * t - c) / a, 0.0, 1.0)
    way = r + s[..., None] * d1 - t[..., None] * d2
    return torch.sqrt((way * way).sum(-1) + 1e-12)
