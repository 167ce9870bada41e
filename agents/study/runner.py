"""Runs the grid: one process or many, on one machine or several that share the folder; what is done is never done again."""

import fcntl
import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from agents.settings import changed
from agents.study.arms import ARMS
from agents.study.cells import RESULT, Cell, CellRunner, all_cells
from agents.study.config import StudyConfig, described
from agents.trainlog import circumstances
from dexhil_env.errors import ConfigError, DatasetError
from dexhil_env.store.files import write_json

CLAIM: Final = "claim.json"
BEAT_S, STALE_S, WAIT_S = 5.0, 300.0, 5.0
"""A worker shows that it lives every BEAT_S; after STALE_S of silence its cell may be taken over; idle workers look every WAIT_S."""
_FREE: Final = ("arms", "every_round", "seeds", "rounds", "eval_episodes", "definitions")
"""Settings that may grow later without changing what finished cells mean."""


def open_study(config: StudyConfig, folder: Path) -> None:
    """Write the configuration, or check that the folder holds the same study.

    Raises:
        ConfigError: it holds another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    wanted = json.loads(json.dumps(described(config)))
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = changed(wanted, found, _FREE)
        shared = sorted(set(wanted["definitions"]) & set(found["definitions"]))
        for arm in shared:
            differing += changed(wanted["definitions"][arm], found["definitions"][arm], ("title", "note"), f"definitions.{arm}.")
        if differing:
            raise ConfigError(f"{folder} holds a study with other settings: {'; '.join(differing)}; choose another folder")
    write_json(path, wanted)


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claim a cell's folder for this process; yields False if another living process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CLAIM
    owner = {"host": socket.gethostname(), "pid": os.getpid()}
    _clear_abandoned(path)
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(owner, file)
    except FileExistsError:
        yield False
        return
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, over), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        over.set()
        beat.join()
        path.unlink(missing_ok=True)


def _orphaned() -> bool:
    """Whether the process that started this worker is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _clear_abandoned(path: Path) -> None:
    """Remove the claim of a dead process; a lock keeps two processes from removing each other's new claim."""
    with path.with_name(".claim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and _abandoned(path):
            path.unlink()


def _beat(path: Path, over: threading.Event) -> None:
    """Thread: show that this process lives; end it when the one that started it is gone, or it would work on unseen."""
    while not over.wait(BEAT_S):
        if _orphaned():
            os.kill(os.getpid(), signal.SIGTERM)
        if path.exists():
            path.touch()


def _abandoned(path: Path) -> bool:
    """Whether the owner of a claim is dead (on this machine) or silent (on another)."""
    try:
        owner, age = json.loads(path.read_text(encoding="utf-8")), time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    except ValueError:
        return time.time() - path.stat().st_mtime > STALE_S
    if owner["host"] == socket.gethostname():
        try:
            os.kill(int(owner["pid"]), 0)
        except ProcessLookupError:
            return True
    return age > STALE_S


def work(config: StudyConfig, folder: Path, progress: bool = False) -> int:
    """Do cells until none is left; return how many this process did."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cells, finished = all_cells(config), 0
    while True:
        open_cells = [cell for cell in cells if not cell.done(folder)]
        if not open_cells or _orphaned():
            return finished
        ready = [cell for cell in open_cells if all(need.done(folder) for need in cell.needs())]
        if not any(_do(config, folder, cell, progress) for cell in ready):
            time.sleep(WAIT_S)
        else:
            finished += 1


def _do(config: StudyConfig, folder: Path, cell: Cell, progress: bool) -> bool:
    """Run one cell unless somebody else does."""
    if cell.done(folder) or _orphaned():
        return False
    with claimed(cell.folder(folder)) as mine:
        if not mine or cell.done(folder):
            return False
        started = time.monotonic()
        _say(f"{cell.name}: started")
        CellRunner(config, folder, cell, progress).run()
        cells = all_cells(config)
        count = sum(other.done(folder) for other in cells)
        _say(f"{cell.name}: done in {time.monotonic() - started:.0f} s; {count} of {len(cells)} cells")
        return True


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201  (progress of a long command, from several processes)


def run_study(config: StudyConfig, folder: Path, workers: int = 1, progress: bool = True) -> None:
    """Run or continue a study.

    Args:
        config: the study.
        folder: its folder; start the same command on other machines that see this folder and they share the work.
        workers: processes on this machine.
        progress: show progress bars (one worker) or a line per cell.

    Raises:
        DatasetError: a worker process died; what it had finished is kept.
    """
    open_study(config, folder)
    if workers <= 1:
        work(config, folder, progress)
    else:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=work, args=(config, folder)) for _ in range(workers)]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join()
        finally:
            for process in processes:
                process.terminate()  # no effect on one that has ended
        if any(process.exitcode for process in processes):
            raise DatasetError("a worker stopped with an error (see above); finished cells are kept, the same command goes on from there")
    gather(folder)


def gather(folder: Path) -> Path:
    """Collect all finished cells into ``study.json``, the small file that tables and figures are made of.

    Raises:
        DatasetError: it is no study, or nothing is finished yet.
    """
    path = folder / "config.json"
    if not path.exists():
        raise DatasetError(f"{folder} is no study (config.json is missing); start one with `dexhil study run {folder}`")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    files = sorted(folder.glob(f"seed-*/*/round-*/{RESULT}"))
    if not files:
        raise DatasetError(f"{folder} has no finished cell yet")
    cells = sorted((json.loads(file.read_text(encoding="utf-8")) for file in files), key=_order)
    titles = {name: {"title": arm.title, "note": arm.note} for name, arm in ARMS.items() if name in config["arms"]}
    facts = {key: value for key, value in circumstances().items() if key != "command"}
    content = {"config": config, "arms": titles, "circumstances": facts, "cells": cells}
    write_json(folder / "study.json", content)
    return folder / "study.json"


def _order(cell: dict[str, Any]) -> tuple[int, str, int]:
    return cell["round"], cell["arm"], cell["seed"]


def status(config: StudyConfig, folder: Path) -> list[tuple[Cell, str]]:
    """Return every cell with ``done``, ``running``, ``ready`` or ``waiting``."""
    found: list[tuple[Cell, str]] = []
    for cell in all_cells(config):
        claim = cell.folder(folder) / CLAIM
        if cell.done(folder):
            word = "done"
        elif claim.exists() and not _abandoned(claim):
            word = "running"
        else:
            word = "ready" if all(need.done(folder) for need in cell.needs()) else "waiting"
        found.append((cell, word))
    return found
