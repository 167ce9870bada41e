"""Pose of the cube from the corners of its tags: hypotheses of single tags and of all together, the one with most agreement wins."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env.transforms import from_parts, from_rotvec, inverse, rotvec
from dexhil_env.types import F64
from real.cube.shape import CubeShape
from real.optional import require

INLIER_PX: Final = 1.2
"""A corner within this of its place agrees with a pose: a thumb on a corner moves it further."""
MAX_RMS_PX: Final = 1.0
"""Poses whose agreeing corners fit worse are not believed."""
FLIP_RAD: Final = 0.2
"""With a single tag in view two poses fit almost equally; a turn of so much since the last picture costs as much as one bad corner."""


@dataclass(frozen=True)
class CubePose:
    """Where the cube was found.

    Attributes:
        T_cam_cube: (4, 4) camera frame: x right, y down, z forward.
        rms_px: of the corners that agree [px].
        corners: how many agree.
        tags: how many tags were seen.
    """

    T_cam_cube: F64
    rms_px: float
    corners: int
    tags: int


def solve(shape: CubeShape, faces: NDArray[np.int64], points: F64, camera: F64, before: F64 | None = None) -> CubePose | None:
    """Find the pose that most corners agree on.

    Args:
        shape: the cube.
        faces: (N,) faces whose tags were seen.
        points: (N, 4, 2) their corners without lens distortion [px].
        camera: (3, 3) camera matrix.
        before: (4, 4) a recent ``T_cam_cube``, if there is one.

    Returns:
        The pose, or None when no four corners agree.
    """
    places, seen = shape.corners[faces].reshape(-1, 3), points.reshape(-1, 2)
    best, cost = None, np.inf
    for pose in _hypotheses(shape, faces, points, camera):
        if not _faces_camera(shape, faces, pose):
            continue
        price = np.minimum(_errors(pose, places, seen, camera) / INLIER_PX, 1.0) @ np.ones(len(seen))
        if before is not None and len(faces) == 1:
            price += (_angle(before, pose) / FLIP_RAD) ** 2
        if price < cost:
            best, cost = pose, float(price)
    return None if best is None else _settle(best, places, seen, camera, len(faces))


def _settle(pose: F64, places: F64, seen: F64, camera: F64, tags: int) -> CubePose | None:
    """Fit the pose to the corners that agree, twice; None when too few do."""
    cv2: Any = require("cv2", "real")
    agree = _errors(pose, places, seen, camera) < INLIER_PX
    for _ in range(2):
        if agree.sum() < 4:
            return None
        start = rotvec(pose[:3, :3])[:, None].copy(), pose[:3, 3:].copy()
        turn, shift = cv2.solvePnPRefineLM(places[agree], seen[agree], camera, None, *start)
        pose = _pose(turn, shift)
        agree = _errors(pose, places, seen, camera) < INLIER_PX
    if agree.sum() < 4:
        return None
    errors = _errors(pose, places, seen, camera)[agree]
    rms = float(np.sqrt(np.mean(errors**2)))
    if rms > MAX_RMS_PX or not np.isfinite(pose).all() or pose[2, 3] <= 0.0:
        return None
    return CubePose(pose, rms, int(agree.sum()), tags)


def _hypotheses(shape: CubeShape, faces: NDArray[np.int64], points: F64, camera: F64) -> Iterator[F64]:
    """Poses (4, 4) worth a look: one of all corners together, and both of every tag alone."""
    cv2: Any = require("cv2", "real")
    if len(faces) > 1:
        yield from _generic(shape.corners[faces].reshape(-1, 3), points.reshape(-1, 2), camera, cv2.SOLVEPNP_SQPNP)
    for face, corners in zip(faces, points, strict=True):
        for pose in _generic(shape.flat_corners, corners, camera, cv2.SOLVEPNP_IPPE):
            yield pose @ inverse(shape.faces[face])


def _generic(places: F64, seen: F64, camera: F64, flags: int) -> list[F64]:
    cv2: Any = require("cv2", "real")
    try:
        count, turns, shifts, _ = cv2.solvePnPGeneric(places, seen, camera, None, flags=flags)
    except cv2.error:  # degenerate corners, e.g. all in one line
        return []
    return [_pose(turns[i], shifts[i]) for i in range(count)]


def _pose(turn: Any, shift: Any) -> F64:
    """A pose (4, 4) from OpenCV's rotation vector and translation."""
    return from_parts(from_rotvec(np.array(turn, dtype=float).ravel()), np.array(shift, dtype=float).ravel())


def _errors(pose: F64, places: F64, seen: F64, camera: F64) -> F64:
    """Distance (N,) between corners and their projections [px]."""
    projected = (places @ pose[:3, :3].T + pose[:3, 3]) @ camera.T
    depth = np.where(projected[:, 2:] > 1e-6, projected[:, 2:], np.nan)
    return np.nan_to_num(np.linalg.norm(projected[:, :2] / depth - seen, axis=1), nan=1e6)


def _faces_camera(shape: CubeShape, faces: NDArray[np.int64], pose: F64) -> bool:
    """A tag that is seen must look towards the camera; a mirrored solution may not."""
    tags = pose @ shape.faces[faces]
    return bool((np.einsum("ni,ni->n", tags[:, :3, 2], tags[:, :3, 3]) > 0).all())


def _angle(one: F64, other: F64) -> float:
    return float(np.linalg.norm(rotvec(one[:3, :3].T @ other[:3, :3])))
