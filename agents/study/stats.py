"""How sure a study can be: pooled rates, paired differences, and where their uncertainty comes from.

A study has two sources of chance: the training seed (demonstrations, corrections and optimisation differ) and the evaluation seed (the
scene differs). Two intervals keep them apart:

- *hierarchical*: training seeds are drawn with replacement, then evaluation seeds within each of them. It speaks about the method.
  Source: V. Saravanan, G. J. Berman, S. J. Sober, "Application of the hierarchical bootstrap to multi-level data in neuroscience",
  Neurons, Behavior, Data analysis, and Theory 3 (5), 2020. **With three training seeds the outer level is coarse**: there are only ten
  different draws of three out of three, and the variance between seeds comes out a third too small on average. Read it as a lower bound.
- *conditional*: only evaluation seeds are drawn. It speaks about the very policies that were trained.

Tasks are never drawn: they are fixed strata, and every task weighs the same. All training seeds meet the same scenes; the draws treat
them as if each had its own, which leaves out an effect of the scene on the difference that is common to all training seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.statistics import Paired, compare_paired, wilson_interval
from agents.study.results import Evaluation, Study
from dexhil_env.errors import DatasetError

RESAMPLES = 10_000
MINUS = "\N{MINUS SIGN}"
BOOTSTRAP_SEED = 20_200_721  # fixed, so that a report can be made again to the byte


@dataclass(frozen=True)
class Rate:
    """A success rate pooled over training seeds and tasks.

    Attributes:
        n_success, n: successful and all episodes.
        low, high: 95 % Wilson interval, as fractions; it takes all episodes as independent, which training seeds are not quite.
        by_seed: training seed -> its rate, as a fraction.
    """

    n_success: int
    n: int
    low: float
    high: float
    by_seed: dict[int, float]

    @property
    def rate(self) -> float:
        """The rate, as a fraction."""
        return self.n_success / self.n


@dataclass(frozen=True)
class Difference:
    """The second arm minus the first, at equal training seed, task and evaluation seed.

    Attributes:
        difference: mean over tasks and training seeds, as a fraction.
        low, high: 95 % interval of the hierarchical bootstrap.
        low_given, high_given: 95 % interval given the trained policies (only evaluation seeds are drawn).
        pair: counts and exact McNemar test of the pooled pairs; the test too is conditional on the trained policies.
        seeds: training seeds that both arms have.
    """

    difference: float
    low: float
    high: float
    low_given: float
    high_given: float
    pair: Paired
    seeds: tuple[int, ...]

    @property
    def text(self) -> str:
        """The difference with its hierarchical interval, in points."""
        return f"{signed(100 * self.difference)} {self.interval}"

    @property
    def interval(self) -> str:
        """The hierarchical interval, in points."""
        return f"[{signed(100 * self.low)}, {signed(100 * self.high)}]"

    @property
    def interval_given(self) -> str:
        """The interval given the trained policies, in points."""
        return f"[{signed(100 * self.low_given)}, {signed(100 * self.high_given)}]"


def signed(value: float) -> str:
    """Write a whole number with its sign; nothing is minus zero."""
    return f"{value:+.0f}".replace("-", MINUS) if round(value) else "0"


def pooled_rate(study: Study, arm: str, round_index: int, env_ids: tuple[str, ...] = ()) -> Rate | None:
    """Pool a rate over the training seeds that were evaluated on all of the tasks (all tasks by default); None if there are none."""
    by_seed = {seed: [won for e in items for won in e.success] for seed, items in study.evaluations(arm, round_index, env_ids).items()}
    pooled = [won for wins in by_seed.values() for won in wins]
    if not pooled:
        return None
    low, high = wilson_interval(sum(pooled), len(pooled))
    return Rate(sum(pooled), len(pooled), low, high, {seed: sum(wins) / len(wins) for seed, wins in by_seed.items()})


def difference(
    study: Study, first: str, second: str, round_index: int, env_ids: tuple[str, ...] = (), resamples: int | None = None
) -> Difference | None:
    """Compare two arms in one round; training seeds that only one of them has are left out; None if no seed is left.

    Args:
        study: the study.
        first: arm that is subtracted; ``"warmup"`` is allowed.
        second: the other arm.
        round_index: which round.
        env_ids: tasks; all by default.
        resamples: draws of each bootstrap; ``RESAMPLES`` by default.

    Raises:
        DatasetError: a training seed was evaluated on other seeds in one arm than in the other.
    """
    one, two = (study.evaluations(arm, round_index, env_ids) for arm in (first, second))
    seeds = tuple(seed for seed in one if seed in two)
    if not seeds:
        return None
    for seed in seeds:
        _check_pairs(one[seed], two[seed], f"{first} and {second}, round {round_index}, training seed {seed}")
    counts = np.array([[_counts(a, b) for a, b in zip(one[seed], two[seed], strict=True)] for seed in seeds])
    means = (counts[..., 0] - counts[..., 1]) / counts.sum(axis=-1)
    outer, inner = (np.quantile(bootstrap(counts, resamples or RESAMPLES, draw), (0.025, 0.975)) for draw in (True, False))
    pair = compare_paired(*([won for seed in seeds for e in side[seed] for won in e.success] for side in (one, two)))
    bounds = [float(bound) for bound in (*outer, *inner)]
    return Difference(float(means.mean()), bounds[0], bounds[1], bounds[2], bounds[3], pair, seeds)


def _check_pairs(one: Sequence[Evaluation], two: Sequence[Evaluation], where: str) -> None:
    for a, b in zip(one, two, strict=True):
        if a.seeds != b.seeds:
            alone = len(set(a.seeds) ^ set(b.seeds))
            raise DatasetError(
                f"{where}: the evaluation seeds are no pairs ({len(a.seeds)} and {len(b.seeds)} episodes, {alone} seeds without partner); "
                "evaluate both on the same seeds"
            )


def _counts(a: Evaluation, b: Evaluation) -> tuple[int, int, int]:
    gained = sum(y and not x for x, y in zip(a.success, b.success, strict=True))
    lost = sum(x and not y for x, y in zip(a.success, b.success, strict=True))
    return gained, lost, len(a.seeds) - gained - lost


def bootstrap(counts: NDArray[np.integer], resamples: int = RESAMPLES, draw_seeds: bool = True) -> NDArray[np.float64]:
    """Draw the mean paired difference anew.

    A paired difference is +1, -1 or 0, so drawing n evaluation seeds with replacement is one multinomial draw of the three counts.

    Args:
        counts: (training seeds, tasks, 3) numbers of pairs gained, lost and equal.
        resamples: number of draws.
        draw_seeds: draw training seeds too; False gives the bootstrap that is conditional on the trained policies.

    Returns:
        (resamples,) differences as fractions; tasks weigh the same.
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    n_seeds = len(counts)
    chosen = rng.integers(n_seeds, size=(resamples, n_seeds)) if draw_seeds else np.tile(np.arange(n_seeds), (resamples, 1))
    n = counts.sum(axis=-1)
    drawn = rng.multinomial(n[chosen], (counts / n[..., None])[chosen])
    return ((drawn[..., 0] - drawn[..., 1]) / n[chosen]).mean(axis=(1, 2))
