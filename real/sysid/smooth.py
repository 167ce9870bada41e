"""Irregular, noisy samples onto one even grid: a Gaussian window gives value, velocity and acceleration alike.

All that enters one equation passes the same window, which leaves a linear equation as it was: no phase, no bias, less noise.
"""

from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.types import F64

STEP_S: Final = robot.SERVO_PERIOD_S
WIDTH_S: Final = 0.02
"""Standard deviation of the window [s]; 8 Hz are halved in power."""
_REACH: Final = 4.0
EDGE: Final = round(_REACH * WIDTH_S / STEP_S)
"""Rows at both ends that the window has not enough samples for."""


def even(time_s: F64, values: F64, grid_s: F64) -> F64:
    """Interpolate samples (M, n) or (M,), some of them repeated, at the times of a grid; beyond the ends the last value stays."""
    _, first = np.unique(time_s, return_index=True)
    if values.ndim == 1:
        return np.interp(grid_s, time_s[first], values[first])
    return np.column_stack([np.interp(grid_s, time_s[first], column[first]) for column in _columns(values)])


def window(order: int = 0) -> F64:
    """Return the window, or its first or second derivative, as a kernel for ``np.convolve``; exact for polynomials up to ``order``."""
    lag_s = STEP_S * np.arange(-EDGE, EDGE + 1)
    kernel = np.exp(-0.5 * (lag_s / WIDTH_S) ** 2)
    kernel /= kernel.sum()
    if order == 0:
        return kernel
    if order == 1:
        slope = lag_s * kernel
        return -slope / float(slope @ lag_s)
    curve = (lag_s**2 - float(kernel @ lag_s**2)) * kernel
    return 2.0 * curve / float(curve @ lag_s**2)


def smooth(values: F64, order: int = 0) -> F64:
    """Return the smoothed values, or their first or second time derivative, along the rows of an even grid; the edges are not sound."""
    kernel = window(order)
    padded = np.concatenate([np.repeat(values[:1], EDGE, axis=0), values, np.repeat(values[-1:], EDGE, axis=0)])
    if padded.ndim == 1:
        return np.convolve(padded, kernel, "valid")
    return np.column_stack([np.convolve(column, kernel, "valid") for column in _columns(padded)])


def shifted(values: F64, delay_s: float) -> F64:
    """Return the values of an even grid as they were ``delay_s`` before (N,) or (N, n)."""
    rows = np.arange(len(values), dtype=float)
    if values.ndim == 1:
        return np.interp(rows - delay_s / STEP_S, rows, values)
    return np.column_stack([np.interp(rows - delay_s / STEP_S, rows, column) for column in _columns(values)])


def _columns(values: F64) -> list[F64]:
    return [values[:, column] for column in range(values.shape[1])]
