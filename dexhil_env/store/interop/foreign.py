"""Read a LeRobotDataset that somebody else wrote: v3.0 or v2.1, videos or stored pictures, whatever its columns are called."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from dexhil_env.errors import DatasetError
from dexhil_env.store.video import decode
from dexhil_env.types import U8

VERSIONS = ("v3.0", "v2.1", "v2.0")


@dataclass(frozen=True)
class ForeignEpisode:
    """Where an episode is.

    Attributes:
        index: its number.
        length: rows.
        instruction: its (first) task in words.
        row: its entry in the dataset's own list.
    """

    index: int
    length: int
    instruction: str
    row: dict[str, Any]


class ForeignDataset:
    """A dataset folder; nothing in it is changed.

    Args:
        root: dataset folder, with ``meta/info.json``.

    Raises:
        DatasetError: it is none, or of a version that is not read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.info: dict[str, Any] = json.loads((root / "meta/info.json").read_text(encoding="utf-8"))
            self.version: str = self.info["codebase_version"]
            self.fps = float(self.info["fps"])
            self.features: dict[str, dict[str, Any]] = self.info["features"]
            if self.version not in VERSIONS:
                raise DatasetError(f"{root} has format {self.version}; {', '.join(VERSIONS)} are read. LeRobot converts older ones")
            self.episodes = list(self._episodes())
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(f"{root} is no LeRobot dataset that can be read ({type(error).__name__}: {error})") from error

    def __len__(self) -> int:
        """Count the episodes."""
        return len(self.episodes)

    @property
    def cameras(self) -> list[str]:
        """Keys of the pictures."""
        return [key for key, feature in self.features.items() if feature["dtype"] in ("video", "image")]

    def _episodes(self) -> Iterator[ForeignEpisode]:
        meta = self.root / "meta"
        if self.version == "v3.0":
            rows = [row for file in sorted((meta / "episodes").rglob("*.parquet")) for row in pq.read_table(file).to_pylist()]
        else:
            rows = [json.loads(line) for line in (meta / "episodes.jsonl").read_text(encoding="utf-8").splitlines() if line.strip()]
        for row in sorted(rows, key=lambda row: row["episode_index"]):
            tasks: list[Any] = row.get("tasks") or [""]
            yield ForeignEpisode(int(row["episode_index"]), int(row["length"]), str(tasks[0]), row)

    def _place(self, episode: ForeignEpisode, key: str) -> dict[str, int]:
        """Numbers that the path templates want."""
        if self.version == "v3.0":
            return {"chunk_index": int(episode.row[f"{key}/chunk_index"]), "file_index": int(episode.row[f"{key}/file_index"])}
        return {"episode_chunk": episode.index // int(self.info["chunks_size"]), "episode_index": episode.index}

    def table(self, episode: ForeignEpisode) -> pa.Table:
        """Read the rows of an episode.

        Raises:
            DatasetError: they are missing.
        """
        path = self.root / str(self.info["data_path"]).format(**self._place(episode, "data"))
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"cannot read {path}: {error}") from error
        if "episode_index" in table.column_names:
            table = table.filter(pc.equal(table["episode_index"], episode.index))
        if table.num_rows != episode.length:
            raise DatasetError(f"{path} holds {table.num_rows} of {episode.length} rows of episode {episode.index}")
        return table

    def column(self, table: pa.Table, name: str) -> NDArray[Any]:
        """Return a column (T, width).

        Raises:
            DatasetError: there is none of that name.
        """
        if name not in table.column_names:
            raise DatasetError(f"{self.root} has no column {name!r}; it has {sorted(self.features)}")
        return np.array(table[name].to_pylist()).reshape(table.num_rows, -1)

    def frames(self, episode: ForeignEpisode, key: str, table: pa.Table) -> U8:
        """Return the pictures (T, H, W, 3) of a camera."""
        if key not in self.features or self.features[key]["dtype"] not in ("video", "image"):
            raise DatasetError(f"{self.root} has no pictures {key!r}; it has {self.cameras}")
        if self.features[key]["dtype"] == "image":
            cells: list[dict[str, bytes]] = table[key].to_pylist()
            return np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in cells])
        place = self._place(episode, f"videos/{key}")
        path = self.root / str(self.info["video_path"]).format(video_key=key, **place)
        start = round(float(episode.row.get(f"videos/{key}/from_timestamp", 0.0)) * self.fps)
        return decode(path, start, episode.length)
