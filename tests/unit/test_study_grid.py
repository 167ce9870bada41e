"""The grid: what waits for what, who does what, and what a dead worker leaves behind."""

import json
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.study.arms import ARMS, DEFAULT_ARMS, MAIN_ARMS
from agents.study.cells import RESULT, Cell, all_cells
from agents.study.config import StudyConfig, described, read_config, smoke
from agents.study.runner import CLAIM, STALE_S, claimed, open_study, status
from dexhil_env.errors import ConfigError
from dexhil_env.store.files import write_json


def test_every_cell_comes_after_what_it_needs() -> None:
    cells = all_cells(StudyConfig())
    for index, cell in enumerate(cells):
        assert all(need in cells[:index] for need in cell.needs()), cell
    assert len(cells) == len(set(cells)) == 3 * (1 + len(DEFAULT_ARMS) * 3) + 1
    main = [cell for cell in cells if cell.arm in MAIN_ARMS]
    others = [cell for cell in cells if cell.arm in set(ARMS) - set(MAIN_ARMS)]
    assert max(map(cells.index, main)) < min(map(cells.index, others))


def test_arms_that_share_data_wait_for_it() -> None:
    assert Cell(1, "dexhil", 2) in Cell(1, "dagger", 2).needs()
    assert Cell(1, "warmup", 0) in Cell(1, "dagger", 1).needs()
    assert Cell(0, "baseline", 3).needs() == [Cell(0, "baseline", 2)]
    with pytest.raises(ConfigError, match="dexhil"):
        StudyConfig(arms=("dagger",), every_round=())
    with pytest.raises(ConfigError, match="mystery"):
        StudyConfig(arms=("mystery",))


def test_configuration_survives_its_file(tmp_path: Path) -> None:
    config = replace(StudyConfig(), env_kwargs={"DexHiL-PlushSim-v0": {"toy_y_m": [-0.1, 0.1]}}, seeds=(4, 7))
    open_study(config, tmp_path)
    assert read_config(tmp_path) == config
    open_study(replace(config, seeds=(4, 7, 8), rounds=4, arms=("dexhil",), every_round=("dexhil",)), tmp_path)
    with pytest.raises(ConfigError, match="demos"):
        open_study(replace(config, demos=3), tmp_path)


def test_changed_definition_of_an_arm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_study(smoke(), tmp_path)
    monkeypatch.setitem(ARMS, "dagger", replace(ARMS["dagger"], filters=replace(ARMS["dagger"].filters, drop_failures=False)))
    with pytest.raises(ConfigError, match=r"definitions\.dagger"):
        open_study(smoke(), tmp_path)
    assert described(smoke())["definitions"]["dagger"]["filters"]["drop_failures"] is False


def test_only_one_process_gets_a_cell(tmp_path: Path) -> None:
    with claimed(tmp_path) as first, claimed(tmp_path) as second:
        assert first
        assert not second
    with claimed(tmp_path) as again:
        assert again
    assert not (tmp_path / CLAIM).exists()


@pytest.mark.parametrize(
    ("host", "pid", "age", "free"),
    [("here", 2**22 + 1, 0, True), ("here", None, 0, False), ("far", 1, 0, False), ("far", 1, STALE_S + 60, True)],
)
def test_a_dead_owner_loses_its_claim(tmp_path: Path, host: str, pid: int | None, age: float, free: bool) -> None:
    path = tmp_path / CLAIM
    write_json(path, {"host": socket.gethostname() if host == "here" else host, "pid": pid or os.getpid()})
    os.utime(path, (time.time() - age, time.time() - age))
    with claimed(tmp_path) as mine:
        assert mine is free


def test_status_names_every_cell(tmp_path: Path) -> None:
    config = smoke()
    open_study(config, tmp_path)
    done = Cell(0, "warmup", 0).folder(tmp_path)
    done.mkdir(parents=True)
    (done / RESULT).write_text(json.dumps({}))
    with claimed(Cell(0, "baseline", 1).folder(tmp_path)):
        words = dict(status(config, tmp_path))
    assert words[Cell(0, "warmup", 0)] == "done"
    assert words[Cell(0, "baseline", 1)] == "running"
    assert words[Cell(0, "dexhil", 1)] == "ready"
    assert words[Cell(0, "dagger", 1)] == "waiting"
