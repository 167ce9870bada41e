"""``dexhil study run | status | report``: the paper's experiment, with the statistics that 20 trials cannot give."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from agents.study.cells import all_cells
from agents.study.config import StudyConfig, moved, read_config, smoke
from agents.study.runner import gather, run_study
from agents.study.runner import status as cell_status
from agents.workers import default_workers

Folder = Annotated[Path, tyro.conf.Positional]


PRESETS: dict[str, Callable[[], StudyConfig]] = {"paper": StudyConfig, "moved": moved, "quick": smoke}


def run(
    folder: Folder,
    config: StudyConfig = StudyConfig(),
    preset: Literal["paper", "moved", "quick"] = "paper",
    quick: bool = False,
    workers: int | None = None,
) -> None:
    """Run a study, or go on with it: arms x rounds x training seeds, both tasks in one policy.

    The folder is the study: start the same command again after an interruption, or at the same time on other machines that see the
    folder, and they share the work. Costs about 5 CPU minutes per cell; the list of cells comes first.

    Args:
        folder: study folder; one that holds a study goes on with its own settings.
        config: the whole study; the defaults are the study in docs/study.md.
        preset: paper, the study in docs/study.md; moved, where scenes vary more than in the offline demonstrations; quick, a study of
            seconds that proves the machinery. Any but paper replaces --config.
        quick: the same as --preset quick.
        workers: processes on this machine; by default one per processor.
    """
    preset = "quick" if quick else preset
    if preset != "paper":
        config = PRESETS[preset]()
    elif (folder / "config.json").exists() and config == StudyConfig():
        config = read_config(folder)
    workers = workers or default_workers()
    cells = all_cells(config)
    print(f"{len(cells)} cells: {len(config.arms)} arms x {config.rounds} rounds x {len(config.seeds)} training seeds, {workers} workers")
    started = time.monotonic()
    run_study(config, folder, workers)
    print(f"all {len(cells)} cells are done ({time.monotonic() - started:.0f} s). Next: dexhil study report {folder}")


def status(folder: Folder) -> None:
    """Show which cells are done.

    Args:
        folder: study folder.
    """
    words: dict[str, dict[str, list[str]]] = {}
    signs = {"done": "[green]●[/]", "running": "[yellow]◐[/]", "ready": "○", "waiting": "[dim]·[/]"}
    for cell, word in cell_status(read_config(folder), folder):
        words.setdefault(cell.arm, {}).setdefault(str(cell.round), []).append(signs[word])
    rounds = sorted({number for arm in words.values() for number in arm})
    table = Table("arm", *(f"round {number}" for number in rounds), title=f"{folder}: one sign per training seed")
    for arm, by_round in words.items():
        table.add_row(arm, *("".join(by_round.get(number, [])) for number in rounds))
    console = Console()
    console.print(table)
    console.print("  ".join(f"{sign} {word}" for word, sign in signs.items()))


def report(source: Folder, docs: Path | None = None, out: Path | None = None) -> None:
    """Write tables and figures of a study, finished or not, from its small JSON; the same input gives the same bytes.

    Args:
        source: study folder, or a folder (or file) with a stored study.json.
        docs: also refresh the tables in this document (or in study.md of this folder) and its figures in media/ beside it.
        out: also copy study.json there, to keep it in a repository.
    """
    from agents.study.report import write_study_report

    if (source / "config.json").exists():
        gather(source)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "study.json").write_bytes((source / "study.json").read_bytes())
    print(f"report: {write_study_report(source, docs)}")


COMMANDS = {"run": run, "status": status, "report": report}
