"""Our dataset in LeRobot's layout v2.1: one parquet file and one video per camera and episode, lists as JSON lines."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from dexhil_env.errors import DatasetError
from dexhil_env.store import schema
from dexhil_env.store.files import write_json, write_parquet, write_whole
from dexhil_env.store.interop.labels import Style, write_labels
from dexhil_env.store.store import EpisodeStore
from dexhil_env.store.video import join

CHUNK = 1000
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
STATS = ("min", "max", "mean", "std", "count")


def export_v21(
    store: EpisodeStore, out: Path, label: str = "intervention", style: Style = "bool", bar: Callable[[Iterable[int]], Iterable[int]] = iter
) -> None:
    """Write a copy in layout v2.1; videos are copied, not encoded again.

    Args:
        store: the dataset.
        out: new folder.
        label: name of the column that says who drove; ``is_intervention``, ``intervene_flag`` or ``action_modes`` in other projects.
        style: how it is written.
        bar: shows the progress over the episodes.

    Raises:
        DatasetError: the folder is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise DatasetError(f"{out} is not empty; choose a new folder")
    assert store.layout is not None
    layout, partial = store.layout, out.with_name(out.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    episodes: list[dict[str, Any]] = []
    stats: list[dict[str, Any]] = []
    for index in bar(range(len(store))):
        episode = store.read_columns(index)
        table, place = store.table(index), {"episode_chunk": index // CHUNK, "episode_index": index}
        if label != "intervention" or style != "bool":
            table = table.append_column(label, pa.array(write_labels(episode, style)))
        write_parquet(partial / DATA_PATH.format(**place), table)
        for camera in layout.cameras:
            target = partial / VIDEO_PATH.format(video_key=f"observation.images.{camera}", **place)
            join(target, [(store.path_of(index, camera), store.first_frame(index, camera), len(episode))], layout.fps)
        episodes.append({"episode_index": index, "tasks": [episode.instruction], "length": len(episode)})
        found = store.stats_of(store.rows[index])
        stats.append({"episode_index": index, "stats": {key: {name: value[name] for name in STATS} for key, value in found.items()}})
    _write_meta(store, partial, label, style, episodes, stats)
    partial.rename(out)


def _write_meta(
    store: EpisodeStore, out: Path, label: str, style: Style, episodes: list[dict[str, Any]], stats: list[dict[str, Any]]
) -> None:
    assert store.layout is not None
    layout = store.layout
    features = schema.features(layout.cameras, layout.image_size, layout.fps)
    features.setdefault(label, {"dtype": "bool" if style == "bool" else "int64", "shape": [1], "names": None})
    info = {
        "codebase_version": "v2.1", "robot_type": "fr3_dexhand021", "total_episodes": len(store), "total_frames": store.frames,
        "total_tasks": len(store.tasks), "total_videos": len(store) * len(layout.cameras), "total_chunks": -(-len(store) // CHUNK),
        "chunks_size": CHUNK, "fps": layout.fps, "splits": {"train": f"0:{len(store)}"}, "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if layout.cameras else None, "features": features,
    }  # fmt: skip
    _write_lines(out / "meta/episodes.jsonl", episodes)
    _write_lines(out / "meta/episodes_stats.jsonl", stats)
    _write_lines(out / "meta/tasks.jsonl", [{"task_index": index, "task": task} for index, task in enumerate(store.tasks)])
    write_json(out / "meta/info.json", info)


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_whole(path, write)
