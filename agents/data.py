"""Episodes as anchors with action chunks, ready to be batched."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.chunking import to_relative
from agents.filters import DROPPED, FilterConfig, Selection, select
from agents.frames import STATE_OFFSETS, FrameCache, read_episode, state_columns
from agents.normalize import Normalizer, VectorStats
from agents.policy import Batch
from agents.vla.config import VLAConfig
from agents.weights import FrameClass
from dexhil_env.episode import Episode
from dexhil_env.errors import DatasetError
from dexhil_env.robot import HAND
from dexhil_env.types import F32, U8

CLOSING_MIN_RAD = 0.3
"""An episode whose hand targets move less than this (Euclidean, rad) has no closing moment."""


@dataclass
class _Rows:
    """Columns of all episodes, one under the other; ``end`` and ``episode`` are per row."""

    state: F32
    action: F32
    label: NDArray[np.int64]
    anchor: NDArray[np.int64]
    segment: NDArray[np.int64]
    anchor_segment: NDArray[np.int64]
    closing: F32
    closing_valid: NDArray[np.bool_]
    end: NDArray[np.int64]
    episode: NDArray[np.int64]
    frame: NDArray[np.int64]


class ChunkDataset:
    """Anchors of all episodes with their chunks, classes and images."""

    def __init__(self, source: Any, config: VLAConfig, filters: FilterConfig | None = None, *, cache: str | Path | None = None) -> None:
        """Read the columns of every episode and decode its frames once.

        Args:
            source: list of episodes or an episode store (``len``, ``read``, ``read_columns``, ``root``).
            config: which cameras, state keys and chunk length the policy has.
            filters: what is trained on; the default rules if None.
            cache: folder of decoded frames; None: beside the store, or in memory for a list.
        """
        self.config, self.filters = config, filters or FilterConfig()
        frames = FrameCache(source, config.cameras, config.image_size, None if cache is None else Path(cache))
        self._frames: dict[int, U8] = {}
        self.tasks: list[str] = []
        parts: list[_Rows] = []
        total = 0
        for index in range(len(source)):
            episode = read_episode(source, index, images=False)
            self.tasks.append(episode.instruction)
            _check_measured(episode, config)
            part = _rows(episode, select(episode, self.filters), index, total, config)
            if (part.anchor != DROPPED).any():
                self._frames[index] = frames.open(index, episode)
                parts.append(part)
                total += len(episode)
        if not parts:
            raise DatasetError(f"no trainable frame in {len(source)} episodes; check success flags and the filter {self.filters}")
        self._rows = _Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _Rows.__dataclass_fields__})
        self.anchors = np.flatnonzero(self._rows.anchor != DROPPED)

    def __len__(self) -> int:
        """Count the trainable anchors."""
        return len(self.anchors)

    @property
    def classes(self) -> NDArray[np.int64]:
        """``FrameClass`` of each anchor (N,)."""
        return self._rows.anchor[self.anchors]

    @property
    def has_interventions(self) -> bool:
        """Whether any anchor is a human correction."""
        return bool((self.classes == FrameClass.INTERVENTION).any())

    def labels(self, picked: NDArray[np.int64]) -> tuple[F32, NDArray[np.bool_]]:
        """Return chunks (B, T, 19) of absolute targets [rad] and ``is_pad`` (B, T), True where a label does not count.

        Steps after the last label that counts repeat it.
        """
        rows, start = self._rows, self.anchors[picked]
        steps = start[:, None] + np.arange(self.config.chunk)
        inside = steps < rows.end[start][:, None]
        steps = np.minimum(steps, rows.end[start][:, None] - 1)
        wanted = rows.anchor_segment[start][:, None]
        valid = inside & (rows.label[steps] != DROPPED) & ((wanted == -1) | (rows.segment[steps] == wanted))
        last = self.config.chunk - 1 - np.argmax(valid[:, ::-1], axis=1)
        return rows.action[np.minimum(steps, (start + last)[:, None])], ~valid

    def batch(self, picked: NDArray[np.int64]) -> Batch:
        """Gather anchors (B,) into a batch that the policy's ``forward`` takes."""
        rows, start = self._rows, self.anchors[picked]
        chunk, is_pad = self.labels(picked)
        images = np.stack([self._frames[int(e)][f] for e, f in zip(rows.episode[start], rows.frame[start], strict=True)])
        batch: Batch = {f"observation.images.{name}": torch.from_numpy(images[:, i]) for i, name in enumerate(self.config.cameras)}
        return batch | {
            "observation.state": torch.from_numpy(rows.state[start]),
            "action": torch.from_numpy(chunk),
            "action_is_pad": torch.from_numpy(is_pad),
            "task": [self.tasks[int(episode)] for episode in rows.episode[start]],
            "class": torch.from_numpy(rows.anchor[start]),
            "closing": torch.from_numpy(rows.closing[start]),
            "closing_valid": torch.from_numpy(rows.closing_valid[start].astype(np.float32)),
        }

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield every anchor once, in order, e.g. for a validation loss."""
        for first in range(0, len(self), size):
            yield self.batch(np.arange(first, min(first + size, len(self))))

    def statistics(self, mode: str = "quantiles") -> Normalizer:
        """Measure states and valid chunk labels; call it once, on the warm-up data, and keep the result."""
        state = self._rows.state[self.anchors]
        chunk, is_pad = self.labels(np.arange(len(self)))
        if self.config.relative_arm:
            chunk = to_relative(chunk, self._arm_joints())
        return Normalizer(VectorStats.of(state, mode), VectorStats.of(chunk[~is_pad], mode), mode)

    def _arm_joints(self) -> F32:
        """Return the measured arm joints of all anchors (N, 7)."""
        column = self.config.state_names.index("arm_joint_pos.0")
        return self._rows.state[self.anchors][:, column : column + 7]


def _check_measured(episode: Episode, config: VLAConfig) -> None:
    """Refuse to train on what a foreign robot did not measure."""
    lacking = sorted(set(config.state_keys) & set(episode.extra.get("missing", ())))
    if lacking:
        keys = [key for key in config.state_keys if key not in lacking]
        raise DatasetError(f"an imported episode has no {lacking}, which the policy wants to see; use a preset with state_keys={keys}")


def _rows(episode: Episode, selection: Selection, index: int, offset: int, config: VLAConfig) -> _Rows:
    """Lay out one episode whose first row becomes row ``offset``; ``segment`` is unique within an episode only, ``end`` bounds it."""
    length = len(episode)
    closing, valid = closing_target(episode)
    return _Rows(
        state=episode.state[:, state_columns(config.state_keys)].astype(np.float32),
        action=episode.action.astype(np.float32),
        label=selection.label,
        anchor=selection.anchor,
        segment=selection.segment,
        anchor_segment=selection.anchor_segment,
        closing=closing,
        closing_valid=valid,
        end=np.full(length, offset + length),
        episode=np.full(length, index),
        frame=np.arange(length),
    )


def closing_target(episode: Episode) -> tuple[F32, NDArray[np.bool_]]:
    """Return the arm joints at the closing moment for every row (T, 7) [rad] and whether that moment lies ahead (T,).

    The hand closes when its targets have gone half of their greatest distance from where the episode starts; the last time counts, since
    an earlier grasp was premature or missed (a policy's, before somebody took over).
    """
    distance = np.linalg.norm(episode.action[:, HAND] - episode.action[0, HAND], axis=1)
    arm = episode.state[:, STATE_OFFSETS["arm_joint_pos"] : STATE_OFFSETS["arm_joint_pos"] + 7].astype(np.float32)
    if distance.max() < CLOSING_MIN_RAD:
        return np.zeros_like(arm), np.zeros(len(episode), dtype=bool)
    closed = distance >= distance.max() / 2
    moment = int(np.flatnonzero(closed & ~np.concatenate([[False], closed[:-1]]))[-1])
    return np.repeat(arm[moment][None], len(episode), 0), np.arange(len(episode)) <= moment
