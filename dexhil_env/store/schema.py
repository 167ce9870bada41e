"""Columns, features and statistics of a dataset: one place that says what is written and what is read back."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dexhil_env import robot
from dexhil_env.episode import Episode
from dexhil_env.store.video import video_info

STATE_NAMES = (
    *(f"{name}.pos" for name in robot.ARM_JOINTS),
    *(f"{name}.pos" for name in robot.HAND_MOTORS),
    *(f"{name}.vel" for name in robot.ARM_JOINTS),
    *(f"fingertip_{finger}.force" for finger in ("thumb", "index", "middle", "ring", "little")),
    *(f"ee.{axis}" for axis in ("x", "y", "z", "qw", "qx", "qy", "qz")),
)
"""Names of ``observation.state`` in the order of ``dexhil_env.episode.STATE_KEYS``."""

VECTORS = {
    "observation.state": ("state", STATE_NAMES),
    "action": ("action", robot.ACTION_NAMES),
    "policy_action": ("policy_action", robot.ACTION_NAMES),
}
SCALARS: dict[str, tuple[str, str]] = {
    "intervention": ("intervention", "bool"),
    "intervention_source": ("intervention_source", "int64"),
    "intervention_id": ("intervention_id", "int64"),
    "handover": ("handover", "bool"),
    "next.reward": ("reward", "float32"),
    "next.done": ("done", "bool"),
    "next.truncated": ("truncated", "bool"),
    "next.success": ("success", "bool"),
    "t_obs_ns": ("t_obs_ns", "int64"),
    "t_arm_ns": ("t_arm_ns", "int64"),
    "t_hand_ns": ("t_hand_ns", "int64"),
}
INDICES = {
    "round": "int64",
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
_ARROW = {"bool": pa.bool_(), "int64": pa.int64(), "float32": pa.float32()}
_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def features(cameras: tuple[str, ...], image_size: int, fps: int) -> dict[str, Any]:
    """Return the ``features`` block of ``meta/info.json``."""
    result: dict[str, Any] = {key: {"dtype": "float32", "shape": [len(names)], "names": list(names)} for key, (_, names) in VECTORS.items()}
    for camera in cameras:
        result[f"observation.images.{camera}"] = {
            "dtype": "video",
            "shape": [image_size, image_size, 3],
            "names": ["height", "width", "channels"],
            "info": video_info(image_size, image_size, fps),
        }
    for key, dtype in {**{key: kind for key, (_, kind) in SCALARS.items()}, **INDICES}.items():
        result[key] = {"dtype": dtype, "shape": [1], "names": None}
    return result


def episode_table(episode: Episode, episode_index: int, first_index: int, task_index: int) -> pa.Table:
    """Lay an episode out as the rows of ``data/*.parquet``."""
    length = len(episode)
    columns: dict[str, pa.Array] = {}
    for key, (name, names) in VECTORS.items():
        flat = np.ascontiguousarray(getattr(episode, name), dtype=np.float32).ravel()
        columns[key] = pa.FixedSizeListArray.from_arrays(pa.array(flat), len(names))
    for key, (name, dtype) in SCALARS.items():
        columns[key] = pa.array(np.asarray(getattr(episode, name)), _ARROW[dtype])
    values = {
        "round": np.full(length, episode.round),
        "timestamp": (np.arange(length) / episode.fps).astype(np.float32),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, episode_index),
        "index": np.arange(first_index, first_index + length),
        "task_index": np.full(length, task_index),
    }
    columns |= {key: pa.array(values[key], _ARROW[dtype]) for key, dtype in INDICES.items()}
    return pa.table(columns)


def reindex(table: pa.Table, episode_index: int, first_index: int, task_index: int) -> pa.Table:
    """Give the rows of one episode another place in a dataset."""
    length = table.num_rows
    new: dict[str, NDArray[np.int64]] = {
        "episode_index": np.full(length, episode_index),
        "index": np.arange(first_index, first_index + length),
        "task_index": np.full(length, task_index),
    }
    for key, values in new.items():
        table = table.set_column(table.column_names.index(key), key, pa.array(values, pa.int64()))
    return table


def episode_columns(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Read the rows of one episode back into the columns of :class:`Episode`."""
    columns: dict[str, NDArray[Any]] = {}
    for key, (name, names) in VECTORS.items():
        flat = table[key].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        columns[name] = flat.reshape(-1, len(names)).astype(np.float32)
    for key, (name, dtype) in SCALARS.items():
        columns[name] = table[key].to_numpy().astype(dtype)
    return columns


def tasks_table(tasks: list[str]) -> pa.Table:
    """Lay ``meta/tasks.parquet`` out: column ``task_index``, the text as the index that pandas restores."""
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [{"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
            {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.large_string())})
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def _column_stats(values: NDArray[Any]) -> dict[str, Any]:
    values = values.astype(np.float64)
    result = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    result |= {name: np.quantile(values, q, axis=0) for name, q in _QUANTILES.items()}
    return {name: np.atleast_1d(value).tolist() for name, value in result.items()} | {"count": [len(values)]}


def _image_stats(frames: NDArray[np.uint8]) -> dict[str, Any]:
    sample = frames[:: max(1, len(frames) // 20), ::4, ::4].reshape(-1, 3) / 255.0
    stats = _column_stats(sample)
    return {name: value if name == "count" else [[[v]] for v in value] for name, value in stats.items()}


def episode_stats(episode: Episode, table: pa.Table) -> dict[str, dict[str, Any]]:
    """Per-feature statistics of one episode, as LeRobot stores them (images in [0, 1], shaped (3, 1, 1))."""
    stats = {key: _column_stats(np.asarray(getattr(episode, name))) for key, (name, _) in VECTORS.items()}
    stats |= {key: _column_stats(table[key].to_numpy()) for key in (*SCALARS, *INDICES)}
    stats |= {f"observation.images.{camera}": _image_stats(frames) for camera, frames in episode.images.items()}
    return stats


def merge_stats(episodes: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Join per-episode statistics: exact but for the quantiles, which are averages weighted by length."""
    merged: dict[str, dict[str, Any]] = {}
    for key in episodes[0] if episodes else ():
        parts = [stats[key] for stats in episodes]
        count = np.array([part["count"][0] for part in parts], dtype=float)
        weight = count / count.sum()

        def average(name: str, parts: list[dict[str, Any]] = parts, weight: NDArray[np.float64] = weight) -> NDArray[np.float64]:
            return np.tensordot(weight, np.array([part[name] for part in parts], dtype=float), axes=1)

        mean = average("mean")
        second = np.array([np.square(part["std"]) + np.square(np.array(part["mean"]) - mean) for part in parts])
        result = {"min": np.min([part["min"] for part in parts], axis=0), "max": np.max([part["max"] for part in parts], axis=0)}
        result |= {"mean": mean, "std": np.sqrt(np.tensordot(weight, second, axes=1))}
        result |= {name: average(name) for name in _QUANTILES}
        merged[key] = {name: value.tolist() for name, value in result.items()} | {"count": [int(count.sum())]}
    return merged
