"""What a study found: ``study.json`` as small typed records, whole or still growing."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.study.arms import EXPERT, MAIN_ARMS, WARMUP
from dexhil_env.errors import DatasetError

FILE = "study.json"
REFERENCE = "dexhil"
"""The arm that every other arm is compared with."""


@dataclass(frozen=True)
class Evaluation:
    """One policy on one task; every field has one entry per episode.

    Attributes:
        seeds: evaluation seeds.
        success: did it succeed.
        steps: length in control periods of 50 ms.
        failures: did the task become impossible.
        modes: how it ended, in a word; empty where it was not recorded.
    """

    seeds: tuple[int, ...]
    success: tuple[bool, ...]
    steps: tuple[int, ...]
    failures: tuple[bool, ...]
    modes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collection:
    """What was recorded on one task for one round.

    Attributes:
        attempts: recorded attempts, of any outcome; what is left of them after the next three failed unaided.
        corrected: attempts with a takeover that ended in success.
        alone: attempts that succeeded without help.
        failed: attempts with a takeover that failed all the same.
        takeovers: number of takeovers.
        reasons: why the person took over -> times.
        demonstration_s, intervention_s, watching_s: human time [s].
    """

    attempts: int = 0
    corrected: int = 0
    alone: int = 0
    failed: int = 0
    takeovers: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    demonstration_s: float = 0.0
    intervention_s: float = 0.0
    watching_s: float = 0.0


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        steps: optimiser steps.
        anchors: class of data -> number of training samples.
        share, target: class of data -> its share before and after weighting (eq. 7).
        losses: (step, loss) pairs.
        first_loss, last_loss: loss at the start and at the end, or None.
    """

    steps: int = 0
    anchors: dict[str, int] = field(default_factory=dict)
    share: dict[str, float] = field(default_factory=dict)
    target: dict[str, float] = field(default_factory=dict)
    losses: tuple[tuple[float, float], ...] = ()
    first_loss: float | None = None
    last_loss: float | None = None


@dataclass(frozen=True)
class Cell:
    """One arm in one round with one training seed.

    Attributes:
        arm, round, seed: which.
        evaluation, collection: by environment; empty where there is none.
        data_from: arm whose recordings it trained on.
        training: how it was trained.
        cpu_s: stage -> processor time [s].
        alarms: environment -> per episode, why the simulated human would have taken over from its own kind, or None (expert cell only).
    """

    arm: str
    round: int
    seed: int
    evaluation: dict[str, Evaluation]
    collection: dict[str, Collection]
    data_from: str
    training: Training
    cpu_s: dict[str, float]
    alarms: dict[str, list[str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study, possibly unfinished.

    Attributes:
        config: its configuration as written.
        titles, notes: arm -> title, one sentence; in order of display, without the warm-up.
        circumstances: free facts about how it was run.
        cells: (arm, round, seed) -> cell; the warm-up is (``"warmup"``, 0, seed), the simulated human itself (``"expert"``, 0, seed).
    """

    config: dict[str, Any]
    titles: dict[str, str]
    notes: dict[str, str]
    circumstances: dict[str, Any]
    cells: dict[tuple[str, int, int], Cell]

    @property
    def env_ids(self) -> tuple[str, ...]:
        """The tasks."""
        return tuple(self.config["env_ids"])

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds that were planned."""
        return tuple(self.config["seeds"])

    @property
    def rounds(self) -> int:
        """The number of rounds that was planned."""
        return int(self.config["rounds"])

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms in order of display, without the warm-up."""
        return tuple(self.titles)

    @property
    def main_arms(self) -> tuple[str, ...]:
        """The arms of the paper's table I that this study has."""
        return tuple(arm for arm in MAIN_ARMS if arm in self.titles)

    @property
    def last_round(self) -> int:
        """The newest round in which the reference was evaluated on every task with any seed; the planned one when there is none."""
        done = [r for r in range(1, self.rounds + 1) if self.evaluations(REFERENCE, r)]
        return max(done, default=self.rounds)

    def title(self, arm: str) -> str:
        """Return the display name of an arm."""
        return {WARMUP: "Warm-up", EXPERT: "Simulated human"}.get(arm) or self.titles.get(arm, arm)

    def cell(self, arm: str, round_index: int, seed: int) -> Cell | None:
        """Return a cell or None; round 0 of every arm is the warm-up; the warm-up and the expert have no other round."""
        if arm == EXPERT:
            return self.cells.get((EXPERT, 0, seed))
        return self.cells.get((WARMUP, 0, seed) if round_index == 0 or arm == WARMUP else (arm, round_index, seed))

    def evaluations(self, arm: str, round_index: int, env_ids: tuple[str, ...] = ()) -> dict[int, tuple[Evaluation, ...]]:
        """Return the evaluations by training seed, one per task, for the seeds that have all of the tasks.

        Args:
            arm: which arm.
            round_index: which round.
            env_ids: tasks; all by default.
        """
        wanted, result = env_ids or self.env_ids, dict[int, tuple[Evaluation, ...]]()
        for seed in self.seeds:
            cell = self.cell(arm, round_index, seed)
            if cell is not None and all(env_id in cell.evaluation for env_id in wanted):
                result[seed] = tuple(cell.evaluation[env_id] for env_id in wanted)
        return result

    def evaluated_rounds(self, arm: str) -> tuple[int, ...]:
        """Return the rounds in which an arm is to be evaluated, the warm-up included."""
        every = arm in self.config.get("every_round", self.arms)
        return tuple(range(self.rounds + 1)) if every else (0, self.rounds)

    def missing(self) -> list[tuple[str, int, int]]:
        """Return the (arm, round, seed) that were planned and are not evaluated on every task."""
        planned = [(WARMUP, 0), *((arm, r) for arm in self.arms for r in self.evaluated_rounds(arm) if r)]
        return [(arm, r, seed) for arm, r in planned for seed in self.seeds if seed not in self.evaluations(arm, r)]


def find(source: str | Path) -> Path:
    """Return the path of ``study.json`` for a file or the folder that holds it."""
    source = Path(source)
    return source / FILE if source.is_dir() else source


def load_study(source: str | Path) -> Study:
    """Read ``study.json`` from a file or folder.

    Raises:
        DatasetError: it is missing or not a study.
    """
    path = find(source)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = [_cell(entry) for entry in content["cells"]]
        titles = {name: arm["title"] for name, arm in content["arms"].items()}
        notes = {name: arm.get("note", "") for name, arm in content["arms"].items()}
        study = Study(content["config"], titles, notes, content.get("circumstances", {}), {(c.arm, c.round, c.seed): c for c in cells})
        _ = study.env_ids, study.seeds, study.rounds
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is not a study: {type(error).__name__} {error}; `dexhil study` writes {FILE}") from error
    return study


def _cell(entry: dict[str, Any]) -> Cell:
    evaluation = {env_id: _evaluation(e) for env_id, e in entry.get("evaluation", {}).items() if e}
    collection = {env_id: Collection(**_known(Collection, c)) for env_id, c in entry.get("collection", {}).items() if c}
    training = _known(Training, entry.get("training") or {})
    training["losses"] = tuple((float(step), float(loss)) for step, loss in training.get("losses", ()))
    arm = entry["arm"]
    source = entry.get("data_from") or arm
    cost = entry.get("cpu_s") or {}
    return Cell(
        arm, entry["round"], entry["seed"], evaluation, collection, source, Training(**training), cost, entry.get("alarms") or {}
    )  # fmt: skip


def _evaluation(entry: dict[str, Any]) -> Evaluation:
    values = {name: tuple(value) for name, value in _known(Evaluation, entry).items()}
    lengths = {name: len(value) for name, value in values.items() if name != "modes" or value}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"an evaluation has columns of different lengths: {lengths}")
    return Evaluation(**values)


def _known(record: type, entry: dict[str, Any]) -> dict[str, Any]:
    """Keep the fields that a record knows, so that a newer study can carry more."""
    return {name: entry[name] for name in record.__dataclass_fields__ if name in entry}  # type: ignore[attr-defined]
