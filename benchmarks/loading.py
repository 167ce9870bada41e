"""A random training sample: from the cache of decoded frames, against decoding it from the videos of a dataset."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from agents.cli.demo import SHIPPED
from agents.data import ChunkDataset
from agents.frames import resize
from agents.vla.config import preset
from benchmarks.result import Result, cpu_s
from dexhil_env.store import EpisodeStore
from dexhil_env.types import U8

BATCH, BATCHES = 32, 40


class VideoFrames:
    """Frames of one episode, decoded when they are asked for: the files stay open, and a frame is sought from the nearest key frame.

    Args:
        store: the dataset.
        index: episode.
        cameras: in the order of the network.
        size: side of the network's images [px].
    """

    def __init__(self, store: EpisodeStore, index: int, cameras: tuple[str, ...], size: int) -> None:
        self._files: list[tuple[Any, int]] = []
        for camera in cameras:
            container = av.open(str(store.path_of(index, camera)))
            container.streams.video[0].codec_context.thread_count = 1
            self._files.append((container, store.first_frame(index, camera)))
        self._size = size

    def __getitem__(self, frame: int) -> U8:
        """Return what the cameras saw, (C, size, size, 3)."""
        return np.concatenate([resize(self._decode(file, first + int(frame))[None], self._size) for file, first in self._files])

    @staticmethod
    def _decode(container: Any, wanted: int) -> U8:
        stream = container.streams.video[0]
        per_frame = 1 / (stream.average_rate * stream.time_base)
        container.seek(round(wanted * per_frame), stream=stream)
        for frame in container.decode(stream):
            if round(frame.pts / per_frame) == wanted:
                return frame.to_ndarray(format="rgb24")  # type: ignore[no-any-return]
        raise LookupError(f"the video has no frame {wanted}")


def per_sample_ms(dataset: ChunkDataset, picks: list[NDArray[np.int64]]) -> float:
    """CPU time of a sample in random batches [ms]."""
    dataset.batch(picks[0])
    return 1e3 * cpu_s(lambda: [dataset.batch(picked) for picked in picks]) / (len(picks) * len(picks[0]))


def measure() -> list[Result]:
    """Measure it all."""
    config, store = preset("tiny"), EpisodeStore.open(SHIPPED / "data")
    with tempfile.TemporaryDirectory() as folder:
        cached = ChunkDataset(store, config, cache=Path(folder))
        decoded = copy.copy(cached)
        decoded._frames = {index: VideoFrames(store, index, config.cameras, config.image_size) for index in cached._frames}  # type: ignore[dict-item]
        rng = np.random.default_rng(0)
        picks = [rng.integers(0, len(cached), BATCH) for _ in range(BATCHES)]
        same = all(np.array_equal(a, b) for a, b in zip(cached.batch(picks[0]).values(), decoded.batch(picks[0]).values(), strict=True))
        if not same:
            raise AssertionError("the cache and the video differ")
        ours, theirs = per_sample_ms(cached, picks), per_sample_ms(decoded, picks)
    how = f"batches of {BATCH}, {len(config.cameras)} cameras, CPU time"
    return [
        Result("training sample from the frame cache", ours, "ms", note=how),
        Result("training sample decoded from its videos", theirs, "ms", note=f"open files, key frame every second frame; {how}"),
        Result("frame cache against videos", theirs / ours, "x", at_least=10.0, note="same samples, equal pixels, same run"),
    ]
