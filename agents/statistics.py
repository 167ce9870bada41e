"""Intervals and paired comparisons for success counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest


def wilson_interval(n_success: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a success rate, as fractions; (0, 1) for n = 0.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.
    """
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(n_success, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Paired:
    """Two policies on the same seeds.

    Attributes:
        n: number of seeds.
        gained: seeds on which only the second succeeds.
        lost: seeds on which only the first succeeds.
        difference: success rate of the second minus the first, as a fraction.
        low, high: 95 % interval of the difference (Newcombe's method for paired proportions would be tighter or wider by a point;
            this is the normal approximation with a continuity correction).
        p_value: exact two-sided McNemar test.
    """

    n: int
    gained: int
    lost: int
    difference: float
    low: float
    high: float
    p_value: float


def compare_paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compare success on equal seeds.

    Raises:
        ValueError: the sequences differ in length.
    """
    if len(first) != len(second):
        raise ValueError(f"paired results need equal seeds; got {len(first)} and {len(second)} episodes")
    n = len(first)
    gained = sum(b and not a for a, b in zip(first, second, strict=True))
    lost = sum(a and not b for a, b in zip(first, second, strict=True))
    difference = (gained - lost) / n if n else 0.0
    variance = (gained + lost - (gained - lost) ** 2 / n) / n**2 if n else 0.0
    half = 1.959964 * math.sqrt(max(variance, 0.0)) + (1 / n if n else 1.0)
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Paired(n, gained, lost, difference, max(-1.0, difference - half), min(1.0, difference + half), p_value)
