"""Follows the cube from picture to picture."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.types import F64, U8
from real.calibrate.lens import Lens
from real.cube.corners import refine
from real.cube.one_euro import OneEuroConfig, PoseFilter
from real.cube.pose import CubePose, solve
from real.cube.shape import CubeShape, detector
from real.optional import require

RECENT_S: Final = 0.3
"""A pose older than this says nothing about the next one."""
WINDOW: Final = 1.6
"""The cube is looked for in a window of so many times its size around where it was last, and then everywhere."""
TYPICAL_FOCAL: Final = 0.9
"""Focal length of a laptop's or USB camera as a share of the picture's width; a wrong one only stretches the depth."""


def typical_lens(width: int, height: int) -> Lens:
    """The lens that is assumed of a camera nobody has calibrated."""
    focal = TYPICAL_FOCAL * width
    return Lens(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


@dataclass(frozen=True)
class Sighting:
    """The cube in a picture.

    Attributes:
        t_s: time of the picture [s].
        raw: as it was found.
        T_cam_cube: (4, 4) after the filter.
    """

    t_s: float
    raw: CubePose
    T_cam_cube: F64


class CubeTracker:
    """Finds the cube in a stream of pictures of one camera.

    Args:
        lens: of the camera; by default a typical one for the size of the first picture.
        shape: the cube.
        smoothing: of the poses.
    """

    def __init__(self, lens: Lens | None = None, shape: CubeShape | None = None, smoothing: OneEuroConfig | None = None) -> None:
        self.lens, self.shape = lens, shape or CubeShape()
        self._calibrated = lens is not None
        self._filter = PoseFilter(smoothing)
        self._last: Sighting | None = None

    def reset(self) -> None:
        """Forget where the cube was."""
        self._last = None
        self._filter.reset()

    def track(self, image: U8, t_s: float) -> Sighting | None:
        """Find the cube.

        Args:
            image: (H, W) grey or (H, W, 3) RGB.
            t_s: when it was taken [s].

        Returns:
            Where it is, or None when it is not seen well enough.

        Raises:
            ConfigError: the picture has another size than the calibrated lens.
        """
        cv2: Any = require("cv2", "real")
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        self._fit_lens(*grey.shape)
        recent = self._last if self._last is not None and 0.0 <= t_s - self._last.t_s <= RECENT_S else None
        if recent is None:
            self._filter.reset()
        found = self._look(grey, recent, windowed=recent is not None)
        if found is None and recent is not None:
            found = self._look(grey, recent, windowed=False)
        if found is None:
            return None
        self._last = Sighting(t_s, found, self._filter(t_s, found.T_cam_cube))
        return self._last

    def _fit_lens(self, height: int, width: int) -> None:
        if self.lens is not None and (self.lens.height, self.lens.width) == (height, width):
            return
        if self._calibrated and self.lens is not None:
            size = f"{self.lens.width} x {self.lens.height}"
            raise ConfigError(f"the lens was calibrated at {size} px; got a picture of {width} x {height}: set the camera to that size")
        self.lens = typical_lens(width, height)
        self.reset()

    def _look(self, grey: U8, recent: Sighting | None, *, windowed: bool) -> CubePose | None:
        cv2: Any = require("cv2", "real")
        assert self.lens is not None
        before = None if recent is None else recent.raw.T_cam_cube
        top, left, bottom, right = _window(before, self.lens, self.shape) if windowed and before is not None else (0, 0, *grey.shape)
        if bottom - top < 16 or right - left < 16:
            return None
        quads, ids, _ = detector().detectMarkers(np.ascontiguousarray(grey[top:bottom, left:right]))
        if ids is None or len(quads) == 0:
            return None
        corners = np.array(quads, dtype=float).reshape(-1, 4, 2) + np.array([left, top])
        camera = self.lens.matrix
        flat = cv2.undistortPoints(refine(grey, corners).reshape(-1, 1, 2), camera, np.array(self.lens.distortion), P=camera)
        return solve(self.shape, np.ravel(ids).astype(np.int64), np.asarray(flat).reshape(-1, 4, 2), camera, before)


def _window(T_cam_cube: F64, lens: Lens, shape: CubeShape) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of where the cube may be [px]."""
    centre = lens.matrix @ T_cam_cube[:3, 3]
    half = WINDOW * 0.87 * shape.edge_m * lens.fx / T_cam_cube[2, 3]  # 0.87: half of a unit cube's diagonal
    column, row = centre[:2] / centre[2]
    bounds = (row - half, column - half, row + half, column + half)
    low, high = (0, 0, 0, 0), (lens.height, lens.width, lens.height, lens.width)
    top, left, bottom, right = (int(np.clip(round(value), a, b)) for value, a, b in zip(bounds, low, high, strict=True))
    return top, left, bottom, right
