"""How many trials does a comparison of two success rates need, and what can a given number show?

Power is counted, not approximated: every outcome that the trials can have is weighed with its probability. Two designs:

- *unpaired*: two policies on different scenes, n trials each, Barnard's exact test (G. A. Barnard, Biometrika 34 (1947) 123-138, with the
  pooled z statistic: S. Suissa, J. J. Shuster, J. R. Stat. Soc. A 148 (1985) 317-327), ``scipy.stats.barnard_exact``.
- *paired*: both policies on the same n scenes, exact McNemar test, as ``dexhil eval --against`` reports it. The more the policies succeed
  on the same scenes, the more pairs agree, and the fewer trials are needed.

Trials answer for the policies that were evaluated. How much another training seed would change them, only more trainings tell.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.stats import binom, norm

from dexhil_env.errors import ConfigError

CORRELATION = 0.2
"""Usual correlation of success on equal scenes: 0.21 between round 2 and control 2 of ``docs/results/first_light`` (n = 100)."""
LARGEST = 100_000
"""Trials per policy beyond which the search ends."""
LARGEST_BARNARD = 400
"""Beyond this, Barnard's test is replaced by its large-sample form, the z test; they differ by a trial or two there."""
_STEADY = 5


def z_test_trials(first: float, second: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the textbook number of trials per policy, two-sided z test with pooled variance, unpaired, not rounded.

    Source: J. L. Fleiss, "Statistical Methods for Rates and Proportions", chapter 4, without continuity correction.

    Args:
        first: success rate of one policy, a fraction.
        second: success rate of the other.
        power: probability of finding the difference.
        alpha: probability of finding one that is not there.
    """
    pooled = (first + second) / 2
    null = norm.isf(alpha / 2) * math.sqrt(2 * pooled * (1 - pooled))
    real = norm.isf(1 - power) * math.sqrt(first * (1 - first) + second * (1 - second))
    return float(((null + real) / (first - second)) ** 2)


def unpaired_power(first: float, second: float, n: int, alpha: float = 0.05) -> float:
    """Return the exact power of Barnard's test with n trials per policy; z test beyond ``LARGEST_BARNARD``."""
    if n > LARGEST_BARNARD:
        pooled, step = (first + second) / 2, abs(first - second) * math.sqrt(n)
        null = norm.isf(alpha / 2) * math.sqrt(2 * pooled * (1 - pooled))
        return float(norm.cdf((step - null) / math.sqrt(first * (1 - first) + second * (1 - second))))
    wins = np.arange(n + 1)
    return float(binom.pmf(wins, n, first) @ (barnard_p(n) <= alpha) @ binom.pmf(wins, n, second))


@lru_cache(maxsize=32)
def barnard_p(n: int) -> np.ndarray:
    """Return (n + 1, n + 1): the two-sided p value of Barnard's exact test for x successes of one policy and y of the other, n trials each.

    The whole table at once costs as much as a single call of ``scipy.stats.barnard_exact``, which it agrees with.
    """
    wins = np.arange(n + 1)
    difference, pooled = (wins[:, None] - wins) / n, (wins[:, None] + wins) / (2 * n)
    spread = np.sqrt(np.maximum(2 * pooled * (1 - pooled) / n, 1e-300))
    score = np.round(np.abs(difference) / spread, 9)  # equal outcomes stay equal in floating point
    levels, level = np.unique(-score, return_inverse=True)
    worst = np.zeros(len(levels))
    for rate in np.linspace(0, 0.5, 101)[1:]:  # the statistic is symmetric in success and failure
        pmf = binom.pmf(wins, n, rate)
        mass = np.bincount(level.ravel(), np.outer(pmf, pmf).ravel(), len(levels))
        worst = np.maximum(worst, np.cumsum(mass))
    return worst[level.reshape(n + 1, n + 1)]


def paired_power(first: float, second: float, n: int, alpha: float = 0.05, correlation: float | None = None) -> float:
    """Return the exact power of the exact McNemar test on n scenes that both policies see.

    Args:
        first: success rate of one policy, a fraction.
        second: success rate of the other.
        n: scenes.
        alpha: probability of finding a difference that is not there.
        correlation: of success on equal scenes (phi coefficient); by default ``CORRELATION``, or less where the rates allow no more.

    Raises:
        ConfigError: no two policies with these rates can be so correlated.
    """
    gained, lost = discordant(first, second, min(CORRELATION, correlation_bounds(first, second)[1]) if correlation is None else correlation)
    if gained + lost <= 0:
        return 0.0
    unequal = np.arange(n + 1)
    # with d unequal pairs the test rejects at k gained or fewer lost, and the other way round
    limits = _mcnemar_limits(n, alpha)
    share = gained / (gained + lost)
    found = binom.cdf(limits, unequal, share) + binom.sf(unequal - limits - 1, unequal, share)
    return float(binom.pmf(unequal, n, gained + lost) @ np.where(limits < 0, 0.0, found))


@lru_cache(maxsize=32)
def _mcnemar_limits(n: int, alpha: float) -> np.ndarray:
    """Return (n + 1,): for every number of unequal pairs, the largest smaller count at which the test rejects; -1 if it never does."""
    unequal = np.arange(n + 1)
    limits = binom.ppf(alpha / 2, unequal, 0.5).astype(int)
    limits = limits - (binom.cdf(limits, unequal, 0.5) > alpha / 2)
    return np.where(unequal == 0, -1, limits)


def discordant(first: float, second: float, correlation: float) -> tuple[float, float]:
    """Return the shares of scenes on which only the second, and only the first policy succeeds.

    Raises:
        ConfigError: no two policies with these rates can be so correlated.
    """
    low, high = correlation_bounds(first, second)
    if not low - 1e-9 <= correlation <= high + 1e-9:
        raise ConfigError(
            f"success at {100 * first:g} % and {100 * second:g} % cannot have the correlation {correlation:g}; "
            f"possible is {low:.2f} to {high:.2f}"
        )
    both = first * second + correlation * math.sqrt(first * (1 - first) * second * (1 - second))
    return max(second - both, 0.0), max(first - both, 0.0)


def correlation_bounds(first: float, second: float) -> tuple[float, float]:
    """Return the smallest and largest correlation of success that two success rates allow; (0, 0) where one of them is 0 or 1."""
    spread = math.sqrt(first * (1 - first) * second * (1 - second))
    if spread < 1e-12:
        return 0.0, 0.0
    return (max(0.0, first + second - 1) - first * second) / spread, (min(first, second) - first * second) / spread


def trials_needed(power_of: Callable[[int], float], power: float = 0.8, guess: int = 20) -> int:
    """Return the smallest number of trials from which on the power holds.

    Exact power climbs in a saw: one trial more can have less of it. So the next few numbers must hold too.

    Args:
        power_of: power with n trials.
        power: what is wanted.
        guess: where to start looking.

    Raises:
        ConfigError: ``LARGEST`` trials are not enough.
    """
    low, high = 1, max(guess, 2)
    while high > LARGEST or power_of(high) < power:
        low, high = high, 2 * high
        if high > LARGEST:
            raise ConfigError(f"more than {LARGEST} trials would be needed; such a difference is out of reach, compare larger ones")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    n = max(2, high - _STEADY)
    steady = 0
    while steady < _STEADY:
        steady = steady + 1 if power_of(n) >= power else 0
        n += 1
    return n - _STEADY


def smallest_difference(power_of: Callable[[float, float], float], base: float, power: float = 0.8, up: bool = True) -> float | None:
    """Return the success rate nearest to ``base`` that the trials tell from it, to 0.5 points; None if there is none.

    Args:
        power_of: power for two success rates.
        base: success rate of one policy, a fraction.
        power: what is wanted.
        up: look for higher rates, else for lower ones.
    """
    steps = range(1, round(200 * ((1 - base) if up else base)) + 1)
    for step in steps:
        other = base + step / 200 * (1 if up else -1)
        if power_of(base, other) >= power:
            return other
    return None
