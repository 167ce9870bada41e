"""A video of what the camera sees, with the cube's axes drawn in."""

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

import imageio.v2 as imageio
import numpy as np

from dexhil_env.types import U8
from real.calibrate.lens import Lens
from real.cameras import Frame
from real.cube.device import CubeReading, CubeState
from real.cube.tracker import CubeTracker
from real.optional import require

AXES: Final = ((230, 60, 60), (60, 200, 80), (70, 110, 255))
"""Colours of x, y and z."""


def draw(image: U8, lens: Lens, T_cam_cube: np.ndarray, length_m: float = 0.05) -> U8:
    """Return a copy of a picture (H, W, 3) with the axes of a cube at ``T_cam_cube`` (4, 4)."""
    cv2: Any = require("cv2", "real")
    picture = np.ascontiguousarray(image).copy()
    ends = np.vstack([np.zeros(3), length_m * np.eye(3)]) @ T_cam_cube[:3, :3].T + T_cam_cube[:3, 3]
    origin, *tips = (tuple(int(v) for v in np.rint(place)) for place in lens.project(ends))
    for tip, colour in zip(tips, AXES, strict=True):
        cv2.arrowedLine(picture, origin, tip, colour, 2, cv2.LINE_AA, tipLength=0.2)
    return picture


class Film:
    """Writes the video; without a file it does nothing."""

    def __init__(self, path: Path | None, tracker: CubeTracker, fps: float = 30.0) -> None:
        self._path, self._tracker, self._fps = path, tracker, fps
        self._writer: Any = None

    def add(self, frame: Frame, reading: CubeReading | None) -> None:
        """Append a picture."""
        if self._path is None or self._tracker.lens is None:
            return
        if self._writer is None:
            self._writer = cast("Any", imageio).get_writer(self._path, fps=self._fps)
        seen = reading is not None and reading.state is CubeState.SEEN
        self._writer.append_data(draw(frame.image, self._tracker.lens, reading.T_cam_cube) if seen and reading else frame.image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()
