"""A foreign dataset becomes one of ours, episode by episode."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from dexhil_env.episode import STATE_DIMS, STATE_KEYS, Episode
from dexhil_env.errors import DatasetError
from dexhil_env.store.interop.column_map import ColumnMap
from dexhil_env.store.interop.foreign import ForeignDataset, ForeignEpisode
from dexhil_env.store.interop.labels import read_labels
from dexhil_env.store.store import EpisodeStore
from dexhil_env.types import U8, Source


def import_dataset(source: Path, column_map: ColumnMap, out: Path, bar: Callable[[Iterable[int]], Iterable[int]] = iter) -> EpisodeStore:
    """Read every episode of ``source`` and append those that ``out`` does not hold yet; an interrupted import goes on.

    Raises:
        DatasetError: columns are missing, or an episode is damaged.
    """
    foreign, store = ForeignDataset(source), EpisodeStore(out)
    known = {store.facts(i).get("foreign_episode") for i in range(len(store)) if store.facts(i).get("foreign") == str(source.name)}
    for index in bar(range(len(foreign))):
        item = foreign.episodes[index]
        if item.index not in known:
            store.append(read_episode(foreign, item, column_map))
    return store


def read_episode(foreign: ForeignDataset, item: ForeignEpisode, column_map: ColumnMap) -> Episode:
    """Translate one episode."""
    table = foreign.table(item)
    rows = _rows(item.length, foreign.fps, column_map.fps)
    parts = {key: np.zeros((item.length, STATE_DIMS[key]), np.float32) for key in STATE_KEYS}
    for key, pick in column_map.state.items():
        parts[key] = pick.of(foreign.column(table, pick.column))
        if parts[key].shape[1] != STATE_DIMS[key]:
            raise DatasetError(f"{key} has {STATE_DIMS[key]} elements; {pick.column!r} gives {parts[key].shape[1]}: name the right indices")
    joints = np.concatenate([parts["arm_joint_pos"], parts["hand_motor_pos"]], axis=1)
    action = column_map.action.of(foreign.column(table, column_map.action.column), joints if column_map.action.indices else None)[rows]
    human, demonstration = np.ones(item.length, bool), True
    if column_map.intervention:
        human, demonstration = read_labels(foreign.column(table, column_map.intervention), column_map.style)
    won = np.zeros(item.length, bool)
    won[-1] = True
    if column_map.success:
        won = foreign.column(table, column_map.success)[:, 0].astype(bool)
    success = np.logical_or.accumulate(won)[rows]
    human, length = human[rows], len(rows)
    last = np.arange(length) == length - 1
    starts = human & ~np.concatenate([[False], human[:-1]])
    stamps = np.round(rows / foreign.fps * 1e9).astype(np.int64)
    zeros = np.zeros(length, np.int64)
    return Episode(
        instruction=column_map.instruction or item.instruction, task=column_map.task, fps=column_map.fps or round(foreign.fps),
        state=np.concatenate([parts[key] for key in STATE_KEYS], axis=1)[rows],
        images={name: _square(foreign.frames(item, key, table)[rows], column_map.image_size) for name, key in column_map.images.items()},
        action=action, policy_action=action.copy(), intervention=human, intervention_source=np.where(human, Source.BOTH, Source.POLICY),
        intervention_id=np.where(human, np.cumsum(starts), 0), handover=np.zeros(length, bool),
        reward=(success & last).astype(np.float32), done=last, truncated=last & ~success, success=success & last,
        t_obs_ns=stamps, t_arm_ns=zeros, t_hand_ns=zeros, round=0 if demonstration and not column_map.round else max(column_map.round, 1),
        extra={"foreign": foreign.root.name, "foreign_episode": item.index, "missing": column_map.missing},
    )  # fmt: skip


def _rows(length: int, theirs: float, ours: int) -> np.ndarray:
    """Which of their rows to take for our rate."""
    if not ours or ours == theirs:
        return np.arange(length)
    return np.minimum(np.round(np.arange(int(length * ours / theirs)) * theirs / ours).astype(int), length - 1)


def _square(frames: U8, size: int) -> U8:
    """Cut the middle square and scale it by averaging."""
    side = min(frames.shape[1:3])
    top, left = (frames.shape[1] - side) // 2, (frames.shape[2] - side) // 2
    cut = frames[:, top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(cut)
    return np.stack([np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BOX)) for frame in cut])
