"""Which anchors make up batch number ``step``: a pure function of the seed, so that training resumes exactly."""

import numpy as np
from numpy.typing import NDArray

from agents.weights import FrameClass, WeightConfig, anchor_weights, class_shares

I64 = NDArray[np.int64]


class AnchorSampler:
    """Draws batches of anchors; every mode has the same expected gradient, ``sum_i w_i g_i / N``."""

    def __init__(self, classes: I64, batch_size: int, config: WeightConfig, *, seed: int = 0, rank: int = 0) -> None:
        """Prepare the strata.

        Args:
            classes: (N,) ``FrameClass`` of each anchor.
            batch_size: anchors per batch B.
            config: weighting.
            seed: seed of all draws.
            rank: process number in distributed training; every rank draws its own batches.
        """
        self.classes, self.batch_size, self.config = classes, batch_size, config
        self.shares = class_shares(classes, config)
        self._wanted = anchor_weights(classes, self.shares) / len(classes)
        self._seed = (seed, rank)
        everything = np.arange(len(classes))
        human = classes == FrameClass.INTERVENTION
        split = (
            config.mode == "stratified"
            and bool(human.any())
            and not bool(human.all())
            and self.shares.weight[FrameClass.INTERVENTION] != 1.0
        )
        self._strata = [everything[human], everything[~human]] if split else [everything]
        self._quota = [batch_size]
        if split:
            own = int(np.clip(round(batch_size * self.shares.target[FrameClass.INTERVENTION]), 1, batch_size - 1))
            self._quota = [own, batch_size - own]
        self._orders: dict[tuple[int, int], I64] = {}
        self.probability = self._probability()
        self._loss_weight = self._wanted / self.probability

    def _probability(self) -> NDArray[np.float64]:
        """Return (N,) expected share of each anchor among the drawn samples."""
        if self.config.mode == "sampler":
            return self._wanted
        probability = np.zeros(len(self.classes))
        for stratum, quota in zip(self._strata, self._quota, strict=True):
            probability[stratum] = quota / self.batch_size / len(stratum)
        return probability

    def batch(self, step: int) -> tuple[I64, NDArray[np.float32]]:
        """Return the anchors (B,) of a step and their loss weights (B,), which undo what sampling does not do."""
        if self.config.mode == "sampler":
            rng = np.random.default_rng((*self._seed, step))
            picked = rng.choice(len(self.classes), self.batch_size, p=self.probability)
        else:
            picked = np.concatenate([self._draw(number, step) for number in range(len(self._strata))])
        return picked, self._loss_weight[picked].astype(np.float32)

    def _draw(self, number: int, step: int) -> I64:
        """Take the next quota of a stratum, which is shuffled anew each time it is used up."""
        stratum, quota = self._strata[number], self._quota[number]
        positions = np.arange(step * quota, (step + 1) * quota)
        epochs, offsets = positions // len(stratum), positions % len(stratum)
        return np.array([self._order(number, int(epoch))[offset] for epoch, offset in zip(epochs, offsets, strict=True)])

    def _order(self, number: int, epoch: int) -> I64:
        """Return the shuffled stratum of one epoch; the last few are kept."""
        if (number, epoch) not in self._orders:
            if len(self._orders) > 8:
                self._orders.clear()
            rng = np.random.default_rng((*self._seed, number, epoch, 1))
            self._orders[number, epoch] = rng.permutation(self._strata[number])
        return self._orders[number, epoch]
