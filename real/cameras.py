"""Cameras: one reading thread each, the newest picture with its time, and the ways in which a camera lies.

A camera that fails is opened again and again in the background; :meth:`Camera.faults` tells how it is now.
"""

import logging
import threading
import time
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dexhil_env.clock import Latest
from dexhil_env.errors import DeviceError, DeviceTimeout
from dexhil_env.types import U8
from real.camera_sources import CameraConfig, CameraSource, open_source

__all__ = ["Camera", "CameraConfig", "Frame"]

log = logging.getLogger(__name__)

_MISSES = 3
"""Reads that may fail in a row before the camera is opened anew: one spoilt picture is not the end of a stream."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture.

    Attributes:
        image: (H, W, 3) uint8, RGB, fresh memory.
        t_ns: when it was taken, ``time.monotonic_ns`` [ns].
        sequence: number of the picture since the camera was connected, from 1.
        age_s: how old it is now [s].
    """

    image: U8
    t_ns: int
    sequence: int
    age_s: float


class Camera:
    """One camera.

    Args:
        config: which one, and what counts as a fault.

    Attributes:
        reconnects: how often the stream was opened again.
    """

    def __init__(self, config: CameraConfig) -> None:
        self.config = config
        self.reconnects = 0
        self._newest: Latest[tuple[U8, int]] = Latest()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._gone, self._shape = "", ""
        self._hash, self._same, self._sequence = 0, 0, 0

    def connect(self) -> Self:
        """Open the camera and wait for its first picture.

        Raises:
            ConfigError: the camera's library is missing.
            DeviceError: the camera cannot be opened, or sends another size.
            DeviceTimeout: no picture arrives.
        """
        if self._thread is not None:
            raise DeviceError(f"camera {self.config.name!r} is connected already; close() it first")
        source = open_source(self.config)
        self._ending.clear()
        self._newest.clear()
        self._gone = self._shape = ""
        self._same = self._sequence = self.reconnects = 0
        self._thread = threading.Thread(target=self._loop, args=(source,), name=f"camera-{self.config.name}", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + self.config.connect_timeout_s
        while self._newest.get() is None:
            if time.monotonic() > deadline or self._shape:
                reason = self._shape or self._gone or "it is open, but sends nothing"
                self.close()
                kind = DeviceError if self._shape else DeviceTimeout
                raise kind(f"no picture from camera {self.config.name!r} within {self.config.connect_timeout_s} s: {reason}")
            time.sleep(0.005)
        return self

    def frame(self) -> Frame:
        """Return the newest picture, however old; see ``age_s`` and :meth:`faults`.

        Raises:
            DeviceError: not connected.
        """
        newest = self._newest.get()
        if newest is None:
            raise DeviceError(f"camera {self.config.name!r} has no picture; call connect() first")
        (image, sequence), t_ns = newest
        return Frame(image.copy(), t_ns, sequence, (time.monotonic_ns() - t_ns) * 1e-9)

    def faults(self) -> list[str]:
        """Return what is wrong with the camera now, each as ``"kind name: text"``."""
        name, found = self.config.name, list[str]()
        newest = self._newest.get()
        if newest is None:
            return [f"camera-gone {name}: {self._gone or 'it is not connected; call connect()'}"]
        age_s = (time.monotonic_ns() - newest[1]) * 1e-9
        if self._gone:
            found.append(f"camera-gone {name}: {self._gone}; trying to open it again")
        if age_s - self.config.latency_s > self.config.stale_s:
            found.append(f"camera-stale {name}: the newest picture is {age_s:.2f} s old, allowed {self.config.stale_s} s")
        if 0 < self.config.frozen_frames <= self._same:
            found.append(f"camera-frozen {name}: the same picture {self._same} times")
        if self._shape:
            found.append(f"camera-shape {name}: {self._shape}")
        return found

    def close(self) -> None:
        """End the thread; safe to call twice."""
        self._ending.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(self.config.read_timeout_s + 3.0)
        self._thread = None
        self._newest.clear()

    def __enter__(self) -> Self:
        return self if self._thread is not None else self.connect()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _loop(self, source: CameraSource | None) -> None:
        try:
            misses = 0
            while not self._ending.is_set():
                source = source or self._open_again()
                if source is None:
                    continue
                image = source.read()
                misses = 0 if image is not None else misses + 1
                if image is not None:
                    self._take(image)
                elif misses >= _MISSES:
                    source.close()
                    source, misses = None, 0
                    self._lost("the stream has ended, or takes too long")
        except Exception as error:
            self._lost(f"the reading thread ended: {error!r}")
            raise
        finally:
            if source is not None:
                source.close()

    def _open_again(self) -> CameraSource | None:
        """Wait a moment and try once; None when it did not work."""
        if self._ending.wait(self.config.reconnect_s):
            return None
        try:
            source = open_source(self.config)
        except DeviceError as error:
            self._gone = str(error)
            return None
        self.reconnects += 1
        return source

    def _lost(self, reason: str) -> None:
        if not self._gone:
            log.warning("camera %s: %s", self.config.name, reason)
        self._gone = reason

    def _take(self, image: U8) -> None:
        t_ns = time.monotonic_ns() - round(self.config.latency_s * 1e9)
        wanted = (self.config.height, self.config.width, 3)
        if image.shape != wanted:
            self._shape = f"pictures of shape {image.shape} arrive, {wanted} is configured"
            return
        self._gone = self._shape = ""
        content = zlib.crc32(image.data)
        self._same = self._same + 1 if content == self._hash and self._sequence else 1
        self._hash, self._sequence = content, self._sequence + 1
        self._newest.put((image, self._sequence), t_ns)
