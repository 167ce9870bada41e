"""A film of the cube in the place of a camera: for rehearsals, tests, and a second look at a recording."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.types import U8
from real.cameras import Frame
from real.optional import require


class FilmEye:
    """Plays a video file at its own rate from the first look on, and begins again at its end. One thread looks.

    Args:
        path: anything that OpenCV reads.

    Raises:
        ConfigError: OpenCV is missing, or the file is no film.
    """

    def __init__(self, path: str | Path) -> None:
        self._cv2: Any = require("cv2", "real")
        self._path = str(path)
        self._open()
        self._period_s = 1.0 / (self._film.get(self._cv2.CAP_PROP_FPS) or 30.0)
        self._begun_ns: int | None = None
        self._number = -1
        self._image: U8 = np.zeros((1, 1, 3), np.uint8)

    def _open(self) -> None:
        self._film = self._cv2.VideoCapture(self._path)
        if not self._film.isOpened():
            raise ConfigError(f"{self._path} is no film that OpenCV can read")

    def frame(self) -> Frame:
        """Return the picture that is due now."""
        now_ns = time.monotonic_ns()
        self._begun_ns = now_ns if self._begun_ns is None else self._begun_ns
        due = int((now_ns - self._begun_ns) * 1e-9 / self._period_s)
        while self._number < due:
            self._number += 1
            if not self._film.grab():
                self._film.release()
                self._open()
                if not self._film.grab():
                    raise ConfigError(f"{self._path} has no pictures")
            if self._number == due:
                self._image = self._cv2.cvtColor(self._film.retrieve()[1], self._cv2.COLOR_BGR2RGB)
        t_ns = self._begun_ns + round(self._number * self._period_s * 1e9)
        return Frame(self._image, t_ns, self._number + 1, (now_ns - t_ns) * 1e-9)

    def close(self) -> None:
        """Close the file."""
        self._film.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
