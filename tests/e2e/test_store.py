import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dexhil_env.episode import Episode
from dexhil_env.errors import DatasetError
from dexhil_env.store import EpisodeStore
from dexhil_env.store.maintain import check, compact, merge, repair
from tests.unit.helpers import make_episode


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    store = EpisodeStore(tmp_path_factory.mktemp("template") / "data")
    for seed, (length, task) in enumerate([(30, "plush"), (24, "tissue"), (18, "plush")]):
        store.append(make_episode(length, task, seed))
    return store.root


@pytest.fixture
def dataset(template, tmp_path):
    shutil.copytree(template, tmp_path / "data")
    return tmp_path / "data"


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in Episode.COLUMNS)


def test_an_episode_comes_back_as_it_was_written(dataset):
    store = EpisodeStore.open(dataset)
    for index, (length, task) in enumerate([(30, "plush"), (24, "tissue"), (18, "plush")]):
        original, read = make_episode(length, task, index), store.read(index)
        assert same(original, read)
        assert (read.instruction, read.task, read.round, read.fps) == (original.instruction, task, 0, 20)
        assert read.extra == original.extra
        error = np.abs(read.images["front"].astype(int) - original.images["front"])
        assert error.mean() < 4
    assert store.frames == 72
    info = json.loads((dataset / "meta/info.json").read_text())
    assert (info["total_episodes"], info["total_tasks"], info["codebase_version"]) == (3, 2, "v3.0")
    assert check(dataset).problems == []


def test_statistics_are_those_of_all_rows(dataset):
    store = EpisodeStore.open(dataset)
    rows = np.concatenate([store.read_columns(i).action for i in range(3)])
    stats = json.loads((dataset / "meta/stats.json").read_text())["action"]
    assert np.allclose(stats["mean"], rows.mean(0), atol=1e-6)
    assert np.allclose(stats["std"], rows.std(0), atol=1e-6)
    assert np.allclose(stats["max"], rows.max(0))
    assert stats["count"] == [72]


def test_merge_and_compact_keep_every_frame_bit_for_bit(dataset, tmp_path):
    original = EpisodeStore.open(dataset)
    merge([dataset, dataset], tmp_path / "merged")
    compact(tmp_path / "merged")
    store = EpisodeStore.open(tmp_path / "merged")
    assert len(store) == 6
    assert len(list((tmp_path / "merged/data").rglob("*.parquet"))) == 1
    for index in range(6):
        a, b = original.read(index % 3), store.read(index)
        assert same(a, b)
        assert np.array_equal(a.images["wrist"], b.images["wrist"])
    store.append(make_episode(12, seed=9))
    assert check(tmp_path / "merged").problems == []


def test_merging_datasets_of_different_layout_is_refused(dataset, tmp_path):
    EpisodeStore(tmp_path / "other").append(make_episode(size=64))
    with pytest.raises(DatasetError, match="image size"):
        merge([dataset, tmp_path / "other"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("victim", ["data", "video", "meta", "info", "tasks"])
def test_repair_keeps_all_that_is_whole_and_deletes_nothing(dataset, victim):
    store = EpisodeStore.open(dataset)
    path = {
        "data": store.path_of(1),
        "video": store.path_of(1, "wrist"),
        "meta": dataset / "meta/episodes/chunk-000/file-001.parquet",
        "info": dataset / "meta/info.json",
        "tasks": dataset / "meta/tasks.parquet",
    }[victim]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert check(dataset).problems
    assert repair(dataset).problems == []
    mended = EpisodeStore.open(dataset)
    expected = [0, 2] if victim in ("data", "video", "meta") else [0, 1, 2]
    lengths = {0: (30, "plush"), 1: (24, "tissue"), 2: (18, "plush")}
    assert len(mended) == len(expected)
    for place, index in enumerate(expected):
        assert same(mended.read(place), make_episode(*lengths[index], index))
    if len(expected) == 2:
        kept = [p for p in (dataset / "quarantine").rglob("*") if p.is_file()]
        assert any(p.stat().st_size == len(content) // 2 for p in kept)


def test_a_leftover_file_is_reported_and_moved_aside(dataset):
    stray = dataset / "data/chunk-000/file-007.parquet.part"
    stray.write_bytes(b"half")
    assert any("file-007" in problem for problem in check(dataset).problems)
    assert repair(dataset).problems == []
    assert (dataset / "quarantine/file-007.parquet.part").read_bytes() == b"half"


def test_bad_use_is_refused_with_a_reason(dataset, tmp_path):
    store = EpisodeStore.open(dataset)
    with pytest.raises(DatasetError, match="episodes 0 to 2"):
        store.read(3)
    with pytest.raises(DatasetError, match="no dataset"):
        EpisodeStore.open(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="record into another folder"):
        store.append(make_episode(size=64))
    with pytest.raises(DatasetError, match="one length"):
        dataclasses.replace(make_episode(), done=np.zeros(3, bool))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("mine")
    with pytest.raises(DatasetError, match="not empty"):
        EpisodeStore(tmp_path / "full")
    with store.lock(), pytest.raises(DatasetError, match="another process"):
        EpisodeStore.open(dataset).append(make_episode())


WRITER = """
import sys
from dexhil_env.store import EpisodeStore
from tests.unit.helpers import make_episode
store = EpisodeStore(sys.argv[1])
for seed in range(1000):
    store.append(make_episode(60, seed=seed, size=64))
    print(seed, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.013, 0.031])
def test_kill_9_while_recording_loses_at_most_the_open_episode(tmp_path, delay_s):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}
    )
    finished = -1
    for line in process.stdout:
        finished = int(line)
        if finished >= 2:
            break
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    finished = int(rest[-1]) if rest else finished
    assert repair(tmp_path / "data").problems == []
    store = EpisodeStore.open(tmp_path / "data")
    assert len(store) >= finished + 1
    for index in range(len(store)):
        assert same(store.read(index), make_episode(60, seed=index, size=64))


def test_a_full_disk_costs_nothing_that_is_finished(dataset, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    store = EpisodeStore.open(dataset)
    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(OSError, match="No space"):
        store.append(make_episode())
    monkeypatch.undo()
    assert check(dataset).problems == []
    EpisodeStore.open(dataset).append(make_episode())
    assert check(dataset).problems == []
