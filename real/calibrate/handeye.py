"""Hand-eye calibration in closed form: ``A_i X B_i = Z`` for all views i.

| camera | A_i | X (wanted) | B_i | Z (found as well) |
| --- | --- | --- | --- | --- |
| front, board on the hand | ``T_ee_base`` | ``T_base_front`` | ``T_front_board`` | ``T_ee_board`` |
| wrist, board on the table | ``T_base_ee`` | ``T_ee_wrist`` | ``T_wrist_board`` | ``T_base_board`` |
"""

from collections.abc import Sequence

import numpy as np

from dexhil_env.transforms import from_parts, inverse, rotvec
from dexhil_env.types import F64


def solve_closed(As: Sequence[F64], Bs: Sequence[F64]) -> tuple[F64, F64]:
    """Least-squares X and Z (4, 4): rotations linearly (the null vector of a Kronecker system), then positions.

    Args:
        As: (4, 4) each, known from the arm.
        Bs: (4, 4) each, seen by the camera.
    """
    rows = [np.hstack([np.kron(A[:3, :3], B[:3, :3].T), -np.eye(9)]) for A, B in zip(As, Bs, strict=True)]
    null = np.linalg.svd(np.vstack(rows))[2][-1]
    sign = np.sign(np.linalg.det(null[:9].reshape(3, 3))) or 1.0
    R_X, R_Z = (nearest_rotation(sign * part.reshape(3, 3)) for part in (null[:9], null[9:]))
    left = np.vstack([np.hstack([A[:3, :3], -np.eye(3)]) for A in As])
    right = np.concatenate([-A[:3, 3] - A[:3, :3] @ R_X @ B[:3, 3] for A, B in zip(As, Bs, strict=True)])
    shift: F64 = np.linalg.lstsq(left, right, rcond=None)[0].astype(float)
    return from_parts(R_X, shift[:3]), from_parts(R_Z, shift[3:])


def nearest_rotation(matrix: F64) -> F64:
    """Rotation (3, 3) nearest to ``matrix`` (3, 3)."""
    u, _, v = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v


def tilt_spread(poses: Sequence[F64]) -> F64:
    """How far poses (4, 4) are turned against each other: rms angle (3,) [rad] about their principal axes, largest first."""
    mean = nearest_rotation(np.mean([pose[:3, :3] for pose in poses], axis=0))
    turns = np.array([rotvec((inverse(from_parts(mean, np.zeros(3))) @ pose)[:3, :3]) for pose in poses])
    return np.linalg.svd(turns - turns.mean(axis=0), compute_uv=False) / np.sqrt(len(poses))
