"""Where pictures come from: OpenCV (UVC by index, or a network stream) and RealSense. Both libraries are imported when a camera opens."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from dexhil_env.errors import ConfigError, DeviceError, check_ranges
from dexhil_env.types import U8
from real.optional import require


@dataclass(frozen=True)
class CameraConfig:
    """One camera.

    Attributes:
        name: ``front`` or ``wrist``; stands in every text about this camera.
        kind: ``opencv`` for UVC cameras and network streams, ``realsense`` for Intel's cameras (extra ``dexhil[realsense]``).
        source: opencv: index of ``/dev/videoN``, or a URL; realsense: serial number, a recorded ``.db3`` file, or "" for the first one.
        width, height: size of the picture [px]; another size is a fault.
        fps: frames per second to ask for.
        latency_s: age of a picture at its arrival [s]; measure it, it is subtracted from the time stamp.
        stale_s: a picture older than this is a fault [s].
        frozen_frames: so many identical pictures in a row are a fault (a sensor always has noise); 0 switches it off.
        read_timeout_s: how long a picture may take before the stream is taken as gone [s].
        reconnect_s: pause between two attempts to open the camera again [s].
        connect_timeout_s: how long the first picture may take [s].
    """

    name: str
    kind: Literal["opencv", "realsense"]
    source: int | str
    width: int = 640
    height: int = 480
    fps: int = 30
    latency_s: float = 0.0
    stale_s: float = 0.15
    frozen_frames: int = 10
    read_timeout_s: float = 0.5
    reconnect_s: float = 0.5
    connect_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if self.kind not in ("opencv", "realsense"):
            raise ConfigError(f"camera {self.name!r}: kind must be 'opencv' or 'realsense'; got {self.kind!r}")
        if self.kind == "realsense" and not isinstance(self.source, str):
            raise ConfigError(f"camera {self.name!r}: a RealSense source is a serial number or a file, as text; got {self.source!r}")
        bounds = {
            "width": (16, 8192),
            "height": (16, 8192),
            "fps": (1, 240),
            "latency_s": (0.0, 1.0),
            "stale_s": (0.02, 10.0),
            "frozen_frames": (0, 1000),
            "read_timeout_s": (0.05, 10.0),
            "reconnect_s": (0.05, 60.0),
            "connect_timeout_s": (0.1, 60.0),
        }
        check_ranges(self, bounds, f"camera {self.name!r}: ")


class CameraSource(Protocol):
    """An open camera; used by one thread."""

    def read(self) -> U8 | None:
        """Wait for the next picture (H, W, 3), RGB, in fresh memory; None when the stream has ended or takes too long."""
        ...

    def close(self) -> None:
        """Give the camera back."""
        ...


def open_source(config: CameraConfig) -> CameraSource:
    """Open a camera.

    Raises:
        ConfigError: its library is missing.
        DeviceError: it cannot be opened.
    """
    return OpenCVSource(config) if config.kind == "opencv" else RealSenseSource(config)


class OpenCVSource:
    """A UVC camera through V4L2, or a network stream through FFmpeg."""

    def __init__(self, config: CameraConfig) -> None:
        self._cv2 = cv2 = require("cv2", "real")
        timeout_ms = round(config.read_timeout_s * 1e3)
        if isinstance(config.source, int):
            self._capture = cv2.VideoCapture(config.source, cv2.CAP_V4L2)
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
            self._capture.set(cv2.CAP_PROP_FPS, config.fps)
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        else:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 2000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
            self._capture = cv2.VideoCapture(config.source, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            raise DeviceError(
                f"camera {config.name!r} cannot be opened at {config.source!r}; check that it is plugged in (ls /dev/video*), "
                "that no other program uses it, or that its URL is right"
            )

    def read(self) -> U8 | None:
        """Wait for the next picture."""
        good, image = self._capture.read()
        if not good or image is None or image.ndim != 3:
            return None
        return self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Give the camera back."""
        self._capture.release()


class RealSenseSource:
    """The colour stream of a RealSense camera, live or recorded."""

    def __init__(self, config: CameraConfig) -> None:
        rs: Any = require("pyrealsense2", "realsense")
        self._timeout_ms = round(config.read_timeout_s * 1e3)
        self._pipeline, settings = rs.pipeline(), rs.config()
        source = str(config.source)
        if source.endswith(".db3"):
            rs.config.enable_device_from_file(settings, source, repeat_playback=False)
        elif source:
            settings.enable_device(source)
        settings.enable_stream(rs.stream.color, config.width, config.height, rs.format.rgb8, config.fps)
        try:
            self._pipeline.start(settings)
        except RuntimeError as error:
            raise DeviceError(f"RealSense camera {config.name!r} ({source or 'any'}) cannot be opened: {error}") from error

    def read(self) -> U8 | None:
        """Wait for the next picture."""
        try:
            frame = self._pipeline.wait_for_frames(self._timeout_ms).get_color_frame()
        except RuntimeError:
            return None
        return np.array(frame.get_data(), dtype=np.uint8) if frame else None

    def close(self) -> None:
        """Give the camera back."""
        self._pipeline.stop()
