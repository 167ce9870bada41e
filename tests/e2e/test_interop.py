"""Datasets of others: read by a map, written in their layout, with their labels."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from agents.data import ChunkDataset
from agents.vla.config import preset
from dexhil_env.errors import ConfigError, DatasetError
from dexhil_env.store import EpisodeStore, maintain
from dexhil_env.store.interop.column_map import ColumnMap, Pick, read_column_map
from dexhil_env.store.interop.export import export_v21
from dexhil_env.store.interop.foreign import ForeignDataset
from dexhil_env.store.interop.importing import import_dataset
from dexhil_env.store.interop.labels import read_labels, write_labels
from tests.unit.agents_fixture import make_episode

JOINTS = tuple(range(19))
OURS = ColumnMap(
    {"arm_joint_pos": Pick("observation.state", tuple(range(7))), "hand_motor_pos": Pick("observation.state", tuple(range(7, 19)))},
    Pick("action", JOINTS), {"front": "observation.images.front"}, intervention="intervention", success="next.success", image_size=16,
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "ours")
    store.append(make_episode("b" * 20, round_=0))
    store.append(make_episode("pppppppppp" + "bbbbbb" + "pppp", seed=1))
    store.append(make_episode("p" * 12, seed=2, success=False, task=1))
    return store


@pytest.mark.parametrize(("layout", "compacted"), [("v3.0", False), ("v2.1", False), ("v3.0", True), ("v2.1", True)])
def test_what_others_read_of_ours_comes_back(store: EpisodeStore, tmp_path: Path, layout: str, compacted: bool) -> None:
    store = maintain.compact(store.root, iter) if compacted else store
    source = store.root
    if layout == "v2.1":
        source = tmp_path / "v21"
        export_v21(store, source)
    assert ForeignDataset(source).version == layout
    back = import_dataset(source, OURS, tmp_path / "back")
    assert len(back) == 3
    for index in range(3):
        one, other = store.read(index), back.read(index)
        np.testing.assert_array_equal(one.state[:, :19], other.state[:, :19])
        np.testing.assert_array_equal(other.state[:, 19:], 0.0)
        np.testing.assert_array_equal(one.action, other.action)
        np.testing.assert_array_equal(one.intervention, other.intervention)
        assert (one.is_success, one.instruction, one.fps) == (other.is_success, other.instruction, other.fps)
        assert np.abs(one.images["front"].astype(int) - other.images["front"]).mean() < 10.0  # encoded twice; another frame is 60 away
        assert list(other.images) == ["front"]
        assert other.extra["missing"] == ["arm_joint_vel", "fingertip_force", "ee_pose"]
    assert back.read(2).truncated[-1]


def test_an_interrupted_import_goes_on(store: EpisodeStore, tmp_path: Path) -> None:
    first = import_dataset(store.root, OURS, tmp_path / "back", lambda items: list(items)[:1])
    assert len(first) == 1
    assert len(import_dataset(store.root, OURS, tmp_path / "back")) == 3


def test_the_older_layout_is_what_its_readers_expect(store: EpisodeStore, tmp_path: Path) -> None:
    out = tmp_path / "v21"
    export_v21(store, out, "action_modes", "sirius")
    info = json.loads((out / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_videos"], info["total_chunks"]) == ("v2.1", 6, 1)
    rows = [json.loads(line) for line in (out / "meta/episodes.jsonl").read_text().splitlines()]
    assert [row["length"] for row in rows] == [20, 20, 12]
    stats = [json.loads(line) for line in (out / "meta/episodes_stats.jsonl").read_text().splitlines()]
    np.testing.assert_allclose(stats[1]["stats"]["action"]["max"], store.read_columns(1).action.max(0), rtol=1e-6)
    tasks = [json.loads(line)["task"] for line in (out / "meta/tasks.jsonl").read_text().splitlines()]
    assert tasks == store.tasks
    table = pq.read_table(out / "data/chunk-000/episode_000001.parquet")
    assert table["action_modes"].to_pylist() == [-10] * 10 + [1] * 6 + [0] * 4
    assert table["timestamp"].to_pylist()[1] == pytest.approx(0.05)
    assert (out / "videos/chunk-000/observation.images.wrist/episode_000002.mp4").stat().st_size > 0
    with pytest.raises(DatasetError, match="not empty"):
        export_v21(store, out)


def test_sirius_labels_are_read_and_written() -> None:
    episode = make_episode("p" * 20 + "bb" + "pp")
    codes = write_labels(episode, "sirius")
    assert codes.tolist() == [0] * 5 + [-10] * 15 + [1, 1, 0, 0]
    human, demonstration = read_labels(codes, "sirius")
    assert human.tolist() == episode.intervention.tolist()
    assert not demonstration
    human, demonstration = read_labels(write_labels(make_episode("bbb", round_=0), "sirius"), "sirius")
    assert human.all()
    assert demonstration
    assert write_labels(make_episode("pb" * 3), "sirius").tolist() == [-10, 1] * 3
    with pytest.raises(DatasetError, match="sirius"):
        read_labels(codes, "bool")
    with pytest.raises(DatasetError, match="codes"):
        read_labels(np.array([7]), "sirius")


def write_foreign(root: Path, fps: int = 10) -> None:
    """Five rows of a robot that counts in degrees, has seven joints and stores pictures as PNG; the last joint comes first."""
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    names = {"q_deg": 7, "hand": 12, "cmd_deg": 7}
    features = {name: {"dtype": "float32", "shape": [width]} for name, width in names.items()} | {
        "cam": {"dtype": "image", "shape": [20, 30, 3]}
    }
    info = {"codebase_version": "v2.1", "fps": fps, "features": features, "chunks_size": 1000, "video_path": None,
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"}  # fmt: skip
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/episodes.jsonl").write_text(json.dumps({"episode_index": 0, "tasks": ["lift it"], "length": 5}) + "\n")
    columns = {name: [[float(10 * t + i) for i in range(width)] for t in range(5)] for name, width in names.items()}
    columns["hand"] = [[0.1] * 12] * 5
    pictures = []
    for t in range(5):
        data = io.BytesIO()
        Image.fromarray(np.full((20, 30, 3), 40 * t, np.uint8)).save(data, "PNG")
        pictures.append({"bytes": data.getvalue(), "path": None})
    pq.write_table(pa.table({**columns, "cam": pictures}), root / "data/chunk-000/episode_000000.parquet")


def test_degrees_other_orders_other_rates_and_pictures(tmp_path: Path) -> None:
    write_foreign(tmp_path / "theirs")
    (tmp_path / "map.json").write_text(json.dumps({
        "state": {"arm_joint_pos": {"column": "q_deg", "indices": [6, 5, 4, 3, 2, 1, 0], "scale": math.pi / 180}, "hand_motor_pos": "hand"},
        "action": {"column": "cmd_deg", "indices": [6, 5, 4, 3, 2, 1, 0] + [-1] * 12, "scale": math.pi / 180},
        "images": {"front": "cam"}, "fps": 20, "image_size": 16, "task": "lift",
    }))  # fmt: skip
    store = import_dataset(tmp_path / "theirs", read_column_map(tmp_path / "map.json"), tmp_path / "back")
    episode = store.read(0)
    taken = [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]  # numpy rounds halves to even
    assert len(episode) == 10
    np.testing.assert_allclose(np.degrees(episode.state[:, 0]), [10 * t + 6 for t in taken], rtol=1e-5)
    np.testing.assert_allclose(np.degrees(episode.action[:, 6]), [10 * t for t in taken], atol=1e-4)
    np.testing.assert_allclose(episode.action[:, 7:], 0.1, rtol=1e-6)
    np.testing.assert_allclose(episode.images["front"].mean((1, 2, 3)), [40 * t for t in taken], atol=3)
    assert (episode.instruction, episode.task, episode.round, episode.is_success) == ("lift it", "lift", 0, True)
    assert episode.intervention.all()


def test_training_on_what_was_not_measured_is_refused(store: EpisodeStore, tmp_path: Path) -> None:
    back = import_dataset(
        store.root, replace(OURS, images={name: f"observation.images.{name}" for name in ("front", "wrist")}), tmp_path / "b"
    )
    with pytest.raises(DatasetError, match="fingertip_force"):
        ChunkDataset(back, preset("debug"))
    config = replace(preset("debug"), state_keys=("arm_joint_pos", "hand_motor_pos"))
    assert len(ChunkDataset(back, config)) > 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"state": {"grip": "x"}, "action": "a"}, "grip"),
        ({"state": {"arm_joint_pos": {"column": "x", "indices": [0, 1]}}, "action": "a"}, "7 elements"),
        ({"state": {}, "action": {"column": "a", "indices": [0]}}, "19 joint targets"),
        ({"state": {}, "action": "a", "style": "rlds"}, "rlds"),
        ({"state": {}, "action": "a", "colour": 1}, "no column map"),
        ({"state": {}}, "no column map"),
    ],
)
def test_maps_that_cannot_work_are_refused(tmp_path: Path, change: dict, error: str) -> None:
    (tmp_path / "map.json").write_text(json.dumps(change))
    with pytest.raises(ConfigError, match=error):
        read_column_map(tmp_path / "map.json")


def test_missing_columns_pictures_and_datasets_are_named(store: EpisodeStore, tmp_path: Path) -> None:
    for change, error in (
        (replace(OURS, action=Pick("command", JOINTS)), "no column 'command'"),
        (replace(OURS, images={"front": "observation.images.top"}), "no pictures"),
        (replace(OURS, state={"ee_pose": Pick("observation.state")}), "7 elements"),
    ):
        with pytest.raises(DatasetError, match=error):
            import_dataset(store.root, change, tmp_path / "back")
    with pytest.raises(DatasetError, match="no LeRobot dataset"):
        ForeignDataset(tmp_path)
