"""The calibration itself, without any device: corners and arm poses in, pose of the camera and how far to trust it out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from dexhil_env.errors import DeviceError
from dexhil_env.transforms import inverse, rotvec
from dexhil_env.types import F64
from real.calibrate.boards import Detection
from real.calibrate.handeye import solve_closed, tilt_spread
from real.calibrate.lens import Lens, board_pose
from real.calibrate.refine import Scene, board_scale, covariance, refine

CameraName = Literal["front", "wrist"]

MIN_VIEWS: Final = 8
MIN_TILT_RAD: Final = np.radians(8.0)
"""The hand must be turned at least so much (rms) about each of two axes, or the position along the only axis stays unknown."""
MAX_REJECTED: Final = 0.34
"""Share of the views that may contradict the others."""
MAX_ERROR_M: Final = 0.010
MAX_ERROR_RAD: Final = np.radians(1.0)
"""A result that is less certain than this (standard error) is refused."""
MAX_RMS_PX: Final = 2.0
MAX_SCALE: Final = 0.015
"""The arm measures in metres, so it notices a board that was printed too large; 1.5 % would shift a camera by about 1 cm."""
_OUTLIER_RMS = 3.0
_OUTLIER_PX = 1.5
_TRIALS = 80
_SAMPLE = 4
_CANDIDATES = 6


@dataclass(frozen=True)
class View:
    """One picture.

    Attributes:
        seen: the board in it.
        T_base_ee: (4, 4) pose of the palm when it was taken, from the arm's joints.
    """

    seen: Detection
    T_base_ee: F64


@dataclass(frozen=True)
class Solution:
    """Where a camera is.

    Attributes:
        camera: ``front`` or ``wrist``.
        pose: (4, 4) ``T_base_front`` or ``T_ee_wrist``; the camera's frame is x right, y down, z forward.
        board: (4, 4) pose of the board: ``T_base_board``, or ``T_ee_board`` where it is on the hand.
        view_rms_px: (n,) reprojection error of every view, used or not [px].
        rejected: numbers of the views that were left out.
        rms_px: reprojection error of the others [px].
        error_m, error_rad: standard error of the pose, all axes together [m], [rad]; that of the lens is part of it.
        lens_m: the lens's share of ``error_m`` [m].
    """

    camera: CameraName
    pose: F64
    board: F64
    view_rms_px: F64
    rejected: tuple[int, ...]
    rms_px: float
    error_m: float
    error_rad: float
    lens_m: float


def solve_arm(camera: CameraName, views: Sequence[View], lens: Lens) -> Solution:
    """Calibrate with an arm that shows the board (front) or looks at it (wrist) from several poses.

    Args:
        camera: ``front`` with the board on the hand, ``wrist`` with the board on the table; it must not slip meanwhile.
        views: at least ``MIN_VIEWS``.
        lens: of the camera.

    Raises:
        DeviceError: the views are too few, too much alike, or contradict each other; the text says what to do.
    """
    refuse_alike([view.T_base_ee for view in views])
    As = [inverse(view.T_base_ee) if camera == "front" else view.T_base_ee for view in views]
    scene = Scene(As, [view.seen for view in views], lens)
    eye, target = _search(scene, [board_pose(view.seen, lens) for view in views])
    kept = _agreeing(scene, eye, target)
    for _ in range(4):
        _refuse_rejected(len(kept), len(views))
        eye, target = refine(scene.subset(kept), eye, target)
        before, kept = kept, _agreeing(scene, eye, target)
        if kept == before:
            break
    refuse_alike([views[i].T_base_ee for i in kept])
    _refuse_scale(board_scale(scene.subset(kept), eye, target))
    return _judged(camera, scene, eye, target, kept)


def solve_table(seen: Sequence[Detection], lens: Lens, T_base_board: F64) -> Solution:
    """Calibrate the front camera with a board whose pose on the table is known.

    Args:
        seen: the board in one or more pictures; neither moves.
        lens: of the camera.
        T_base_board: (4, 4) where the board lies; a wrong one is not noticed.

    Raises:
        DeviceError: the board does not fit.
    """
    if not seen:
        raise DeviceError("the camera does not see the board; lay it where the camera sees all of it, and light it evenly")
    scene = Scene([np.eye(4)] * len(seen), seen, lens, fixed_target=True)
    starts = [T_base_board @ inverse(board_pose(item, lens)) for item in seen]
    start = min(starts, key=lambda eye: float(np.median(scene.view_rms(eye, T_base_board))))
    eye, _ = refine(scene, start, T_base_board)
    return _judged("front", scene, eye, T_base_board, list(range(len(seen))))


def refuse_alike(poses: Sequence[F64]) -> None:
    """Refuse palm poses (4, 4) that leave something undetermined.

    Raises:
        DeviceError: too few, or turned about one axis only.
    """
    if len(poses) < MIN_VIEWS:
        raise DeviceError(f"{len(poses)} good views are too few; {MIN_VIEWS} are needed, 15 are better")
    spread = np.degrees(tilt_spread(poses))
    if spread[1] < np.degrees(MIN_TILT_RAD):
        raise DeviceError(
            f"the hand was turned by {spread[0]:.0f} deg about one axis, but only by {spread[1]:.0f} deg about any other (rms; "
            f"{np.degrees(MIN_TILT_RAD):.0f} are needed about two): tilt the hand forwards and sideways, and turn it, 20 to 40 deg each"
        )


def _search(scene: Scene, Bs: Sequence[F64]) -> tuple[F64, F64]:
    """Least trimmed squares: closed-form solutions of samples, the best ones refined on the half of the views that they fit best.

    Views that are wrong, and boards taken for their mirror image, cannot spoil it while they are fewer than half.
    """
    rng = np.random.default_rng(0)
    count = len(Bs)
    samples: list[list[int]] = [list(range(count)), *([int(i) for i in rng.permutation(count)[:_SAMPLE]] for _ in range(_TRIALS))]
    found = [solve_closed([scene.As[i] for i in sample], [Bs[i] for i in sample]) for sample in samples]

    def error(pair: tuple[F64, F64]) -> float:
        return float(np.median(scene.view_rms(*pair)))

    found = sorted(found, key=error)[:_CANDIDATES]
    for _ in range(3):
        halves = [np.argsort(scene.view_rms(*pair))[: count // 2 + 1] for pair in found]
        found = [refine(scene.subset([int(i) for i in half]), *pair, iterations=10) for half, pair in zip(halves, found, strict=True)]
    return min(found, key=error)


def _agreeing(scene: Scene, eye: F64, target: F64) -> list[int]:
    rms = scene.view_rms(eye, target)
    limit = max(_OUTLIER_RMS * float(np.median(rms)), _OUTLIER_PX)
    return [i for i, value in enumerate(rms) if value <= limit]


def _refuse_rejected(kept: int, count: int) -> None:
    if count - kept > MAX_REJECTED * count:
        raise DeviceError(
            f"{count - kept} of {count} views contradict the others; did the board slip, or the camera? Fix both, and take the views anew"
        )


def _lens_effect(scene: Scene, eye: F64, target: F64) -> tuple[float, float]:
    """How far the camera moves when its focal length is wrong by its standard error [m], [rad]; the corners still fit."""
    lens = scene.lens
    if lens.focal_error == 0.0:
        return 0.0, 0.0
    longer = replace(lens, fx=lens.fx * (1 + lens.focal_error), fy=lens.fy * (1 + lens.focal_error))
    moved, _ = refine(replace(scene, lens=longer), eye, target)
    shift = inverse(eye) @ moved
    return float(np.linalg.norm(shift[:3, 3])), float(np.linalg.norm(rotvec(shift[:3, :3])))


def _refuse_scale(scale: float) -> None:
    if abs(scale - 1) > MAX_SCALE:
        raise DeviceError(
            f"the board seems to be {scale:.3f} times as large as it should be (allowed 1 +- {MAX_SCALE:g}): measure a row of squares and "
            "give --square-mm; if they are right, measure the lens again (--new-lens)"
        )


def _judged(camera: CameraName, scene: Scene, eye: F64, target: F64, kept: list[int]) -> Solution:
    used = scene.subset(kept)
    spread = np.diag(covariance(used, eye, target))
    lens_m, lens_rad = _lens_effect(used, eye, target)
    error_m, error_rad = float(np.sqrt(spread[:3].sum() + lens_m**2)), float(np.sqrt(spread[3:].sum() + lens_rad**2))
    rms = scene.view_rms(eye, target)
    total = float(np.sqrt(np.average(rms[kept] ** 2, weights=[len(seen) for seen in used.seen])))
    if total > MAX_RMS_PX:
        raise DeviceError(
            f"the corners fit to {total:.1f} px only (allowed {MAX_RMS_PX}); is the size of the squares right, the board flat, and "
            "the lens the one of this camera and picture size?"
        )
    if error_m > MAX_ERROR_M or error_rad > MAX_ERROR_RAD:
        raise DeviceError(
            f"these views leave the camera uncertain by {error_m * 1e3:.0f} mm and {np.degrees(error_rad):.1f} deg (allowed "
            f"{MAX_ERROR_M * 1e3:.0f} mm, {np.degrees(MAX_ERROR_RAD):.0f} deg), of which {lens_m * 1e3:.0f} mm come from the lens (better "
            "with --new-lens and more tilted boards); for the rest take more views, tilted more, with the board nearer"
        )
    rejected = tuple(i for i in range(len(rms)) if i not in kept)
    return Solution(camera, eye, target, rms, rejected, total, error_m, error_rad, lens_m)
