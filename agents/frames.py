"""Images and state vectors on their way to the network: one resize for training and rollout, and a cache of decoded frames."""

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dexhil_env.episode import STATE_DIMS, STATE_KEYS, Episode
from dexhil_env.errors import DatasetError
from dexhil_env.types import F32, U8, Observation

STATE_OFFSETS: Final[dict[str, int]] = dict(
    zip(STATE_KEYS, np.cumsum([0, *(STATE_DIMS[key] for key in STATE_KEYS)]).tolist(), strict=False)
)
"""First column of each key in an episode's ``state``."""


def state_columns(keys: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the columns of an episode's (T, 38) state that make the network's state vector."""
    return np.concatenate([np.arange(STATE_OFFSETS[key], STATE_OFFSETS[key] + STATE_DIMS[key]) for key in keys])


def state_vector(observation: Observation, keys: tuple[str, ...]) -> F32:
    """Lay the chosen observation keys side by side as one (S,) float32 vector."""
    missing = [key for key in keys if key not in observation]
    if missing:
        raise DatasetError(f"the observation lacks {missing}; it holds {sorted(observation)}. The policy needs {list(keys)}")
    return np.concatenate([np.asarray(observation[key], dtype=np.float32).reshape(-1) for key in keys])


def resize(frames: U8, size: int) -> U8:
    """Resize (N, H, W, 3) uint8 frames to (N, size, size, 3) with antialiased bilinear sampling."""
    if frames.shape[1:3] == (size, size):
        return np.ascontiguousarray(frames)
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    small = functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return small.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def stack_frames(episode: Episode, cameras: tuple[str, ...], size: int) -> U8:
    """Return an episode's resized frames as (T, C, size, size, 3)."""
    missing = [name for name in cameras if name not in episode.images]
    if missing:
        raise DatasetError(f"the episode has no camera {missing}; it has {sorted(episode.images)}. The policy needs {list(cameras)}")
    return np.stack([resize(episode.images[name], size) for name in cameras], axis=1)


class FrameCache:
    """Resized frames of each episode, decoded once and memory-mapped afterwards."""

    def __init__(self, source: Any, cameras: tuple[str, ...], size: int, folder: Path | None = None) -> None:
        """Prepare a cache.

        Args:
            source: list of episodes or an episode store.
            cameras: camera names in token order.
            size: side of the cached frames [px].
            folder: where to keep files; None keeps frames in memory (a store defaults to ``<root>/.cache/frames``).
        """
        self.source, self.cameras, self.size = source, cameras, size
        root = getattr(source, "root", None)
        self.folder = folder or (Path(root) / ".cache" / "frames" if root is not None else None)

    def open(self, index: int, columns: Episode) -> U8:
        """Return frames (T, C, size, size, 3) of one episode; ``columns`` is the same episode, images not needed."""
        if self.folder is None:
            return self._decode(index, len(columns))
        path = self.folder / f"{fingerprint(columns)}-{'+'.join(self.cameras)}-{self.size}.npy"
        if not path.exists():
            self._write(path, self._decode(index, len(columns)))
        frames: U8 = np.load(path, mmap_mode="r", allow_pickle=False)
        return frames

    def _decode(self, index: int, length: int) -> U8:
        """Read, resize and check the frames of one episode."""
        episode = read_episode(self.source, index, images=True)
        frames = stack_frames(episode, self.cameras, self.size)
        if len(frames) != length:
            raise DatasetError(f"episode {index} has {length} rows but {len(frames)} frames; run the dataset's repair command")
        return frames

    @staticmethod
    def _write(path: Path, frames: U8) -> None:
        """Write beside and rename, so that a reader never sees half a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.save(file, frames, allow_pickle=False)
        temporary.replace(path)


def fingerprint(episode: Episode) -> str:
    """Return a checksum of what the rows say, so that a changed episode gets a new cache file."""
    rows = (episode.t_obs_ns, episode.state, episode.action)
    return hashlib.sha256(b"".join(np.ascontiguousarray(column).tobytes() for column in rows)).hexdigest()[:20]


def read_episode(source: Any, index: int, *, images: bool) -> Episode:
    """Read one episode from a list or a store, with or without images."""
    if isinstance(source, (list, tuple)):
        episode: Episode = source[index]
        return episode
    return source.read(index, images=True) if images else source.read_columns(index)
