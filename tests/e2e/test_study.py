"""The study as a user runs it: killed in the middle, continued by the same command, reported from its small JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.study.cells import RESULT, Cell
from agents.study.config import smoke
from agents.study.runner import run_study

DEXHIL = [str(Path(sys.executable).parent / "dexhil")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick study whose first process was killed after its first cell."""
    folder = tmp_path_factory.mktemp("study") / "quick"
    command = [*DEXHIL, "study", "run", str(folder), "--quick", "--workers", "1"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True)
    first = Cell(0, "warmup", 0).folder(folder) / RESULT
    deadline = time.monotonic() + 120
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)  # into the next cell
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert first.exists()
    before = first.stat().st_mtime_ns
    run_study(smoke(), folder, workers=1, progress=False)
    assert first.stat().st_mtime_ns == before
    return folder


def test_killed_study_goes_on(study: Path) -> None:
    found = json.loads((study / "study.json").read_text())
    assert [(cell["arm"], cell["round"]) for cell in found["cells"]] == [
        ("expert", 0), ("warmup", 0), ("baseline", 1), ("dagger", 1), ("dexhil", 1),
    ]  # fmt: skip
    cells = {cell["arm"]: cell for cell in found["cells"]}
    for arm in ("warmup", "baseline", "dagger", "dexhil"):
        for result in cells[arm]["evaluation"].values():
            assert result["n_episodes"] == len(result["seeds"]) == len(result["modes"]) == 1
    assert cells["dagger"]["data_from"] == "dexhil"
    assert cells["dexhil"]["training"]["anchors"]["demo"] < cells["baseline"]["training"]["anchors"]["demo"]
    assert cells["baseline"]["collection"]["DexHiL-PlushSim-v0"]["demonstration_s"] > 0
    assert set(cells["expert"]["alarms"]) == set(found["config"]["env_ids"])


def test_arms_share_scenes_but_not_evaluation_seeds(study: Path) -> None:
    cells = {cell["arm"]: cell for cell in json.loads((study / "study.json").read_text())["cells"]}
    collected = {seed for cell in cells.values() for part in cell["collection"].values() for seed in part["seeds"]}
    evaluated = {seed for cell in cells.values() for part in cell["evaluation"].values() for seed in part["seeds"]}
    assert collected
    assert evaluated
    assert not collected & evaluated


def test_status_and_report(study: Path, tmp_path: Path) -> None:
    shown = subprocess.run([*DEXHIL, "study", "status", str(study)], capture_output=True, text=True, check=True).stdout
    assert "dexhil" in shown
    assert "done" in shown
    subprocess.run([*DEXHIL, "study", "report", str(study), "--out", str(tmp_path / "kept")], check=True, capture_output=True)
    again = subprocess.run([*DEXHIL, "study", "report", str(tmp_path / "kept")], check=True, capture_output=True, text=True).stdout
    assert "study.html" in again
    assert "DexHiL" in (tmp_path / "kept" / "study.html").read_text()


def test_other_settings_are_refused(study: Path) -> None:
    refused = subprocess.run([*DEXHIL, "study", "run", str(study), "--config.demos", "5"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "demos" in refused.stderr
    assert "choose another folder" in refused.stderr
