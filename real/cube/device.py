"""The cube as an input device: a camera, a thread that follows the cube, and the newest pose with its state."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np

from dexhil_env.clock import Latest
from dexhil_env.transforms import from_parts, from_rotvec, rotvec
from dexhil_env.types import F64
from real.cameras import Frame
from real.cube.tracker import CubeTracker, Sighting

log = logging.getLogger(__name__)

LOST_S: Final = 0.15
"""The person is told after so long without a pose; until then the last one holds."""
STALE_S: Final = 0.30
"""After so long the arm stops, and a new anchor is needed: it must never jump to where the cube turns up again."""
ANCHOR_S: Final = 0.17
"""An anchor is the mean over this time: five pictures at 30 Hz. One picture's error would be a constant error of the whole correction."""
_WAIT_S: Final = 0.02


class CubeState(StrEnum):
    """How well the cube is followed."""

    SEEN = "seen"
    LOST = "lost"
    STALE = "stale"


@dataclass(frozen=True)
class CubeReading:
    """The newest pose.

    Attributes:
        T_cam_cube: (4, 4) filtered pose.
        t_ns: when the picture was taken, ``time.monotonic_ns`` [ns].
        state: whether it may be used.
        tags: tags in that picture.
        rms_px: their reprojection error [px].
    """

    T_cam_cube: F64
    t_ns: int
    state: CubeState
    tags: int
    rms_px: float


class Eye(Protocol):
    """A running camera; :class:`real.cameras.Camera` is one."""

    def frame(self) -> Frame:
        """Return the newest picture."""
        ...


class CubeDevice:
    """Follows the cube on a thread of its own.

    Args:
        eye: the camera, connected.
        tracker: follows the cube.
        tell: called on the device's thread with every sighting and when its picture was taken [ns].

    Attributes:
        pictures, found: how many were looked at, and in how many the cube was found.
    """

    def __init__(self, eye: Eye, tracker: CubeTracker, tell: Callable[[Sighting, int], None] | None = None) -> None:
        self._eye, self._tracker, self._tell = eye, tracker, tell
        self._newest: Latest[Sighting] = Latest()
        self._recent: deque[Sighting] = deque(maxlen=16)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: Exception | None = None
        self.pictures = self.found = 0

    def start(self) -> Self:
        """Begin to follow."""
        self._thread = threading.Thread(target=self._loop, name="cube", daemon=True)
        self._thread.start()
        return self

    @property
    def problem(self) -> Exception | None:
        """What has ended the thread."""
        return self._problem

    def read(self, now_ns: int) -> CubeReading | None:
        """Return the newest pose and how old it makes it; None before the first.

        Raises:
            DeviceError: the camera has failed.
        """
        if self._problem is not None:
            raise self._problem
        newest = self._newest.get()
        if newest is None:
            return None
        sighting, t_ns = newest
        age_s = (now_ns - t_ns) / 1e9
        state = CubeState.SEEN if age_s <= LOST_S else CubeState.LOST if age_s <= STALE_S else CubeState.STALE
        return CubeReading(sighting.T_cam_cube, t_ns, state, sighting.raw.tags, sighting.raw.rms_px)

    def anchor(self) -> F64 | None:
        """Return the mean ``T_cam_cube`` (4, 4) of the last moment, for an anchor; None before the first pose."""
        recent = list(self._recent)
        poses = [sighting.raw.T_cam_cube for sighting in recent if recent[-1].t_s - sighting.t_s <= ANCHOR_S]
        return mean_pose(poses) if poses else None

    def look(self) -> None:
        """Look at the newest picture, if it is new."""
        frame = self._eye.frame()
        if self._newest_ns == frame.t_ns:
            return
        self._newest_ns = frame.t_ns
        self.pictures += 1
        sighting = self._tracker.track(frame.image, frame.t_ns / 1e9)
        if sighting is not None:
            self.found += 1
            self._recent.append(sighting)
            self._newest.put(sighting, frame.t_ns)
            if self._tell is not None:
                self._tell(sighting, frame.t_ns)

    _newest_ns = -1

    def _loop(self) -> None:
        while not self._ending.is_set():
            try:
                self.look()
            except Exception as error:  # noqa: BLE001  the reader is told at the next read
                log.error("the cube's camera failed: %s", error)
                self._problem = error
                return
            self._ending.wait(_WAIT_S / 4)

    def close(self) -> None:
        """Stop following; the camera stays open."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def mean_pose(poses: list[F64]) -> F64:
    """Return the mean of poses (4, 4) that lie close together."""
    first = poses[0]
    turn = np.mean([rotvec(pose[:3, :3] @ first[:3, :3].T) for pose in poses], axis=0)
    return from_parts(from_rotvec(turn) @ first[:3, :3], np.mean([pose[:3, 3] for pose in poses], axis=0))
