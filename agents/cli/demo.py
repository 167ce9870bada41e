"""``dexhil demo``: the whole story in minutes, on a laptop."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from agents.dagger import DaggerRun, RunConfig
from agents.evaluate import EvalResult
from agents.report import write_report
from agents.statistics import compare_paired, wilson_interval
from agents.workers import default_workers
from dexhil_env.registration import ENV_IDS, task_name

Task = Literal["both", "plush", "tissue"]
SHIPPED = Path(__file__).resolve().parents[2] / "examples" / "first_light"
"""Demonstrations and warm-up policy of the demo; ``python examples/make_first_light.py`` makes them anew."""


def demo_config(task: Task = "both") -> RunConfig:
    """Return the run that the demo shows: a weak warm-up and one round of ten corrections per task."""
    env_ids = {"both": ENV_IDS, "plush": ENV_IDS[:1], "tissue": ENV_IDS[1:]}[task]
    return RunConfig(env_ids=env_ids, rounds=1, eval_episodes=40)


def demo(out: Path = Path("runs/demo"), task: Task = "both", fresh: bool = False, workers: int | None = None, videos: int = 1) -> None:
    """Warm-up, evaluation, one round of human correction, weighted retraining, evaluation on the same seeds, report.

    The human is simulated. The same command continues an interrupted demo; delete the folder to start over.

    Args:
        out: run folder.
        task: both (one policy, told apart by the instruction), plush or tissue.
        fresh: record the demonstrations and train the warm-up here (10 minutes more); always so for a single task.
        workers: processes; by default one per processor.
        videos: filmed seeds for the report.
    """
    console = Console()
    started = time.monotonic()
    config = demo_config(task)
    if task == "both" and not fresh and not out.exists() and SHIPPED.exists():
        shutil.copytree(SHIPPED, out)
        console.print(
            f"[bold]1/6[/] {config.demos} demonstrations per task and the warm-up policy ship with the repository (--fresh makes them)"
        )
    else:
        console.print(f"[bold]1/6[/] recording {config.demos} demonstrations per task and training the warm-up policy")
    run = DaggerRun(config, out, workers or default_workers())
    run.collect_demonstrations()
    run.train_warmup()
    console.print(f"[bold]2/6[/] how good is the warm-up policy? {config.eval_episodes} seeds per task that it has never seen")
    before = run.evaluate("round-0")
    console.print(
        f"[bold]3/6[/] deploying it under the eye of the simulated human, until {config.corrections} episodes per task are corrected"
    )
    run.collect_corrections(1)
    console.print("[bold]4/6[/] retraining, corrections weighted up to half of the objective (paper, eq. 7)")
    run.train_round(1)
    console.print("[bold]5/6[/] how good is it now? the same seeds")
    after = run.evaluate("round-1")
    console.print("[bold]6/6[/] filming and writing the report")
    page = write_report(out, videos)
    table = comparison_table(before, after)
    console.print(table)
    console.print(
        f"seeds {config.eval_seed} to {config.eval_seed + config.eval_episodes - 1}; {(time.monotonic() - started) / 60:.1f} minutes"
    )
    console.print(f"report: [link=file://{page.resolve()}]{page}[/link]  (open it in a browser)")


def comparison_table(before: dict[str, EvalResult], after: dict[str, EvalResult]) -> Table:
    """Lay out success before and after on the same seeds, per task and over all."""
    table = Table("task", "before", "after", "difference, 95 % interval", "McNemar p")
    rows = [(task_name(env_id), before[env_id].success, after[env_id].success) for env_id in after]
    if len(rows) > 1:
        rows.append(("all", sum((row[1] for row in rows), ()), sum((row[2] for row in rows), ())))
    for name, first, second in rows:
        pair = compare_paired(first, second)
        difference = f"{100 * pair.difference:+.0f} points [{100 * pair.low:+.0f}, {100 * pair.high:+.0f}]"
        table.add_row(name, _rate(first), _rate(second), difference, f"{pair.p_value:.2g}")
    return table


def _rate(success: Sequence[bool]) -> str:
    low, high = wilson_interval(sum(success), len(success))
    return f"{sum(success)}/{len(success)} = {sum(success) / len(success):.0%}  [{low:.0%}, {high:.0%}]"


def make_first_light() -> None:
    """Make the shipped demonstrations and warm-up policy anew."""
    shutil.rmtree(SHIPPED, ignore_errors=True)
    run = DaggerRun(replace(demo_config(), eval_episodes=0), SHIPPED, default_workers())
    run.collect_demonstrations()
    run.train_warmup()
    train = SHIPPED / "round-0/train"
    for leftover in (*train.glob("resume*"), SHIPPED / "config.json", SHIPPED / "data/meta/.lock"):
        leftover.unlink()
    for folder in (train / "tensorboard", SHIPPED / "data/.cache"):
        shutil.rmtree(folder, ignore_errors=True)
