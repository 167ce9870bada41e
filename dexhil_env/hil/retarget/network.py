"""The networks of the retargeting in plain numpy; ``agents.retarget.network`` is the same in torch and a test compares them.

Parts, each a bank of small perceptrons (SiLU between layers, none at the end): ``finger`` four times reach (3) -> mcp, dip; ``spread``
reach of the four fingers (12) -> the spread motor; ``thumb`` reach of the thumb (3) -> its three motors; ``residual`` reach of the thumb,
approach vectors, the four fingers' motors and the goal (27) -> what is added to ``thumb`` before the squashing; ``correct`` the same, the
thumb's motors and how far its tip is from the goal (33) -> a bounded, gated correction of all motors.

The goal is where L_kin of eq. 2 wants the thumb's tip: the average of fingertip minus approach over the four fingers, weighted with s(d).
Given it, the residual is inverse kinematics of one point, which a small network learns to a millimetre and which is the same for all hands.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.features import DECIMETRE, Float
from dexhil_env.hil.retarget.kinematics import GEOMETRY, tips
from dexhil_env.types import F32, F64

PARTS: Final[dict[str, tuple[int, tuple[int, ...]]]] = {
    "finger": (4, (3, 64, 64, 2)),
    "spread": (1, (12, 32, 32, 1)),
    "thumb": (1, (3, 64, 64, 3)),
    "residual": (1, (27, 64, 64, 3)),
    "correct": (1, (33, 64, 64, 12)),
}
"""Name -> (how many, sizes of the layers)."""
STAGE_ONE: Final = ("finger", "spread", "thumb")
CORRECTION_RAD: Final = 0.25
"""Largest correction of a motor near contact [rad]."""
THUMB: Final = slice(0, 3)
SHARED: Final = 4
"""The thumb's motors and the spread motor come first; they belong to all fingers."""
MOTOR_FINGER: Final = np.array([0, 0, 1, 1, 2, 2, 3, 3])
"""Which finger (index 0 to little 3) each of the other motors belongs to."""
HIGH: Final[F32] = robot.HAND_HIGH.astype(np.float32)
THUMB_BASE_M: Final[F64] = GEOMETRY.base[0]
ERROR_GAIN: Final = 5.0
"""Brings the thumb's error [dm] to the size of the other inputs."""
SQUASH: Final = 1.05
"""The squashing overshoots the range a little before it is clipped, so that a network can reach the limits."""


def parameter_names() -> tuple[str, ...]:
    """Return the names of all arrays, e.g. ``finger.w0``."""
    return tuple(f"{part}.{kind}{layer}" for part, (_, sizes) in PARTS.items() for layer in range(len(sizes) - 1) for kind in "wb")


def squash(raw: F32) -> F32:
    """Map any number to a share of a motor's range, 0 to 1."""
    return np.minimum(np.maximum(np.float32(0.5) + np.float32(0.5 * SQUASH) * np.tanh(raw), np.float32(0)), np.float32(1))


class Network:
    """Motor angles from features.

    Args:
        weights: arrays by name, see ``PARTS``.
        correct: use the correction (``False``: the paper's two stages alone).

    Raises:
        ConfigError: arrays are missing or have another shape.
    """

    def __init__(self, weights: Mapping[str, F32], *, correct: bool = True) -> None:
        self.correct = correct
        self._layers = {part: self._take(weights, part) for part in PARTS}
        self._layers["thumb"] = _side_by_side(self._layers["thumb"], self._layers.pop("residual"))

    @staticmethod
    def _take(weights: Mapping[str, F32], part: str) -> list[tuple[F32, F32]]:
        count, sizes = PARTS[part]
        layers: list[tuple[F32, F32]] = []
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            pair: list[F32] = []
            for kind, shape in (("w", (count, inputs, outputs)), ("b", (count, 1, outputs))):
                value = weights.get(f"{part}.{kind}{layer}")
                if value is None or value.shape != shape:
                    found = "nothing" if value is None else str(value.shape)
                    raise ConfigError(f"weight {part}.{kind}{layer} should have shape {shape}, found {found}; calibrate or train again")
                hidden = np.float32(0.5 if layer < len(sizes) - 2 else 1.0)
                array = np.ascontiguousarray(value, np.float32) * hidden
                pair.append(array if count > 1 else array[0])
            layers.append((pair[0], pair[1]))
        return layers

    def _run(self, part: str, x: F32) -> F32:
        layers = self._layers[part]
        for w, b in layers[:-1]:
            x = x @ w
            x += b
            x += x * np.tanh(x)  # SiLU of twice x: the weights are halved
        w, b = layers[-1]
        return x @ w + b

    def __call__(self, reach: Float, approach: Float, near: Float, gate: Float) -> F32:
        """Return motors (B, 12) [rad].

        Args:
            reach: (B, 5, 3) [dm], see :mod:`dexhil_env.hil.retarget.features`.
            approach: (B, 4, 3) [dm].
            near: (B, 4) weights s of the thumb-fingertip pairs.
            gate: (B, 4) how far each finger may be corrected.
        """
        count = len(reach)
        reach, approach = reach.astype(np.float32, copy=False), approach.astype(np.float32, copy=False)
        raw = np.empty((count, 9), np.float32)
        raw[:, :1] = self._run("spread", reach[:, 1:].reshape(count, 12))
        raw[:, 1:] = self._run("finger", reach[:, 1:].transpose(1, 0, 2)).transpose(1, 0, 2).reshape(count, 8)
        share = np.zeros((count, 12), np.float32)
        share[:, 3:] = squash(raw)
        wanted = tips(share * HIGH)[:, 1:] - approach * DECIMETRE
        goal = (near[..., None] * wanted).sum(1) / near.sum(1, keepdims=True)
        goal = ((goal - THUMB_BASE_M) * (1 / DECIMETRE)).astype(np.float32)
        x = np.concatenate([reach[:, 0], approach.reshape(count, 12), share[:, 3:], goal], axis=1)
        share[:, THUMB] = squash(self._run("thumb", x))
        motors = share * HIGH
        return self._corrected(motors, share, x, goal, gate) if self.correct and gate.any() else motors

    def _corrected(self, motors: F32, share: F32, x: F32, goal: F32, gate: Float) -> F32:
        error = (tips(motors, 1)[:, 0] - THUMB_BASE_M) * (1 / DECIMETRE) - goal
        x = np.concatenate([x, share[:, THUMB], ERROR_GAIN * error.astype(np.float32)], axis=1)
        step = np.float32(CORRECTION_RAD) * np.tanh(self._run("correct", x))
        step[:, SHARED:] *= gate[:, MOTOR_FINGER]
        step[:, :SHARED] *= gate.max(axis=1, keepdims=True)
        motors = motors + step
        return np.minimum(np.maximum(motors, np.float32(0)), HIGH)


def _side_by_side(first: list[tuple[F32, F32]], second: list[tuple[F32, F32]]) -> list[tuple[F32, F32]]:
    """Make one perceptron of two whose outputs are added; the first sees only the first inputs of the second. One is faster than two."""
    joined: list[tuple[F32, F32]] = []
    for layer, ((w1, b1), (w2, b2)) in enumerate(zip(first, second, strict=True)):
        if layer == len(first) - 1:
            joined.append((np.concatenate([w1, w2]), b1 + b2))
            continue
        rows = len(w2) if layer == 0 else len(w1) + len(w2)
        w = np.zeros((rows, w1.shape[1] + w2.shape[1]), np.float32)
        w[: len(w1), : w1.shape[1]] = w1
        w[rows - len(w2) :, w1.shape[1] :] = w2
        joined.append((w, np.concatenate([b1, b2], axis=1)))
    return joined
