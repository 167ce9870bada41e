"""A camera's lens: pinhole with Brown's distortion, in plain numpy, and how it is found from pictures of a board."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dexhil_env.errors import ConfigError, DeviceError
from dexhil_env.transforms import from_parts
from dexhil_env.types import F64
from real.calibrate.boards import Detection
from real.optional import require

MIN_LENS_VIEWS: Final = 8
MAX_FOCAL_ERROR: Final = 0.01
"""A lens whose focal length is less certain than this share (standard error) is refused: 1 % is 1 cm at a distance of 1 m. Ours."""
MAX_LENS_RMS_PX: Final = 1.5
MIN_TILTED: Final = 4
MIN_TILT_RAD: Final = float(np.radians(15.0))
"""So many boards must be tilted so far against the picture's plane: only their foreshortening tells the focal length."""
FOCAL_RANGE: Final = (0.3, 6.0)
"""Focal length as a share of the picture's width; 0.3 is a fisheye, 6 a telescope. Where the pictures say nothing, fits run away."""
_OUTLIER_RMS = 3.0
"""A picture whose error is so many times the median is left out, if it is also above ``_OUTLIER_PX``."""
_OUTLIER_PX = 0.8
_TINY_DEPTH_M = 1e-6


@dataclass(frozen=True)
class Lens:
    """A pinhole camera with distortion.

    Attributes:
        width, height: size of the picture that it belongs to [px].
        fx, fy: focal lengths [px].
        cx, cy: principal point [px], the centre of the upper left pixel is (0, 0).
        distortion: Brown's k1, k2, p1, p2, k3.
        focal_error: standard error of the focal length, as a share of it.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    focal_error: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if len(self.distortion) != 5 or not np.isfinite(numbers).all() or min(self.fx, self.fy) <= 0.0:
            raise ConfigError(f"a lens has fx, fy > 0, cx, cy and the distortion k1, k2, p1, p2, k3; got {numbers}")
        if not (0 <= self.cx < self.width and 0 <= self.cy < self.height):
            raise ConfigError(
                f"the principal point ({self.cx:.0f}, {self.cy:.0f}) lies outside of the picture, {self.width} x {self.height}"
            )

    @property
    def matrix(self) -> F64:
        """(3, 3) camera matrix [px]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def fovy_square_deg(self) -> float:
        """Field of view of the centre square, up and down [deg]; the environment's pictures are that square."""
        return float(np.degrees(2 * np.arctan(min(self.width, self.height) / 2 / self.fy)))

    def project(self, points: F64) -> F64:
        """Project points (..., 3) [m] of the camera's frame (x right, y down, z forward) to pixels (..., 2); behind it: far away."""
        z = points[..., 2]
        x, y = points[..., 0] / np.maximum(z, _TINY_DEPTH_M), points[..., 1] / np.maximum(z, _TINY_DEPTH_M)
        k1, k2, p1, p2, k3 = self.distortion
        r2 = np.minimum(x * x + y * y, 25.0)  # wild poses during a search must stay finite
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return np.stack([self.fx * u + self.cx, self.fy * v + self.cy], axis=-1)


@dataclass(frozen=True)
class LensFit:
    """A lens and how good it is.

    Attributes:
        lens: the lens.
        rms_px: reprojection error [px].
        used: numbers of the pictures that were used.
    """

    lens: Lens
    rms_px: float
    used: tuple[int, ...]


def fit_lens(detections: Sequence[Detection], size: tuple[int, int]) -> LensFit:
    """Find the lens from pictures of a board in different poses.

    Args:
        detections: one per picture.
        size: width and height of the pictures [px].

    Raises:
        DeviceError: too few pictures, or they do not determine the lens; the text says what to show.
    """
    used = list(range(len(detections)))
    for _ in range(3):
        if len(used) < MIN_LENS_VIEWS:
            raise DeviceError(f"{len(used)} good pictures of the board are too few for the lens; {MIN_LENS_VIEWS} are needed, 12 are good")
        fit, errors = _fit([detections[i] for i in used], size)
        bad = errors > max(_OUTLIER_RMS * float(np.median(errors)), _OUTLIER_PX)
        if not bad.any():
            break
        used = [i for i, wrong in zip(used, bad, strict=True) if not wrong]
    else:
        raise DeviceError("the pictures of the board contradict each other; is it glued flat, and does the lens keep its focus and zoom?")
    if fit.lens.focal_error > MAX_FOCAL_ERROR:
        raise DeviceError(
            f"these pictures leave the focal length uncertain by {fit.lens.focal_error:.1%} (allowed {MAX_FOCAL_ERROR:.0%}); "
            "tilt the board by 20 to 45 deg to all sides, and let it fill the picture"
        )
    if fit.rms_px > MAX_LENS_RMS_PX:
        raise DeviceError(f"the lens fits to {fit.rms_px:.2f} px only (allowed {MAX_LENS_RMS_PX}); is the board flat, the picture sharp?")
    return LensFit(fit.lens, fit.rms_px, tuple(used))


def _fit(detections: Sequence[Detection], size: tuple[int, int]) -> tuple[LensFit, F64]:
    """Fit without judging; also the error of each picture [px]."""
    cv2: Any = require("cv2", "real")
    objects = [d.points_m.astype(np.float32) for d in detections]
    pixels = [d.points_px.astype(np.float32) for d in detections]
    try:
        rms, matrix, distortion, turns, _, spread, _, errors = cv2.calibrateCameraExtended(
            objects, pixels, size, None, None, flags=cv2.CALIB_FIX_K3
        )
    except cv2.error as error:
        raise DeviceError(f"no lens fits these pictures ({error}); tilt the board by 20 to 45 deg to all sides") from error
    fx, fy, cx, cy = float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])
    k1, k2, p1, p2, k3 = (float(value) for value in np.ravel(distortion)[:5])
    _refuse_flat([np.array(cv2.Rodrigues(turn)[0], dtype=float) for turn in turns])
    try:
        if not all(FOCAL_RANGE[0] < focal / size[0] < FOCAL_RANGE[1] for focal in (fx, fy)):
            raise ConfigError(f"a focal length of {fx:.0f} px would fit")
        lens = Lens(*size, fx, fy, cx, cy, (k1, k2, p1, p2, k3), float(np.ravel(spread)[:2].max() / min(fx, fy)))
    except ConfigError as error:
        raise DeviceError(f"these pictures do not determine the lens: {error}; tilt the board by 20 to 45 deg to all sides") from error
    return LensFit(lens, float(rms), ()), np.array(errors, dtype=float).ravel()


def _refuse_flat(turns: Sequence[F64]) -> None:
    """Refuse pictures in which too few boards are tilted, given their rotations (3, 3)."""
    tilted = sum(float(abs(turn[2, 2])) < np.cos(MIN_TILT_RAD) for turn in turns)
    if tilted < MIN_TILTED:
        raise DeviceError(
            f"the board is tilted in {tilted} of {len(turns)} pictures only ({MIN_TILTED} are needed), which does not tell the focal "
            "length; tilt the board by 20 to 45 deg to all sides"
        )


def board_pose(detection: Detection, lens: Lens) -> F64:
    """``T_camera_board`` (4, 4) of one picture; a small board may be taken for its mirror image, see :mod:`real.calibrate.solve`."""
    cv2: Any = require("cv2", "real")
    arguments = (detection.points_m, detection.points_px, lens.matrix, np.array(lens.distortion))
    _, turn, shift, _ = cv2.solvePnPGeneric(*arguments, flags=cv2.SOLVEPNP_IPPE)
    turn, shift = cv2.solvePnPRefineLM(*arguments, turn[0], shift[0])
    return from_parts(np.array(cv2.Rodrigues(turn)[0]), np.array(shift, dtype=float).ravel())
