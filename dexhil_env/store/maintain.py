"""Check, repair, merge and compact datasets. Nothing here deletes a recording: what cannot be used is moved aside."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dexhil_env.errors import DatasetError
from dexhil_env.store import schema
from dexhil_env.store.files import TEMPORARY, write_parquet
from dexhil_env.store.store import CHUNK_SIZE, DATA_PATH, EPISODES_PATH, EXTRA, VIDEO_PATH, EpisodeStore, Layout
from dexhil_env.store.video import decode, join

Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass
class Report:
    """What a check found.

    Attributes:
        episodes: episodes that the metadata lists.
        problems: one line each; empty when all is well.
        broken: episodes whose files cannot be read.
        leftovers: files that belong to no episode.
    """

    episodes: int = 0
    problems: list[str] = field(default_factory=list[str])
    broken: list[int] = field(default_factory=list[int])
    leftovers: list[Path] = field(default_factory=list[Path])


def _all_files(root: Path) -> set[Path]:
    return {path for folder in ("data", "videos", "meta/episodes") for path in (root / folder).rglob("*") if path.is_file()}


def _listed_files(store: EpisodeStore) -> set[Path]:
    assert store.layout is not None
    files = {store.path_of(i) for i in range(len(store))}
    files |= {store.path_of(i, camera) for i in range(len(store)) for camera in store.layout.cameras}
    places = {(row["meta/episodes/chunk_index"], row["meta/episodes/file_index"]) for row in store.rows}
    return files | {store.root / EPISODES_PATH.format(chunk_index=chunk, file_index=file) for chunk, file in places}


def check(root: str | Path, progress: Progress = iter) -> Report:
    """Read every row and every frame and say what is wrong; changes nothing."""
    report = Report()
    try:
        store = EpisodeStore.open(root)
    except DatasetError as error:
        report.problems.append(str(error))
        return report
    assert store.layout is not None
    report.episodes = len(store)
    for index in progress(range(len(store))):
        try:
            store.read(index)
        except DatasetError as error:
            report.broken.append(index)
            report.problems.append(str(error))
    report.leftovers = sorted(_all_files(store.root) - _listed_files(store))
    report.problems += [f"{path} belongs to no episode" for path in report.leftovers]
    info_episodes = _info(store.root).get("total_episodes")
    if info_episodes != len(store):
        report.problems.append(f"meta/info.json says {info_episodes} episodes, meta/episodes lists {len(store)}")
    return report


def _info(root: Path) -> dict[str, object]:
    import json

    return json.loads((root / "meta/info.json").read_text(encoding="utf-8"))


def repair(root: str | Path, progress: Progress = iter) -> Report:
    """Mend what a crash left: leftovers and unreadable episodes are moved to ``<root>/quarantine``, the metadata is written anew.

    Returns:
        what :func:`check` finds afterwards (no problems, unless a disk is failing).
    """
    root = Path(root)
    if not (root / "meta/episodes").exists():
        raise DatasetError(f"{root} holds no finished episode (meta/episodes is missing): nothing to repair")
    _quarantine_unreadable_meta(root)
    store = _load_loosely(root)
    if store.layout is None or not store.rows:
        raise DatasetError(f"{root}: no episode could be read; everything is still there, parts in {root / 'quarantine'}")
    broken = [i for i, row in enumerate(store.rows) if not _readable(store, i, row)]
    if broken or [row["episode_index"] for row in store.rows] != list(range(len(store))):
        keep = [i for i in range(len(store)) if i not in broken]
        rebuilt = root.with_name(root.name + ".rebuild")
        if rebuilt.exists():
            shutil.rmtree(rebuilt)
        _copy_into(EpisodeStore(rebuilt), store, keep, progress)
        backup = root / "quarantine"
        for name in ("data", "videos", "meta"):
            if (root / name).exists():
                _move_aside(root / name, backup)
        for name in ("data", "videos", "meta"):
            if (rebuilt / name).exists():
                shutil.move(rebuilt / name, root / name)
        shutil.rmtree(rebuilt)
    else:
        store.write_summary()
        for path in sorted(_all_files(root) - _listed_files(store)):
            _move_aside(path, root / "quarantine")
    return check(root, progress)


def _move_aside(path: Path, backup: Path) -> None:
    backup.mkdir(parents=True, exist_ok=True)
    target = backup / path.name
    number = 0
    while target.exists():
        number += 1
        target = backup / f"{path.name}.{number}"
    shutil.move(path, target)


def _quarantine_unreadable_meta(root: Path) -> None:
    for path in sorted((root / "meta/episodes").rglob("*")):
        if not path.is_file():
            continue
        try:
            pq.read_schema(path)
            usable = not path.name.endswith(TEMPORARY)
        except (OSError, pa.ArrowException):
            usable = False
        if not usable:
            _move_aside(path, root / "quarantine")


def _load_loosely(root: Path) -> EpisodeStore:
    """Open a dataset from ``meta/episodes`` alone, trusting neither info.json nor tasks.parquet."""
    store = EpisodeStore.__new__(EpisodeStore)
    store.root, store.layout = root, None
    rows = [row for file in sorted((root / "meta/episodes").rglob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    store.rows = sorted(rows, key=lambda row: row["episode_index"])
    store.tasks = list(dict.fromkeys(row["tasks"][0] for row in store.rows))
    if not rows:
        return store
    prefix, suffix = "videos/observation.images.", "/from_timestamp"
    cameras = tuple(key[len(prefix) : -len(suffix)] for key in rows[0] if key.startswith(prefix) and key.endswith(suffix))
    last = store.rows[0]
    fps = round(last["length"] / last[f"{prefix}{cameras[0]}/to_timestamp"]) if cameras else 20
    store.layout = Layout(fps, cameras, 0)
    for index in range(len(rows)):
        if cameras:
            try:
                frames = decode(store.path_of(index, cameras[0]), store.first_frame(index, cameras[0]), 1)
            except DatasetError:
                continue
            store.layout = Layout(fps, cameras, frames.shape[1])
            break
    _write_tasks(store)
    return store


def _write_tasks(store: EpisodeStore) -> None:
    path = store.root / "meta/tasks.parquet"
    try:
        known = pq.read_table(path)["task"].to_pylist()
    except (OSError, KeyError, pa.ArrowException):
        known = []
    store.tasks = known + [task for task in store.tasks if task not in known]
    write_parquet(path, schema.tasks_table(store.tasks))


def _readable(store: EpisodeStore, index: int, row: dict[str, object]) -> bool:
    assert store.layout is not None
    try:
        table = pq.read_table(store.path_of(index))
        mine = sum(1 for value in table["episode_index"].to_pylist() if value == row["episode_index"])
        for camera in store.layout.cameras:
            decode(store.path_of(index, camera), store.first_frame(index, camera), int(str(row["length"])))
    except (DatasetError, OSError, KeyError, pa.ArrowException):
        return False
    return mine == row["length"]


def _copy_into(target: EpisodeStore, source: EpisodeStore, indices: Iterable[int], progress: Progress = iter) -> None:
    """Append episodes of ``source`` to ``target``; videos are copied, never re-encoded."""
    assert source.layout is not None
    if target.layout is not None and target.layout != source.layout:
        raise DatasetError(f"cannot merge {source.root} ({source.layout}) into {target.root} ({target.layout}): record both alike")
    with target.lock():
        target.layout = source.layout
        for index in progress(list(indices)):
            row = source.rows[index]
            instruction, length, file = row["tasks"][0], row["length"], target.next_file()
            place = {"chunk_index": file // CHUNK_SIZE, "file_index": file % CHUNK_SIZE}
            rows = pq.read_table(source.path_of(index), filters=[("episode_index", "=", row["episode_index"])])
            task = target._task_index(instruction)  # pyright: ignore[reportPrivateUsage]
            write_parquet(target.root / DATA_PATH.format(**place), schema.reindex(rows, len(target), target.frames, task))
            for camera in source.layout.cameras:
                path = target.root / VIDEO_PATH.format(video_key=f"observation.images.{camera}", **place)
                join(path, [(source.path_of(index, camera), source.first_frame(index, camera), length)], source.layout.fps)
            target.commit(target.make_row(len(target), instruction, length, place, source.stats_of(row), row[EXTRA]), place)


def merge(sources: list[str | Path], target: str | Path, progress: Progress = iter) -> EpisodeStore:
    """Write the episodes of several datasets into a new one, in order.

    Raises:
        DatasetError: the target exists, or the datasets differ in rate, cameras or image size.
    """
    opened = [EpisodeStore.open(source) for source in sources]
    layouts = {str(store.root): store.layout for store in opened}
    if len(set(layouts.values())) > 1:
        raise DatasetError(f"datasets to merge must have the same rate, cameras and image size; got {layouts}")
    result = EpisodeStore(target)
    if len(result):
        raise DatasetError(f"{target} holds a dataset already; choose a new folder")
    for store in opened:
        _copy_into(result, store, range(len(store)), progress)
    return result


def compact(root: str | Path, progress: Progress = iter) -> EpisodeStore:
    """Join the small files of up to 1000 episodes each into one data, one video per camera and one metadata file.

    The new files are complete before the old ones are moved to ``<root>/quarantine``, which may be deleted afterwards.
    """
    root = Path(root)
    source = EpisodeStore.open(root)
    assert source.layout is not None
    building = root.with_name(root.name + ".compact")
    if building.exists():
        shutil.rmtree(building)
    rows: list[dict[str, object]] = []
    for chunk, first in enumerate(progress(range(0, len(source), CHUNK_SIZE))):
        rows = _compact_chunk(source, building, chunk, range(first, min(first + CHUNK_SIZE, len(source))))
        write_parquet(building / EPISODES_PATH.format(chunk_index=chunk, file_index=0), pa.Table.from_struct_array(pa.array(rows)))
    write_parquet(building / "meta/tasks.parquet", schema.tasks_table(source.tasks))
    compacted = _load_loosely(building)
    compacted.write_summary()
    problems = check(building).problems
    if problems:
        raise DatasetError(f"compacting {root} failed, the dataset is unchanged: {problems}")
    for name in ("data", "videos", "meta"):
        if (root / name).exists():
            _move_aside(root / name, root / "quarantine")
        if (building / name).exists():
            shutil.move(building / name, root / name)
    shutil.rmtree(building)
    return EpisodeStore.open(root)


def _compact_chunk(source: EpisodeStore, target: Path, chunk: int, episodes: range) -> list[dict[str, object]]:
    assert source.layout is not None
    place = {"chunk_index": chunk, "file_index": 0}
    write_parquet(target / DATA_PATH.format(**place), pa.concat_tables([source.table(i) for i in episodes]))
    for camera in source.layout.cameras:
        parts = [(source.path_of(i, camera), source.first_frame(i, camera), source.rows[i]["length"]) for i in episodes]
        join(target / VIDEO_PATH.format(video_key=f"observation.images.{camera}", **place), parts, source.layout.fps)
    rows: list[dict[str, Any]] = []
    start = 0
    for i in episodes:
        row = dict(source.rows[i]) | {"data/chunk_index": chunk, "data/file_index": 0}
        row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": 0}
        for camera in source.layout.cameras:
            key = f"videos/observation.images.{camera}"
            row |= {f"{key}/chunk_index": chunk, f"{key}/file_index": 0}
            row |= {f"{key}/from_timestamp": start / source.layout.fps, f"{key}/to_timestamp": (start + row["length"]) / source.layout.fps}
        start += row["length"]
        rows.append(row)
    return rows
