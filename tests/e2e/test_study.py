"""The study as a user runs it: killed in the middle, continued by the same command, reported from its small JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agents.study.cells import RESULT, Cell, all_cells
from agents.study.config import smoke
from agents.study.runner import run_study

DEXHIL = [str(Path(sys.executable).parent / "dexhil")]


def _eventually(look: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Return the first true answer of ``look``."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(ValueError, FileNotFoundError):  # a file that is just being written, or gone
            if found := look():
                return found
        time.sleep(0.05)
    raise AssertionError(f"it did not happen within {within_s} s")


def _owners(folder: Path) -> list[int]:
    """Return the processes that work on cells."""
    return [json.loads(path.read_text())["pid"] for path in folder.glob("seed-*/*/round-*/claim.json")]


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


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_command(how: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    process = subprocess.Popen(
        [*DEXHIL, "study", "run", str(folder), "--quick", "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    owners = _eventually(lambda: _owners(folder) if len(_owners(folder)) == 2 else [])
    process.send_signal(how)
    process.wait(30)
    assert _eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in owners))
    done = len(list(folder.glob(f"seed-*/*/round-*/{RESULT}")))
    assert done < len(all_cells(smoke())), "they have ended because they had finished"


def test_killed_study_goes_on(study: Path) -> None:
    found = json.loads((study / "study.json").read_text())
    assert [(cell["arm"], cell["round"]) for cell in found["cells"]] == [
        ("expert", 0), ("warmup", 0), ("baseline", 1), ("dagger", 1), ("dexhil", 1), ("on-site", 1),
    ]  # fmt: skip
    cells = {cell["arm"]: cell for cell in found["cells"]}
    for arm in ("warmup", "baseline", "dagger", "dexhil", "on-site"):
        for result in cells[arm]["evaluation"].values():
            assert result["n_episodes"] == len(result["seeds"]) == len(result["modes"]) == 1
    assert cells["dagger"]["data_from"] == "dexhil"
    assert cells["dexhil"]["training"]["anchors"]["demo"] < cells["baseline"]["training"]["anchors"]["demo"]
    for arm in ("baseline", "on-site"):
        assert cells[arm]["collection"]["DexHiL-PlushSim-v0"]["demonstration_s"] > 0
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
