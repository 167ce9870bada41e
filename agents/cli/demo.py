"""``dexhil demo``: the whole story in minutes, on a laptop."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from agents.dagger import DaggerRun, RunConfig
from agents.evaluate import EvalResult
from agents.report import write_report
from agents.rollouts import default_workers
from agents.trainer import TrainConfig
from dexhil_env.registration import ENV_IDS

Task = Literal["plush", "tissue"]
SHIPPED = Path(__file__).resolve().parents[2] / "examples" / "first_light"
"""Demonstrations and warm-up policy of the demo's task; ``python examples/make_first_light.py`` makes them anew."""


def demo_config(task: Task = "plush") -> RunConfig:
    """Return the run that the demo shows: one task, a weak warm-up, one round of ten corrections."""
    return RunConfig(
        env_ids=(ENV_IDS[0] if task == "plush" else ENV_IDS[1],),
        demos=12,
        corrections=10,
        rounds=1,
        warmup=TrainConfig(steps=900),
        round=TrainConfig(steps=600, lr=3e-4, warmup=50),
        eval_episodes=40,
    )


def demo(out: Path = Path("runs/demo"), task: Task = "plush", fresh: bool = False, workers: int | None = None, videos: int = 1) -> None:
    """Warm-up, evaluation, one round of human correction, weighted retraining, evaluation on the same seeds, report.

    The human is simulated. The same command continues an interrupted demo; delete the folder to start over.

    Args:
        out: run folder.
        task: plush or tissue.
        fresh: record the demonstrations and train the warm-up here instead of using the ones that ship (plush only).
        workers: processes; by default one per processor.
        videos: filmed seeds for the report.
    """
    console = Console()
    started = time.monotonic()
    config = demo_config(task)
    shipped = SHIPPED / task
    if not fresh and not out.exists() and shipped.exists():
        shutil.copytree(shipped, out)
        console.print(
            f"[bold]1/6[/] {config.demos} demonstrations and the warm-up policy ship with the repository (--fresh makes them here)"
        )
    else:
        console.print(f"[bold]1/6[/] recording {config.demos} demonstrations and training the warm-up policy")
    run = DaggerRun(config, out, workers or default_workers())
    run.collect_demonstrations()
    run.train_warmup()
    console.print(f"[bold]2/6[/] how good is the warm-up policy? {config.eval_episodes} seeds it has never seen")
    before = run.evaluate("round-0")
    console.print(f"[bold]3/6[/] deploying it under the eye of the simulated human, until {config.corrections} episodes are corrected")
    run.collect_corrections(1)
    console.print("[bold]4/6[/] retraining, corrections weighted up to half of the objective (paper, eq. 7)")
    run.train_round(1)
    console.print("[bold]5/6[/] how good is it now? the same seeds")
    after = run.evaluate("round-1")
    console.print("[bold]6/6[/] filming and writing the report")
    page = write_report(out, videos)
    table = Table("task", "before", "after", "difference, 95 % interval", "McNemar p")
    for env_id, result in after.items():
        pair = result.against(before[env_id])
        cells = [_rate(before[env_id]), _rate(result)]
        difference = f"{100 * pair.difference:+.0f} points [{100 * pair.low:+.0f}, {100 * pair.high:+.0f}]"
        table.add_row(task, *cells, difference, f"{pair.p_value:.2g}")
    console.print(table)
    console.print(
        f"seeds {config.eval_seed} to {config.eval_seed + config.eval_episodes - 1}; {(time.monotonic() - started) / 60:.1f} minutes"
    )
    console.print(f"report: [link=file://{page.resolve()}]{page}[/link]  (open it in a browser)")


def _rate(result: EvalResult) -> str:
    low, high = result.interval
    return f"{result.n_success}/{len(result.seeds)} = {result.n_success / len(result.seeds):.0%}  [{low:.0%}, {high:.0%}]"


def make_first_light(task: Task = "plush") -> None:
    """Make the shipped demonstrations and warm-up policy anew."""
    target = SHIPPED / task
    shutil.rmtree(target, ignore_errors=True)
    run = DaggerRun(replace(demo_config(task), eval_episodes=0), target, default_workers())
    run.collect_demonstrations()
    run.train_warmup()
    for leftover in (target / "round-0/train").glob("resume*"):
        leftover.unlink()
    shutil.rmtree(target / "round-0/train/tensorboard", ignore_errors=True)
    shutil.rmtree(target / "data/.cache", ignore_errors=True)
    (target / "config.json").unlink()
