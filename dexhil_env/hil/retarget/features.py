"""What the networks see of a hand: vectors that mean the same for every person.

* ``reach`` (5, 3): root-to-tip vectors as the robot's finger should have them, f(d) r^ of eq. 1 [dm]. For the four fingers f is affine, so
  that a straight finger asks for a straight robot finger and a fist for a closed one; for the thumb it is a scale.
* ``approach`` (4, 3): thumb tip to fingertips, f(d - d0) v^ [dm]; f bends to zero at the person's own contact distance d0.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from dexhil_env.hil.retarget.keypoints import ROOTS_SLICE, TIPS_SLICE
from dexhil_env.hil.retarget.kinematics import LINKS_M, TIP_M
from dexhil_env.robot import HAND_HIGH

Float = NDArray[np.floating]
"""Single precision in the loop, double in training."""

DECIMETRE: Final = 0.1
DEAD_BAND_M: Final = 0.010
"""Softness of the contact: f(e) = scale e^2 / (e + dead band) [m]; flat at contact, so that sensor noise does not open a pinch."""
TIPS_SCALE: Final = 1.2
"""Robot over human distance of thumb tip and fingertip, far from contact; the quotient of the finger lengths of an average hand."""
NEAR_M: Final = 0.025
"""Distance over contact [m] at which the weight s of a thumb-fingertip pair falls off."""
RIVAL_M: Final = 0.005
"""Distance behind the nearest finger [m] at which s falls off too: the robot's fingertips cannot be brought together sideways as a
person's can, so that the thumb has to choose one."""
NEAR_WEIGHT: Final = 49.0
GATE_M: Final = 0.035
"""Distance above contact [m] at which the correction begins."""


class Scale(Protocol):
    """The numbers of a hand that the features need, of one person or with a leading axis of one person per frame."""

    @property
    def dmax_m(self) -> Float:
        """(..., 5) root-to-tip distance of straight fingers [m]."""
        ...

    @property
    def dmin_m(self) -> Float:
        """(..., 5) root-to-tip distance of closed fingers [m]."""
        ...

    @property
    def contact_m(self) -> Float:
        """(..., 4) distance of touching tip points [m]."""
        ...


def _length(bend: float) -> float:
    along = LINKS_M[0] + LINKS_M[1] * np.exp(1j * bend) + complex(*TIP_M) * np.exp(2j * bend)
    return float(abs(along))


REACH_MIN_M: Final = _length(float(HAND_HIGH[5]))
REACH_MAX_M: Final = _length(0.0)
"""Root-to-tip distance of the robot's finger, closed and straight [m]: 50.5 and 103.1 mm; it depends on the dip motor alone."""


def reach(keypoints: Float, scale: Scale) -> Float:
    """Return wanted root-to-tip vectors (..., 5, 3) [dm] for canonical keypoints (..., 21, 3) [m]."""
    vectors = keypoints[..., TIPS_SLICE, :] - keypoints[..., ROOTS_SLICE, :]
    distance = np.sqrt((vectors * vectors).sum(-1))
    share = (distance - scale.dmin_m) / (scale.dmax_m - scale.dmin_m)
    length = REACH_MIN_M + np.minimum(np.maximum(share, 0.0), 1.0) * (REACH_MAX_M - REACH_MIN_M)
    length[..., 0] = distance[..., 0] * (REACH_MAX_M / scale.dmax_m[..., 0])
    return vectors * (length / (DECIMETRE * np.maximum(distance, 1e-6)))[..., None]


def excess(keypoints: Float, scale: Scale) -> tuple[Float, Float]:
    """Return thumb-to-fingertip vectors (..., 4, 3) [m] and how much longer than at contact they are, (..., 4) >= 0 [m]."""
    tips = keypoints[..., TIPS_SLICE, :]
    vectors = tips[..., 1:, :] - tips[..., :1, :]
    return vectors, np.maximum(np.sqrt((vectors * vectors).sum(-1)) - scale.contact_m, 0.0)


def contact_distance(excess_m: Float) -> Float:
    """Return the robot's wanted thumb-to-fingertip distance f [m] for a person's excess over contact [m]."""
    return TIPS_SCALE * excess_m * excess_m / (excess_m + DEAD_BAND_M)


def approach(vectors: Float, excess_m: Float, scale: Scale) -> Float:
    """Return wanted thumb-to-fingertip vectors (..., 4, 3) [dm]."""
    return vectors * (contact_distance(excess_m) / (DECIMETRE * np.maximum(excess_m + scale.contact_m, 1e-6)))[..., None]


def nearness(excess_m: Float) -> Float:
    """Return s(d) of eq. 1 for thumb-fingertip pairs (..., 4): 50 at contact, 1 far away or where another finger is nearer."""
    share = excess_m * (1 / NEAR_M)
    behind = (excess_m - excess_m.min(axis=-1, keepdims=True)) * (1 / RIVAL_M)
    return 1.0 + NEAR_WEIGHT * np.exp(-share * share - behind)


def gate(excess_m: Float) -> Float:
    """Return how far each finger (..., 4) may be corrected, 0 to 1: smooth, 1 at contact, 0 from ``GATE_M`` on."""
    near = 1.0 - np.minimum(excess_m / GATE_M, 1.0)
    return near * near * (3.0 - 2.0 * near)
