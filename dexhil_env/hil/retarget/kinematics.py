"""Kinematics of the DexHand021 in closed form: 12 motors -> fingertips, roots and the capsules of the fingers.

Every finger is the same planar chain (three flexion joints with parallel axes) behind one joint that turns the plane: the spread joint
of a finger, the rotation joint of the thumb. So a point of a link is a sum of sines and cosines, turned once. Numbers are those of
``assets/dexhand021/right_hand.xml``; a test compares with MuJoCo. Frame: ``right_hand_base`` (+z to the fingertips, +x out of the palm,
+y to the index finger). Finger order everywhere: thumb, index, middle, ring, little.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env import robot
from dexhil_env.transforms import quat_matrix
from dexhil_env.types import F64

FINGERS: Final = ("thumb", "index", "middle", "ring", "little")
LINKS_M: Final = (0.043, 0.025)
"""Lengths of the proximal and the middle link [m]; the same for all five fingers."""
TIP_M: Final = (0.035, -0.004)
"""Fingertip in the plane of the distal link: along the link and away from the pad [m] (sites ``tip_1`` to ``tip_5``)."""
RADIUS_M: Final = (0.0095, 0.0078, 0.0095)
"""Radii of the capsules of the proximal, middle and distal link [m]."""
FLEXION_MAX_RAD: Final = float(robot.HAND_HIGH[4] + 2 * robot.HAND_HIGH[5])
"""Total flexion of a finger at its limits [rad]: 223 degrees."""

_BASE_M: Final[F64] = np.array([
    [0.032783, 0.023781, 0.11211], [0.006966, 0.034912, 0.1644], [0.006966, 0.010612, 0.1734],
    [0.006966, -0.013688, 0.1644], [0.006966, -0.037988, 0.1504],
])  # fmt: skip
_BASE_QUAT: Final[F64] = np.array([
    [0.151551, -0.775385, -0.612635, 0.0221215], [0.707105, 0, -0.707108, 0], [0.707105, 0, -0.707108, 0],
    [-2.59734e-06, 0.707105, 2.59735e-06, 0.707108], [-2.59734e-06, 0.707105, 2.59735e-06, 0.707108],
])  # fmt: skip
_OFFSET_M: Final[F64] = np.array([0.0083307, 0.017, 0.017, 0.017, 0.017])
_TWIST: Final[F64] = np.array([-1.0, -1.0, -1.0, 1.0, 1.0])
"""Sense of the quarter turn about x between the first joint and the flexion joints."""
_SIDE_M: Final[F64] = np.array([-0.001, 0.0, 0.0, 0.0, 0.0])
"""Offset of the thumb's fingertip out of its plane [m]."""
CAPSULES_M: Final[F64] = np.array([
    [[0.000, 0.0, 0.034, 0.0], [0.004, 0.0, 0.020, 0.0], [0.0, 0.0, 0.027, -0.007]],
    *[[[0.005, 0.0, 0.036, 0.000], [0.004, 0.0, 0.020, 0.0], [0.0, 0.0, 0.026, -0.007]]] * 4,
])  # fmt: skip
"""(5, 3, 4) ends (u1, v1, u2, v2) of each link's capsule in the plane of that link [m]."""
CAPSULE_SIDE_M: Final[F64] = np.zeros((5, 3, 2))
CAPSULE_SIDE_M[0] = [[0.0, -0.002], [-0.0013, -0.0013], [-0.001, -0.001]]
PALM_M: Final[F64] = np.array([[[-0.0022, y, 0.087], [-0.0022, y, 0.14]] for y in (-0.026, 0.0, 0.026)])
"""(3, 2, 3) ends of the palm's capsules [m]."""
PALM_RADIUS_M: Final = 0.0273


@dataclass(frozen=True)
class Geometry:
    """Constant arrays of the chain, ready for numpy or torch.

    Attributes:
        base: (5, 3) position of each finger's first joint [m].
        along, across, axis: (5, 3) directions at zero angle of the finger, sideways in the plane that the first joint turns, and of
            the first joint's axis.
        twist: (5,) +1 or -1: sense of the flexion.
        offset: (5,) way from the first joint to the flexion joint [m].
        side: (5,) offset of the fingertip out of the plane [m].
        turn: (5, 12) motors -> first joint of each finger.
        flex: (5, 3, 12) motors -> angle of each link against the finger's straight pose (sum of the flexions up to it).
    """

    base: F64
    along: F64
    across: F64
    axis: F64
    twist: F64
    offset: F64
    side: F64
    turn: F64
    flex: F64


def _geometry() -> Geometry:
    frames = np.stack([quat_matrix(quat / np.linalg.norm(quat)) for quat in _BASE_QUAT])
    coupling = robot.coupling_matrix()

    def row(joint: str) -> F64:
        return coupling[robot.HAND_JOINTS.index(joint)] if joint in robot.HAND_JOINTS else np.zeros(12)

    joints = np.stack([[row(f"r_f_joint{finger}_{joint}") for joint in range(1, 5)] for finger in range(1, 6)])
    return Geometry(
        base=_BASE_M, along=frames[:, :, 0], across=frames[:, :, 1], axis=frames[:, :, 2], twist=_TWIST, offset=_OFFSET_M, side=_SIDE_M,
        turn=joints[:, 0], flex=np.cumsum(joints[:, 1:], axis=1),
    )  # fmt: skip


GEOMETRY: Final = _geometry()


@dataclass(frozen=True)
class HandPoints:
    """Points of posed hands in the frame ``right_hand_base``; leading axes are those of the motors.

    Attributes:
        roots: (..., 5, 3) flexion joint nearest to the palm [m].
        tips: (..., 5, 3) fingertips [m].
        capsules: (..., 5, 3, 2, 3) ends of the capsule of each link [m].
    """

    roots: F64
    tips: F64
    capsules: F64


def forward(motors: F64) -> HandPoints:
    """Return the points of the hand at ``motors`` (..., 12) [rad]."""
    g = GEOMETRY
    turn, bend = motors @ g.turn.T, np.einsum("...m,fkm->...fk", motors, g.flex)
    cos, sin = np.cos(turn)[..., None], np.sin(turn)[..., None]
    u = cos * g.along + sin * g.across
    w = g.twist[:, None] * (cos * g.across - sin * g.along)  # out of the plane of flexion
    v = g.twist[:, None] * g.axis  # the way a straight finger's tip moves when it flexes
    roots = g.base + g.offset[:, None] * u
    c, s = np.cos(bend), np.sin(bend)

    def place(a: F64, b: F64, side: F64) -> F64:
        return roots + a[..., None] * u + b[..., None] * v - side[:, None] * w

    joint_a = np.stack([np.zeros_like(c[..., 0]), LINKS_M[0] * c[..., 0], LINKS_M[0] * c[..., 0] + LINKS_M[1] * c[..., 1]], -1)
    joint_b = np.stack([np.zeros_like(c[..., 0]), LINKS_M[0] * s[..., 0], LINKS_M[0] * s[..., 0] + LINKS_M[1] * s[..., 1]], -1)
    x, y = TIP_M
    tips = place(joint_a[..., 2] + x * c[..., 2] - y * s[..., 2], joint_b[..., 2] + x * s[..., 2] + y * c[..., 2], g.side)
    ends = [
        [
            place(
                joint_a[..., k] + CAPSULES_M[:, k, i] * c[..., k] - CAPSULES_M[:, k, i + 1] * s[..., k],
                joint_b[..., k] + CAPSULES_M[:, k, i] * s[..., k] + CAPSULES_M[:, k, i + 1] * c[..., k],
                CAPSULE_SIDE_M[:, k, i // 2],
            )
            for i in (0, 2)
        ]
        for k in range(3)
    ]
    capsules = np.stack([np.stack(pair, -2) for pair in ends], -3)
    return HandPoints(roots, tips, capsules)


_ALONG: Final[F64] = np.array([0.0, *LINKS_M, TIP_M[0]])
_ANGLES: Final = tuple(
    np.concatenate([GEOMETRY.turn[:n, None], GEOMETRY.flex[:n]], axis=1).reshape(4 * n, 12).T.astype(np.float32) for n in range(6)
)
"""Motors -> turn and bends of the first n fingers, (12, 4 n)."""
_FLEX_AXIS: Final[F64] = GEOMETRY.twist[:, None] * GEOMETRY.axis
_SIDE: Final[F64] = (GEOMETRY.side * GEOMETRY.twist)[:, None]


def tips(motors: NDArray[np.floating], fingers: int = 5) -> F64:
    """Return the tips (B, fingers, 3) [m] of the first fingers for ``motors`` (B, 12) [rad]: less than ``forward``, for the 90 Hz loop."""
    n = fingers
    angles = (motors @ _ANGLES[n]).reshape(-1, n, 4)
    cos, sin = np.cos(angles), np.sin(angles)
    a = (cos @ _ALONG - TIP_M[1] * sin[..., 3] + GEOMETRY.offset[:n])[..., None]
    b = (sin @ _ALONG + TIP_M[1] * cos[..., 3])[..., None]
    cos, sin = cos[..., :1], sin[..., :1]
    side = _SIDE[:n]
    return (
        GEOMETRY.base[:n] + (a * cos + side * sin) * GEOMETRY.along[:n] + (a * sin - side * cos) * GEOMETRY.across[:n] + b * _FLEX_AXIS[:n]
    )
