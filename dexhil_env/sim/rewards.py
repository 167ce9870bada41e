"""Smooth building blocks of dense rewards."""

import math

from dexhil_env.errors import ConfigError


def tolerance(x: float, bounds: tuple[float, float], margin: float) -> float:
    """Return 1 inside ``bounds`` and a bell-shaped value in (0, 1) outside, 0.1 at a distance of ``margin``.

    The same shape as ``dm_control.utils.rewards.tolerance`` with its default sigmoid.

    Args:
        x: the value judged.
        bounds: lower and upper end of the region worth 1.
        margin: distance at which 0.1 is left; positive.
    """
    low, high = bounds
    if not (low <= high and margin > 0):
        raise ConfigError(f"tolerance needs bounds in order and a positive margin; got {bounds}, {margin}")
    distance = max(low - x, x - high, 0.0) / margin
    return math.exp(math.log(0.1) * distance * distance)
