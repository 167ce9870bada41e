"""Least squares for equations that are linear but for one delay, with honest intervals."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from dexhil_env.errors import DatasetError
from dexhil_env.types import F64

CLUSTER_ROWS: Final = 100
"""Half a second: errors of one motion's rows are related, those of different halves of a second hardly."""
SIGMAS: Final = 2.0
"""Half width of an interval in standard errors: 95 %."""
_COARSE: Final = 31
_GOLDEN: Final = (np.sqrt(5.0) - 1.0) / 2.0
_ROUNDS: Final = 25
_DERIVATIVE_S: Final = 5e-4
LEAST_ROWS: Final = 6 * CLUSTER_ROWS

Equation = Callable[[float], tuple[F64, F64]]
"""From a delay [s] to regressors (n, p) and what they must sum up to (n,)."""


@dataclass(frozen=True)
class Fit:
    """A solution.

    Attributes:
        values: (p,) coefficients.
        errors: (p,) their standard errors.
        delay_s: delay [s]; ``delay_error_s``: its standard error.
        rms: root mean square of what is left.
        explained: share of the variance that is explained.
        condition: condition number of the scaled problem; beyond some hundreds its directions cannot be told apart.
    """

    values: F64
    errors: F64
    delay_s: float
    delay_error_s: float
    rms: float
    explained: float
    condition: float


def solve(equation: Equation, low_s: float, high_s: float, least_rows: int = LEAST_ROWS) -> Fit:
    """Find delay and coefficients.

    Args:
        equation: to be solved.
        low_s: lower end of the delay's range [s].
        high_s: its upper end [s]; the same as the lower end fixes the delay.
        least_rows: with fewer there is no sound interval.

    Raises:
        DatasetError: too few rows, or a regressor that never moves.
    """
    delay_s = low_s if low_s == high_s else _best_delay(equation, low_s, high_s)
    x, y = equation(delay_s)
    if len(y) < least_rows:
        raise DatasetError(f"only {len(y)} rows of motion are left to fit, at least {least_rows} are needed; record longer")
    scale = np.sqrt(np.mean(x**2, axis=0))
    if (scale < 1e-12).any():
        raise DatasetError(f"regressor {int(scale.argmin())} is zero all the time; record a motion of this joint")
    values, left = _least_squares(x, y)
    columns = x
    if low_s != high_s:
        columns = np.column_stack([x, _delay_column(equation, delay_s, values, left)])
    errors, condition = _errors(columns, left)
    return Fit(
        values,
        errors[: x.shape[1]],
        delay_s,
        float(errors[-1]) if low_s != high_s else 0.0,
        float(np.sqrt(np.mean(left**2))),
        float(1.0 - left.var() / max(y.var(), 1e-300)),
        condition,
    )


def _least_squares(x: F64, y: F64) -> tuple[F64, F64]:
    values: F64 = np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=float)
    return values, y - x @ values


def _best_delay(equation: Equation, low_s: float, high_s: float) -> float:
    """Search on a coarse grid, then by golden sections around its best point."""

    def cost(delay_s: float) -> float:
        return float(np.sum(_least_squares(*equation(delay_s))[1] ** 2))

    grid = np.linspace(low_s, high_s, _COARSE)
    best = int(np.argmin([cost(float(delay_s)) for delay_s in grid]))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _COARSE - 1)])
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    cost_a, cost_b = cost(a), cost(b)
    for _ in range(_ROUNDS):
        if cost_a < cost_b:
            high, b, cost_b = b, a, cost_a
            a = high - _GOLDEN * (high - low)
            cost_a = cost(a)
        else:
            low, a, cost_a = a, b, cost_b
            b = low + _GOLDEN * (high - low)
            cost_b = cost(b)
    return (low + high) / 2


def _delay_column(equation: Equation, delay_s: float, values: F64, left: F64) -> F64:
    """Derivative of what is left with respect to the delay, its sign turned: a column beside the regressors."""
    x, y = equation(delay_s + _DERIVATIVE_S)
    return -(y - x @ values - left) / _DERIVATIVE_S


def _errors(columns: F64, left: F64) -> tuple[F64, float]:
    """Standard errors that allow for related rows (clusters of half a second), and the condition number of the scaled columns."""
    scale = np.sqrt(np.mean(columns**2, axis=0))
    scale = np.where(scale > 0.0, scale, 1.0)
    scaled = columns / scale
    bread = np.linalg.pinv(scaled.T @ scaled)
    clusters = np.arange(len(left)) // CLUSTER_ROWS
    count = int(clusters[-1]) + 1
    scores = np.zeros((count, columns.shape[1]))
    np.add.at(scores, clusters, scaled * left[:, None])
    spread = bread @ (scores.T @ scores) @ bread * count / max(count - columns.shape[1], 1)
    return np.sqrt(np.diag(spread)) / scale, float(np.linalg.cond(scaled))
