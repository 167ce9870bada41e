"""Intervention-aware weighting (DexHiL paper, eq. 7 and 10).

Every anchor frame has a class. With n_c anchors of class c among N, ``P(c) = n_c / N`` and the loss weight is ``w = P*(c) / P(c)`` with
``P*(intervention) = 0.5``; the other classes share the rest in proportion to their counts. The mean weight is exactly 1, so weights are
never renormalised within a batch. The same objective can be had by sampling instead of weighting, with less variance.
"""

import logging
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import ConfigError
from dexhil_env.types import F64

logger = logging.getLogger(__name__)

MODES: Final = ("stratified", "sampler", "loss", "none")
SCHEMES: Final = ("dexhil", "iwr", "sirius")


class FrameClass(IntEnum):
    """Where an anchor's label comes from."""

    DEMO = 0
    INTERVENTION = 1
    ROLLOUT = 2


@dataclass(frozen=True)
class WeightConfig:
    """How much corrections count.

    Attributes:
        mode: ``"stratified"`` fixes the number of interventions in each batch, ``"sampler"`` draws anchors with probability
            proportional to their weight, ``"loss"`` multiplies the loss as eq. 10 is written, ``"none"`` ignores classes (DAgger*).
        target: wanted share P*(intervention).
        scheme: ``"dexhil"`` is eq. 7; ``"iwr"`` splits half and half even where that lowers the share of interventions; ``"sirius"``
            keeps the share of demonstrations and takes the difference from rollouts.
        only_increase: leave the data as it is when interventions already exceed the target.
        max_weight: largest weight of an intervention; the target is lowered, with a warning, to keep it.
    """

    mode: str = "stratified"
    target: float = 0.5
    scheme: str = "dexhil"
    only_increase: bool = True
    max_weight: float = 20.0

    def __post_init__(self) -> None:
        """Refuse unknown words and shares outside [0, 1)."""
        if self.mode not in MODES or self.scheme not in SCHEMES:
            raise ConfigError(f"mode must be one of {MODES} and scheme one of {SCHEMES}; got {self.mode!r}, {self.scheme!r}")
        if not 0.0 <= self.target < 1.0 or self.max_weight < 1.0:
            raise ConfigError(f"target must lie in [0, 1) and max_weight be at least 1; got {self.target}, {self.max_weight}")


@dataclass(frozen=True)
class ClassShares:
    """Counts, shares and weights of the classes in the order of ``FrameClass``.

    Attributes:
        counts: (3,) anchors n_c.
        share: (3,) P(c), the share in the data.
        target: (3,) P*(c), the share that the objective sees.
        weight: (3,) P*(c) / P(c), 0 for an empty class.
    """

    counts: NDArray[np.int64]
    share: F64
    target: F64
    weight: F64

    def table(self) -> str:
        """Return the shares as aligned text, one class a line."""
        lines = [f"{'class':<13}{'frames':>8}{'P(c)':>8}{'P*(c)':>8}{'weight':>8}"]
        for kind in FrameClass:
            numbers = f"{self.counts[kind]:>8}{self.share[kind]:>8.3f}{self.target[kind]:>8.3f}{self.weight[kind]:>8.2f}"
            lines.append(f"{kind.name.lower():<13}{numbers}")
        return "\n".join(lines)


def class_shares(classes: NDArray[np.int64], config: WeightConfig) -> ClassShares:
    """Count the classes of the trainable anchors and apply eq. 7."""
    counts = np.bincount(classes, minlength=len(FrameClass)).astype(np.int64)
    if not counts.sum():
        raise ConfigError("weights need at least one trainable anchor; got none. Check the filter")
    share = counts / counts.sum()
    target = share.copy() if config.mode == "none" else _target(share, config)
    weight = np.divide(target, share, out=np.zeros_like(target), where=share > 0)
    return ClassShares(counts, share, target, weight)


def _target(share: F64, config: WeightConfig) -> F64:
    """Return P*(c)."""
    human = float(share[FrameClass.INTERVENTION])
    wanted = 0.5 if config.scheme == "iwr" else config.target
    kept = config.only_increase and config.scheme != "iwr" and human >= wanted
    if human in (0.0, 1.0) or kept:
        return share.copy()
    if wanted / human > config.max_weight:
        text = "interventions are %.2f %% of the anchors: weight clipped from %.1f to %.1f"
        logger.warning(text, 100 * human, wanted / human, config.max_weight)
        wanted = config.max_weight * human
    if config.scheme == "sirius":
        return _sirius_target(share, wanted)
    target = share * (1.0 - wanted) / (1.0 - human)
    target[FrameClass.INTERVENTION] = wanted
    return target


def _sirius_target(share: F64, wanted: float) -> F64:
    """Keep demonstrations at their share, lower rollouts; refuse what would make a rollout's weight negative."""
    rollout = 1.0 - wanted - float(share[FrameClass.DEMO])
    if rollout < 0.0 or share[FrameClass.ROLLOUT] == 0.0:
        raise ConfigError(
            f"scheme 'sirius' needs rollouts and P(demo) <= {1.0 - wanted:.2f}; got P(demo) = {share[FrameClass.DEMO]:.2f}, "
            f"P(rollout) = {share[FrameClass.ROLLOUT]:.2f}. Use scheme 'dexhil'"
        )
    return np.array([share[FrameClass.DEMO], wanted, rollout])


def anchor_weights(classes: NDArray[np.int64], shares: ClassShares) -> F64:
    """Return (N,) weights of the anchors, mean exactly 1."""
    return shares.weight[classes]
