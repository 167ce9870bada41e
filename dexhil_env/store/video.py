"""Video files: encode and decode whole episodes, join without re-encoding."""

# PyAV types its streams and packets only in part.
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import DatasetError
from dexhil_env.store.files import write_whole

CODEC = "libx264"
OPTIONS = {"preset": "ultrafast", "crf": "18", "g": "2", "bf": "0"}
"""Of recordings: fast, near lossless, a key frame every second frame (LeRobot's habit), no reordered frames (so packets can be copied)."""


def video_info(height: int, width: int, fps: int) -> dict[str, object]:
    """Return the ``info`` block of a video feature in ``meta/info.json``."""
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
        "is_depth_map": False,
    }


def encode(path: Path, frames: NDArray[np.uint8], fps: int, options: Mapping[str, str] = MappingProxyType(OPTIONS)) -> None:
    """Write (T, H, W, 3) frames as one closed H.264 video file; ``options`` go to the encoder.

    Raises:
        DatasetError: odd height or width (the pixel format halves the colour resolution).
    """
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise DatasetError(f"recorded images must have even height and width; got {height} x {width}. Choose another image_size")

    def write(temporary: Path) -> None:
        with av.open(str(temporary), "w", format="mp4") as container:
            stream = container.add_stream(CODEC, rate=fps, options=dict(options))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = Fraction(1, fps)
            stream.codec_context.thread_count = 1
            for index, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    write_whole(path, write)


def decode(path: Path, start: int, count: int) -> NDArray[np.uint8]:
    """Read frames ``start`` to ``start + count`` of a video, (count, H, W, 3).

    Raises:
        DatasetError: the file is missing, broken or too short.
    """
    frames: list[NDArray[np.uint8]] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for index, frame in enumerate(container.decode(stream)):
                if index >= start + count:
                    break
                if index >= start:
                    frames.append(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise DatasetError(f"cannot read the video {path}: {error}; run `dexhil dataset repair`") from error
    if len(frames) != count:
        raise DatasetError(f"the video {path} holds {len(frames)} of {count} frames from frame {start}; run `dexhil dataset repair`")
    return np.stack(frames)


def join(path: Path, parts: Sequence[tuple[Path, int, int]], fps: int) -> None:
    """Write one video from ``(file, first frame, number of frames)`` parts by copying packets; no generation loss.

    The first frame of every part must be a key frame; the first frame of an episode always is.
    """

    def write(temporary: Path) -> None:
        with av.open(str(temporary), "w", format="mp4") as target:
            stream: av.VideoStream | None = None
            count = 0
            for source_path, start, length in parts:
                with av.open(str(source_path)) as source:
                    template = source.streams.video[0]
                    stream = stream or target.add_stream_from_template(template)
                    packets = [packet for packet in source.demux(template) if packet.size][start : start + length]
                    if len(packets) != length or not packets[0].is_keyframe:
                        raise DatasetError(f"{source_path} has no whole episode at frame {start}; run `dexhil dataset check`")
                    for packet in packets:
                        packet.stream = stream
                        packet.time_base = Fraction(1, fps)
                        packet.pts = packet.dts = count
                        packet.duration = 1
                        target.mux(packet)
                        count += 1

    write_whole(path, write)
