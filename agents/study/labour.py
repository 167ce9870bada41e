"""What a study costs people: minutes of demonstrating, correcting and watching, and what they bought."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.study.arms import WARMUP
from agents.study.results import Collection, Study
from agents.study.stats import pooled_rate


@dataclass(frozen=True)
class Labour:
    """Human time up to and including a round, all tasks, mean over training seeds.

    Attributes:
        demonstration_min, intervention_min, watching_min: minutes.
        seeds: training seeds that the mean is over.
    """

    demonstration_min: float
    intervention_min: float
    watching_min: float
    seeds: tuple[int, ...]

    @property
    def hands_on_min(self) -> float:
        """Demonstrating and correcting, as the paper counts labour [min]."""
        return self.demonstration_min + self.intervention_min

    @property
    def total_min(self) -> float:
        """Hands-on time and watching [min]."""
        return self.hands_on_min + self.watching_min


@dataclass(frozen=True)
class Supervision:
    """What happened while people watched one round, summed over training seeds.

    Attributes:
        attempts, corrected, alone, failed, takeovers: see :class:`agents.study.results.Collection`.
        reasons: why they took over -> times, most frequent first.
        seeds: training seeds counted.
    """

    attempts: int
    corrected: int
    alone: int
    failed: int
    takeovers: int
    reasons: dict[str, int]
    seeds: tuple[int, ...]

    @property
    def intervention_rate(self) -> float:
        """Share of attempts that needed a takeover."""
        return (self.corrected + self.failed) / self.attempts if self.attempts else 0.0


def recorded(study: Study, arm: str, round_index: int, seed: int) -> dict[str, Collection] | None:
    """Return what an arm's round trained on, following ``data_from``; empty if nothing was added, None if it is not known yet."""
    cell = study.cell(arm, round_index, seed)
    for _ in range(1 + len(study.arms)):
        if cell is None:
            return None
        if cell.collection or cell.data_from in (cell.arm, WARMUP):
            return cell.collection
        cell = study.cell(cell.data_from, round_index, seed)
    return None  # the arms point at one another in a circle


def labour(study: Study, arm: str, round_index: int) -> Labour | None:
    """Add up the human time of the warm-up and the rounds until ``round_index``; None if no training seed has all of them.

    An arm that trains on the recordings of another arm is charged for them: somebody had to make them.
    """
    rows: dict[int, list[float]] = {}
    for seed in study.seeds:
        rounds = [recorded(study, arm, r, seed) for r in range(round_index + 1)]
        if all(r is not None for r in rounds):
            items = [c for r in rounds if r for c in r.values()]
            rows[seed] = [sum(getattr(c, f"{kind}_s") for c in items) / 60 for kind in ("demonstration", "intervention", "watching")]
    if not rows:
        return None
    demonstrating, correcting, watching = (float(minutes) for minutes in np.mean(list(rows.values()), axis=0))
    return Labour(demonstrating, correcting, watching, tuple(rows))


def supervision(study: Study, arm: str, round_index: int, env_ids: Sequence[str] = ()) -> Supervision | None:
    """Add up a round of corrections; None if the arm records demonstrations, nothing, or is not that far yet."""
    items: dict[int, list[Collection]] = {}
    for seed in study.seeds:
        found = recorded(study, arm, round_index, seed) or {}
        mine = [c for env_id, c in found.items() if (not env_ids or env_id in env_ids) and not c.demonstration_s]
        if mine:
            items[seed] = mine
    if round_index == 0 or not items:
        return None
    flat = [c for mine in items.values() for c in mine]
    reasons: dict[str, int] = {}
    for c in flat:
        for reason, times in c.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + times
    return Supervision(
        attempts=sum(c.attempts for c in flat),
        corrected=sum(c.corrected for c in flat),
        alone=sum(c.alone for c in flat),
        failed=sum(c.failed for c in flat),
        takeovers=sum(c.takeovers for c in flat),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        seeds=tuple(items),
    )


def gain_per_minute(study: Study, arm: str, round_index: int, watching: bool = False) -> float | None:
    """Return the points of success gained over the warm-up per human minute spent since; None without data or minutes."""
    spent, before = labour(study, arm, round_index), labour(study, arm, 0)
    after, start = pooled_rate(study, arm, round_index), pooled_rate(study, WARMUP, 0)
    if spent is None or before is None or after is None or start is None:
        return None
    minutes = spent.total_min - before.total_min if watching else spent.hands_on_min - before.hands_on_min
    gains = [rate - start.by_seed[seed] for seed, rate in after.by_seed.items() if seed in start.by_seed]
    return 100 * float(np.mean(gains)) / minutes if gains and minutes > 0 else None


def labour_ratio(study: Study, arm: str, other: str, round_index: int, watching: bool = False) -> float | None:
    """Return the cumulative human time of an arm as a fraction of another's; None without data."""
    mine, theirs = labour(study, arm, round_index), labour(study, other, round_index)
    if mine is None or theirs is None:
        return None
    ours, base = (mine.total_min, theirs.total_min) if watching else (mine.hands_on_min, theirs.hands_on_min)
    return ours / base if base else None
