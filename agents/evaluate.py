"""Success rates with n, seeds and intervals; paired comparisons on equal seeds."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from agents.job import Job
from agents.recovery import GoOn, ask_to_recover
from agents.rollouts import run_many
from agents.statistics import Paired, compare_paired, wilson_interval
from agents.workers import Workers
from dexhil_env.errors import DatasetError
from dexhil_env.store.files import write_json


@dataclass(frozen=True)
class EvalResult:
    """What an evaluation found.

    Attributes:
        env_id: environment.
        policy: policy word or folder.
        seeds: one per episode.
        success: per episode.
        steps: length of each episode in control periods.
        failures: per episode, True where the task became impossible (the toy fell, the tissue was lost).
        eval_s: wall time of the whole evaluation [s].
        settings: what else distinguishes this evaluation.
        modes: how each episode ended, ``"success"`` or a key of ``agents.failure_modes.CAUSES``; empty where nothing watched.
        alarms: the simulated human's first alarm of each episode, or None; empty without one.
    """

    env_id: str
    policy: str
    seeds: tuple[int, ...]
    success: tuple[bool, ...]
    steps: tuple[int, ...]
    failures: tuple[bool, ...]
    eval_s: float
    settings: dict[str, Any]
    modes: tuple[str, ...] = ()
    alarms: tuple[str | None, ...] = ()

    @property
    def n_success(self) -> int:
        """Number of successful episodes."""
        return sum(self.success)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate, as fractions."""
        return wilson_interval(self.n_success, len(self.seeds))

    def to_json(self) -> dict[str, Any]:
        """Return JSON-serialisable results under LeRobot's keys, with seeds and intervals."""
        n = len(self.seeds)
        times = [steps / 20 for steps, won in zip(self.steps, self.success, strict=True) if won]
        return {
            "n_episodes": n,
            "n_success": self.n_success,
            "pc_success": 100.0 * self.n_success / n if n else 0.0,
            "pc_success_ci95": [100.0 * bound for bound in self.interval],
            "mean_time_to_success_s": sum(times) / len(times) if times else None,
            **asdict(self),
        }

    def save(self, path: str | Path) -> None:
        """Write the results as JSON, whole or not at all."""
        write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "EvalResult":
        """Read saved results.

        Raises:
            DatasetError: the file is missing or not an evaluation.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            names = ("env_id", "policy", "seeds", "success", "steps", "failures", "eval_s", "settings")
            values: dict[str, Any] = {name: tuple(content[name]) if isinstance(content[name], list) else content[name] for name in names}
            return cls(**values, modes=tuple(content.get("modes", ())), alarms=tuple(content.get("alarms", ())))
        except (OSError, KeyError, ValueError) as error:
            raise DatasetError(f"{path} is not an evaluation written by `dexhil eval --json`: {error}") from error

    def against(self, before: "EvalResult") -> Paired:
        """Compare with an earlier policy on the same seeds.

        Raises:
            DatasetError: the seeds differ.
        """
        if before.seeds != self.seeds:
            raise DatasetError(
                "a paired comparison needs the same seeds in both evaluations; run `dexhil eval` with the same --seed and --episodes"
            )
        return compare_paired(before.success, self.success)


def evaluate(job: Job, seeds: Sequence[int], workers: Workers = 1, progress: bool = True, go_on: GoOn = ask_to_recover) -> EvalResult:
    """Run one episode per seed and count; ``go_on`` is asked when a robot has stopped, and that episode counts as no success."""
    started = time.monotonic()
    job = replace(job, keep_images=False)
    success: list[bool] = []
    steps: list[int] = []
    failures: list[bool] = []
    modes: list[str] = []
    alarms: list[str | None] = []
    with tqdm(total=len(seeds), desc=f"eval {job.env_id.split('-')[1]}", unit="ep", disable=not progress) as bar:
        for episode in run_many(job, seeds, workers, go_on):
            success.append(episode.is_success)
            steps.append(len(episode))
            failures.append(bool(episode.done[-1] and not episode.truncated[-1] and not episode.is_success))
            modes += [episode.extra["mode"]] if "mode" in episode.extra else []
            alarms += [episode.extra["first_alarm"]] if "first_alarm" in episode.extra else []
            bar.update()
            bar.set_postfix_str(f"{sum(success)}/{len(success)} succeeded")
    settings: dict[str, Any] = {"env_kwargs": dict(job.env_kwargs), "operator": None if job.operator is None else asdict(job.operator)}
    settings |= {} if job.delay is None else {"delay": job.delay}
    wall_s = time.monotonic() - started
    return EvalResult(
        env_id=job.env_id, policy=job.policy, seeds=tuple(seeds), success=tuple(success), steps=tuple(steps), failures=tuple(failures),
        eval_s=wall_s, settings=settings, modes=tuple(modes), alarms=tuple(alarms),
    )  # fmt: skip


def evaluate_once(
    path: str | Path, job: Job, seeds: Sequence[int], workers: Workers = 1, progress: bool = True, go_on: GoOn = ask_to_recover
) -> EvalResult:
    """Evaluate like :func:`evaluate` and keep the result in ``path``; one on the same seeds that is there already is read back instead."""
    if Path(path).exists() and (found := EvalResult.load(path)).seeds == tuple(seeds):
        return found
    result = evaluate(job, seeds, workers, progress, go_on)
    result.save(path)
    return result
