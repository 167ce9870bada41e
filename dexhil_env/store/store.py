"""Append episodes to a LeRobotDataset v3.0 folder and read them back.

Write order per episode: data, videos, then the episode's own file in ``meta/episodes`` (the moment from which it counts), then the
derived ``meta/info.json`` and ``meta/stats.json``. Every file is written beside, flushed and renamed, so ``kill -9`` or a full disk
costs at most the episode that was open.
"""

import fcntl
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dexhil_env.episode import Episode
from dexhil_env.errors import DatasetError
from dexhil_env.store import schema
from dexhil_env.store.files import write_json, write_parquet
from dexhil_env.store.video import decode, encode

VERSION = "v3.0"
CHUNK_SIZE = 1000
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EXTRA = "dexhil/extra"
"""Column of ``meta/episodes`` that carries what is said once per episode, as JSON."""


@dataclass(frozen=True)
class Layout:
    """What all episodes of a dataset share.

    Attributes:
        fps: control rate [Hz].
        cameras: camera names.
        image_size: square image size [px]; 0 without cameras.
    """

    fps: int
    cameras: tuple[str, ...]
    image_size: int

    @classmethod
    def of(cls, episode: Episode) -> "Layout":
        """Read the layout off an episode."""
        sizes = {frames.shape[1:3] for frames in episode.images.values()}
        if len(sizes) > 1 or any(height != width for height, width in sizes):
            raise DatasetError(f"all cameras of an episode must give square images of one size; got {sizes}")
        return cls(episode.fps, tuple(episode.images), int(next(iter(sizes))[0]) if sizes else 0)


class EpisodeStore:
    """A dataset folder. Reading needs an existing one; the first :meth:`append` makes it.

    Args:
        root: dataset folder.

    Raises:
        DatasetError: the folder holds something else or a broken dataset.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.rows: list[dict[str, Any]] = []
        self.tasks: list[str] = []
        self.layout: Layout | None = None
        if (self.root / "meta").exists():
            self._load()
        elif self.root.exists() and any(self.root.iterdir()):
            raise DatasetError(f"{self.root} is not empty and holds no dataset (no meta/); choose another folder")

    @classmethod
    def open(cls, root: str | Path) -> "EpisodeStore":
        """Open an existing dataset.

        Raises:
            DatasetError: there is none.
        """
        store = cls(root)
        if store.layout is None:
            raise DatasetError(f"no dataset at {root} (meta/info.json is missing); record one with `dexhil collect --out {root}`")
        return store

    def __len__(self) -> int:
        """Count the episodes."""
        return len(self.rows)

    @property
    def frames(self) -> int:
        """Count the rows of all episodes."""
        return int(self.rows[-1]["dataset_to_index"]) if self.rows else 0

    # ---------------------------------------------------------------- reading

    def _load(self) -> None:
        try:
            info = json.loads((self.root / "meta/info.json").read_text(encoding="utf-8"))
            version = info["codebase_version"]
            if version != VERSION:
                raise DatasetError(f"{self.root} has format {version}; this version of DexHiL reads {VERSION}")
            cameras = tuple(key.removeprefix("observation.images.") for key in info["features"] if key.startswith("observation.images."))
            size = int(info["features"][f"observation.images.{cameras[0]}"]["shape"][0]) if cameras else 0
            self.layout = Layout(int(info["fps"]), cameras, size)
            self.tasks = pq.read_table(self.root / "meta/tasks.parquet")["task"].to_pylist()
            files = sorted((self.root / "meta/episodes").rglob("*.parquet"))
            rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise DatasetError(f"{self.root} holds a broken dataset: {error}; try `dexhil dataset repair {self.root}`") from error
        self.rows = sorted(rows, key=lambda row: row["episode_index"])
        found = [row["episode_index"] for row in self.rows]
        if found != list(range(len(found))):
            raise DatasetError(f"{self.root} misses episodes: found {found}; run `dexhil dataset repair {self.root}`")

    def path_of(self, index: int, camera: str | None = None) -> Path:
        """File that holds the rows (or one camera's video) of an episode."""
        row = self._row(index)
        if camera is None:
            return self.root / DATA_PATH.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        key = f"observation.images.{camera}"
        place = {"chunk_index": row[f"videos/{key}/chunk_index"], "file_index": row[f"videos/{key}/file_index"]}
        return self.root / VIDEO_PATH.format(video_key=key, **place)

    def first_frame(self, index: int, camera: str) -> int:
        """Number of the episode's first frame within its video file."""
        assert self.layout is not None
        return round(self._row(index)[f"videos/observation.images.{camera}/from_timestamp"] * self.layout.fps)

    def _row(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self.rows):
            raise DatasetError(f"{self.root} has episodes 0 to {len(self.rows) - 1}; got {index}")
        return self.rows[index]

    def table(self, index: int) -> pa.Table:
        """Read the parquet rows of one episode.

        Raises:
            DatasetError: the file is missing, broken or short.
        """
        path = self.path_of(index)
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"cannot read {path}: {error}; run `dexhil dataset repair {self.root}`") from error
        table = table.filter(pc.equal(table["episode_index"], index))
        if table.num_rows != self._row(index)["length"]:
            raise DatasetError(f"{path} holds {table.num_rows} of {self._row(index)['length']} rows of episode {index}; repair the dataset")
        return table

    def read(self, index: int, images: bool = True) -> Episode:
        """Read one episode; ``images=False`` leaves the videos alone."""
        assert self.layout is not None
        row, table = self._row(index), self.table(index)
        frames = {}
        if images:
            cameras = self.layout.cameras
            frames = {name: decode(self.path_of(index, name), self.first_frame(index, name), row["length"]) for name in cameras}
        extra = self.facts(index)
        columns = schema.episode_columns(table)
        return Episode(
            instruction=row["tasks"][0],
            task=extra.pop("task", ""),
            fps=self.layout.fps,
            images=frames,
            round=int(extra.pop("round", table["round"][0].as_py())),
            extra=extra,
            **columns,
        )

    def facts(self, index: int) -> dict[str, Any]:
        """Return what was said once of an episode: task, round, seed, takeovers, ... (no file is opened)."""
        text = self._row(index).get(EXTRA)
        return json.loads(text) if text else {}

    def read_columns(self, index: int) -> Episode:
        """Read one episode without its images."""
        return self.read(index, images=False)

    def __iter__(self) -> Iterator[Episode]:
        """Iterate over all episodes, images included."""
        return (self.read(index) for index in range(len(self)))

    # ---------------------------------------------------------------- writing

    def append(self, episode: Episode) -> int:
        """Write one finished episode and return its index. When this returns, a crash cannot cost it any more.

        Raises:
            DatasetError: the episode is empty or does not fit the dataset.
        """
        if len(episode) == 0:
            raise DatasetError("an episode without rows cannot be stored")
        layout = Layout.of(episode)
        if self.layout is not None and layout != self.layout:
            raise DatasetError(f"the episode has {layout} but {self.root} holds {self.layout}; record into another folder")
        with self.lock():
            self.layout = layout
            index, file = len(self), self.next_file()
            table = schema.episode_table(episode, index, self.frames, self._task_index(episode.instruction))
            place = {"chunk_index": file // CHUNK_SIZE, "file_index": file % CHUNK_SIZE}
            write_parquet(self.root / DATA_PATH.format(**place), table)
            for camera, frames in episode.images.items():
                encode(self.root / VIDEO_PATH.format(video_key=f"observation.images.{camera}", **place), frames, episode.fps)
            extra = json.dumps({**episode.extra, "task": episode.task, "round": episode.round})
            row = self.make_row(index, episode.instruction, len(episode), place, schema.episode_stats(episode, table), extra)
            self.commit(row, place)
        return index

    def next_file(self) -> int:
        """Number of the next data, video and episode file."""
        used = [self._file_number(path) for folder in ("data", "meta/episodes") for path in (self.root / folder).rglob("file-*.parquet")]
        return max(used, default=-1) + 1

    @staticmethod
    def _file_number(path: Path) -> int:
        return int(path.parent.name.removeprefix("chunk-")) * CHUNK_SIZE + int(path.stem.removeprefix("file-"))

    def _task_index(self, instruction: str) -> int:
        if instruction not in self.tasks:
            self.tasks.append(instruction)
        if not (self.root / "meta/tasks.parquet").exists() or self.tasks[-1] == instruction:
            write_parquet(self.root / "meta/tasks.parquet", schema.tasks_table(self.tasks))
        return self.tasks.index(instruction)

    def make_row(
        self, index: int, instruction: str, length: int, place: dict[str, int], stats: dict[str, dict[str, Any]], extra: str
    ) -> dict[str, Any]:
        """Build the row of ``meta/episodes`` for an episode that has files of its own."""
        assert self.layout is not None
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [instruction],
            "length": length,
            "data/chunk_index": place["chunk_index"],
            "data/file_index": place["file_index"],
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + length,
            "meta/episodes/chunk_index": place["chunk_index"],
            "meta/episodes/file_index": place["file_index"],
        }
        for camera in self.layout.cameras:
            key = f"videos/observation.images.{camera}"
            row |= {f"{key}/chunk_index": place["chunk_index"], f"{key}/file_index": place["file_index"]}
            row |= {f"{key}/from_timestamp": 0.0, f"{key}/to_timestamp": length / self.layout.fps}
        row |= {f"stats/{key}/{name}": value for key, stat in stats.items() for name, value in stat.items()}
        return row | {EXTRA: extra}

    def commit(self, row: dict[str, Any], place: dict[str, int]) -> None:
        """Make an episode whose files are in place part of the dataset."""
        write_parquet(self.root / EPISODES_PATH.format(**place), pa.Table.from_struct_array(pa.array([row])))
        self.rows.append(row)
        self.write_summary()

    def write_summary(self) -> None:
        """Write ``meta/info.json`` and ``meta/stats.json`` from the episodes."""
        assert self.layout is not None
        layout = self.layout
        info = {
            "codebase_version": VERSION,
            "robot_type": "fr3_dexhand021",
            "fps": layout.fps,
            "total_episodes": len(self.rows),
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": CHUNK_SIZE,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "splits": {"train": f"0:{len(self.rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if layout.cameras else None,
            "features": schema.features(layout.cameras, layout.image_size, layout.fps),
        }
        write_json(self.root / "meta/stats.json", schema.merge_stats([self.stats_of(row) for row in self.rows]))
        write_json(self.root / "meta/info.json", info)

    @staticmethod
    def stats_of(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Unflatten the statistics of a ``meta/episodes`` row."""
        stats: dict[str, dict[str, Any]] = {}
        for column, value in row.items():
            if column.startswith("stats/"):
                key, name = column.removeprefix("stats/").rsplit("/", 1)
                stats.setdefault(key, {})[name] = value
        return stats

    @contextmanager
    def lock(self) -> Generator[None]:
        """Keep a second writer out.

        Raises:
            DatasetError: another process is writing here.
        """
        folder = self.root / "meta"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DatasetError(f"another process is writing to {self.root}; record into another folder and merge later") from error
            yield
