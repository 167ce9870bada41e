"""The webcam of the person's own computer: its pictures come through the browser, the cube in them is found here."""

import io
import logging
import threading
from typing import Protocol

import numpy as np

from dexhil_env.clock import Latest
from dexhil_env.hil.live.inbox import Inbox
from dexhil_env.transforms import matrix_pose
from dexhil_env.types import F64, U8

logger = logging.getLogger(__name__)


class Sighting(Protocol):
    """The cube in a picture."""

    @property
    def T_cam_cube(self) -> F64:  # noqa: N802
        """Its pose (4, 4)."""
        ...


class Tracker(Protocol):
    """Finds the cube in a stream of pictures of one camera."""

    def track(self, image: U8, t_s: float) -> Sighting | None:
        """Return where the cube is in a picture (H, W, 3) RGB, or None when it is not seen."""
        ...


class WebcamEye:
    """Finds the cube in the pictures of a browser's webcam; a picture that comes while one is looked at replaces the one that waits."""

    def __init__(self, tracker: Tracker, inbox: Inbox) -> None:
        self._tracker, self._inbox = tracker, inbox
        self._newest: Latest[bytes] = Latest()
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._loop, name="webcam", daemon=True)
        self._thread.start()

    def see(self, picture: bytes, t_ns: int) -> None:
        """Look at this picture next."""
        self._newest.put(picture, t_ns)
        self._wake.set()

    def close(self) -> None:
        """End the thread."""
        self._ending = True
        self._wake.set()
        self._thread.join(5.0)

    def _loop(self) -> None:
        from PIL import Image, UnidentifiedImageError

        while True:
            self._wake.wait()
            self._wake.clear()
            if self._ending:
                return
            found = self._newest.get()
            if found is None:
                continue
            try:
                image = Image.open(io.BytesIO(found[0]), formats=("JPEG",))
                if max(image.size) > 1920:
                    continue
                found_cube = self._tracker.track(np.asarray(image.convert("RGB")), found[1] * 1e-9)
            except (UnidentifiedImageError, OSError) as error:
                logger.warning("console: a picture of the webcam cannot be read: %s", error)
                continue
            if found_cube is not None:
                self._inbox.put({"type": "cube", "pose": matrix_pose(found_cube.T_cam_cube).tolist()}, found[1])
