"""One cell of the grid: an arm, a round, a training seed. It needs the cells before it and leaves one folder.

seed-0/dexhil/round-1/            train/policy, eval-<env>.json, cost.json, result.json (written last)
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agents.data import ChunkDataset
from agents.evaluate import EvalResult, evaluate, evaluate_once
from agents.filters import FilterConfig
from agents.policy import VLAPolicy, load_policy
from agents.study.arms import ARMS, EXPERT, WARMUP
from agents.study.config import StudyConfig
from agents.study.facts import training_facts
from agents.study.recordings import Recordings
from agents.trainer import POLICY_FOLDER, train
from agents.vla.config import VLAConfig
from agents.weights import WeightConfig
from dexhil_env.store.files import write_json

RESULT = "result.json"


@dataclass(frozen=True, order=True)
class Cell:
    """A place in the grid."""

    seed: int
    arm: str
    round: int

    @property
    def name(self) -> str:
        """Readable name."""
        return f"seed {self.seed} {self.arm}" + (f" round {self.round}" if self.round else "")

    def folder(self, study: Path) -> Path:
        """Where its results are."""
        return study / f"seed-{self.seed}" / self.arm / f"round-{self.round}"

    def done(self, study: Path) -> bool:
        """Whether nothing is left to do."""
        return (self.folder(study) / RESULT).exists()

    def needs(self) -> list["Cell"]:
        """Cells that must be done before."""
        if self.round == 0:
            return []
        before = [Cell(self.seed, self.arm if self.round > 1 else WARMUP, self.round - 1)]
        arm = ARMS[self.arm]
        return before + ([Cell(self.seed, arm.share, self.round)] if arm.data == "shared" else [])


def all_cells(config: StudyConfig) -> list[Cell]:
    """Every cell, in the order in which results are wanted: the paper's arms first, round by round; then the others."""
    cells = [Cell(seed, WARMUP, 0) for seed in config.seeds] + [Cell(config.seeds[0], EXPERT, 0)]
    for group in ([a for a in config.arms if a in config.every_round], [a for a in config.arms if a not in config.every_round]):
        names = [(index, arm) for index in range(1, config.rounds + 1) for arm in group]
        if group and group[0] not in config.every_round:
            names = [(index, arm) for arm in group for index in range(1, config.rounds + 1)]
        cells += [Cell(seed, arm, index) for index, arm in names for seed in config.seeds]
    return cells


class CellRunner:
    """Does whatever is not done yet of one cell."""

    def __init__(self, config: StudyConfig, study: Path, cell: Cell, progress: bool = False) -> None:
        self.config, self.study, self.cell, self.progress = config, study, cell, progress
        self.folder = cell.folder(study)
        self.home = study / f"seed-{cell.seed}"
        self.recordings = Recordings(config, self.home, cell.seed, cell.arm, cell.round, progress=progress)
        self.cost: dict[str, dict[str, float]] = {}

    def run(self) -> None:
        """Collect, train, evaluate, and write the result last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "cost.json"
        self.cost = json.loads(path.read_text()) if path.exists() else {"cpu_s": {}, "wall_s": {}}
        result = self._expert() if self.cell.arm == EXPERT else self._learner()
        write_json(self.folder / RESULT, {**asdict(self.cell), **result, **self.cost})

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add what a stage costs; the time of a killed process is lost."""
        cpu, wall = time.process_time(), time.monotonic()
        yield
        for unit, spent in (("cpu_s", time.process_time() - cpu), ("wall_s", time.monotonic() - wall)):
            self.cost[unit][stage] = round(self.cost[unit].get(stage, 0.0) + spent, 1)
        write_json(self.folder / "cost.json", self.cost)

    def _learner(self) -> dict[str, Any]:
        with self._timed("collect"):
            before = self.cell.needs()
            self.recordings.collect(str(before[0].folder(self.study) / "train" / POLICY_FOLDER) if before else None)
        with self._timed("train"):
            self._train()
        results: dict[str, EvalResult] = {}
        cell, config = self.cell, self.config
        if cell.arm == WARMUP or cell.arm in config.every_round or cell.round == config.rounds:
            for env_id in config.env_ids:
                with self._timed("evaluate"):
                    results[env_id] = self._evaluate(env_id)
        return {
            "evaluation": {env_id: self._portable(result) for env_id, result in results.items()},
            "collection": self.recordings.facts(),
            "training": training_facts(self.folder / "train"),
            **({"data_from": ARMS[cell.arm].share} if cell.arm != WARMUP and ARMS[cell.arm].data == "shared" else {}),
        }

    def _portable(self, result: EvalResult) -> dict[str, Any]:
        """Name the policy relative to the study."""
        return {**result.to_json(), "policy": str(Path(result.policy).relative_to(self.study.resolve()))}

    def _train(self) -> None:
        target, config, cell = self.folder / "train", self.config, self.cell
        if (target / POLICY_FOLDER / "config.json").exists():
            return
        start: VLAPolicy | VLAConfig = config.vla
        training, weights, filters = config.warmup, WeightConfig(mode="none"), FilterConfig()
        if cell.arm != WARMUP:
            start = load_policy(cell.needs()[0].folder(self.study) / "train" / POLICY_FOLDER)
            training, weights, filters = config.round, ARMS[cell.arm].weights, ARMS[cell.arm].filters
        # the round decides the batches too: a warm start must not see the noise of the round before once more
        seed = training.seed + cell.seed * 100 + cell.round
        training = replace(training, seed=seed, weights=weights, progress=self.progress)
        dataset = ChunkDataset(self.recordings.dataset(), config.vla, filters, cache=self.home / "frames")
        train(start, dataset, training, target)

    def _evaluate(self, env_id: str) -> EvalResult:
        path, config = self.folder / f"eval-{env_id}.json", self.config
        seeds = range(config.eval_seed, config.eval_seed + config.eval_episodes)
        job = self.recordings.job(env_id, str((self.folder / "train" / POLICY_FOLDER).resolve()))
        return evaluate_once(path, job, seeds, progress=self.progress)

    def _expert(self) -> dict[str, Any]:
        """Let the simulated human watch its own kind: success is the upper bound, every alarm a false one."""
        watching = replace(self.config.operator, max_interventions=0)
        found: dict[str, Any] = {}
        alarms: dict[str, list[str | None]] = {}
        for env_id in self.config.env_ids:
            seeds = tuple(range(self.config.eval_seed, self.config.eval_seed + self.config.eval_episodes))
            with self._timed("evaluate"):
                job = self.recordings.job(env_id, "expert", watching)
                job = replace(job, env_kwargs={**job.env_kwargs, "cameras": ()})
                result = evaluate(job, seeds, progress=self.progress)
            found[env_id], alarms[env_id] = result.to_json(), list(result.alarms)
        return {"evaluation": found, "collection": {}, "training": {}, "alarms": alarms}
