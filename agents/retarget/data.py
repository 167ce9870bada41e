"""Frames to train on: keypoints with the scale of the hand each one came from, generated or recorded."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.retarget.flesh import push_out
from agents.retarget.gestures import GESTURES, HELD_OUT, jitter, pinch_poses, random_poses
from agents.retarget.human import HandShape, crowd, fit_shape, pose_keypoints, sample_shape
from dexhil_env.hil.retarget.features import approach, excess, gate, nearness, reach
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.types import F64

SHOWN = tuple(name for name in GESTURES if name not in HELD_OUT)
"""The named gestures that training may use."""


@dataclass(frozen=True)
class Frames:
    """Keypoints and scales; fulfils :class:`dexhil_env.hil.retarget.features.Scale`.

    Attributes:
        keypoints: (N, 21, 3) canonical [m].
        dmax_m, dmin_m: (N, 5) [m].
        contact_m: (N, 4) [m].
        weight: (N,) probability of being drawn.
    """

    keypoints: F64
    dmax_m: F64
    dmin_m: F64
    contact_m: F64
    weight: F64

    @classmethod
    def of(cls, keypoints: F64, profile: Profile) -> "Frames":
        """Give all frames the scale of one person."""
        count = len(keypoints)
        dmax, dmin, contact = (np.tile(numbers, (count, 1)) for numbers in (profile.dmax_m, profile.dmin_m, profile.contact_m))
        return cls(keypoints, dmax, dmin, contact, np.full(count, 1 / count))

    def __len__(self) -> int:
        return len(self.keypoints)

    def take(self, index: NDArray[np.intp]) -> "Frames":
        """Return some frames."""
        return Frames(self.keypoints[index], self.dmax_m[index], self.dmin_m[index], self.contact_m[index], self.weight[index])

    def __add__(self, other: "Frames") -> "Frames":
        """Put two sets together, each with the weight it has."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("keypoints", "dmax_m", "dmin_m", "contact_m", "weight"))
        return Frames(*(np.concatenate(pair) for pair in pairs))

    def balanced(self) -> "Frames":
        """Even out where the thumb's tip has been (1 / sqrt(density) in 4 mm cells), three times as often near a pinch."""
        cells = np.floor(self.keypoints[:, 4] / 0.004).astype(int)
        _, cell, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        _, over = excess(self.keypoints, self)
        weight = np.where(over.min(1) < 0.03, 3.0, 1.0) / np.sqrt(count[cell])
        return Frames(self.keypoints, self.dmax_m, self.dmin_m, self.contact_m, weight / weight.sum())

    def draw(self, count: int, rng: np.random.Generator, noise_m: float = 0.001) -> "Frames":
        """Draw frames by weight, with noise of a sensor."""
        index = np.searchsorted(np.cumsum(self.weight) / self.weight.sum(), rng.random(count)).clip(max=len(self) - 1)
        chosen = self.take(index)
        return chosen.moved(rng.normal(0, noise_m, chosen.keypoints.shape))

    def moved(self, step: F64) -> "Frames":
        """Return the frames with their keypoints moved by ``step`` [m]."""
        return Frames(self.keypoints + step, self.dmax_m, self.dmin_m, self.contact_m, self.weight)

    def features(self) -> "Features":
        """Return what the network and the losses need."""
        vectors, over = excess(self.keypoints, self)
        parts = (reach(self.keypoints, self), approach(vectors, over, self), nearness(over), gate(over), over)
        return Features(*(torch.as_tensor(part, dtype=torch.float32) for part in parts))


class Features(NamedTuple):
    """Inputs as tensors, see :mod:`dexhil_env.hil.retarget.features`.

    Attributes:
        reach: (B, 5, 3) [dm].
        approach: (B, 4, 3) [dm].
        near: (B, 4) weights s(d).
        gate: (B, 4).
        excess_m: (B, 4) [m].
    """

    reach: torch.Tensor
    approach: torch.Tensor
    near: torch.Tensor
    gate: torch.Tensor
    excess_m: torch.Tensor


def generated(shapes: list[HandShape], contact_m: F64, dmin_share: F64, rng: np.random.Generator, size: int) -> Frames:
    """Generate frames of persons: free poses, shown gestures, pinches and the way to them.

    Args:
        shapes: one person per block of poses, used in turn.
        contact_m: (P, 4) contact distances of each person [m].
        dmin_share: (P, 5) dmin / dmax of each person.
        rng: draws the poses.
        size: how many frames of each of the four kinds.
    """
    person = np.arange(size) % len(shapes)
    people = crowd([shapes[index] for index in person])
    finger = rng.integers(0, 4, size)
    pinch = pinch_poses(people, np.eye(4, dtype=bool)[finger], rng, contact_m[person, finger])
    named = np.stack([jitter(GESTURES[SHOWN[index % len(SHOWN)]], rng, 6.0) for index in range(size)])
    free = random_poses(size, rng)
    share = rng.uniform(0.4, 1.0, (size, 1))
    start = np.where(rng.random((size, 1)) < 0.5, free, named[rng.permutation(size)])
    poses = [*(push_out(people, pose) for pose in (free, named)), pinch, push_out(people, share * pinch + (1 - share) * start)]
    keypoints = np.concatenate([pose_keypoints(people, pose) for pose in poses])
    dmax = np.tile(people.bones_m.sum(-1), (4, 1))
    dmin, contact = dmax * np.tile(dmin_share[person], (4, 1)), np.tile(contact_m[person], (4, 1))
    return Frames(keypoints, dmax, dmin, contact, np.full(4 * size, 0.25 / size))


def everybody(rng: np.random.Generator, size: int = 1500, persons: int = 300) -> Frames:
    """Generate frames of many persons, for the weights that ship."""
    shapes = [sample_shape(rng) for _ in range(persons)]
    contact = rng.uniform(0.002, 0.012, (persons, 1)) * np.ones((1, 4))
    closed = rng.uniform(0.28, 0.48, (persons, 1)) * np.ones((1, 5))
    return generated(shapes, contact, closed, rng, size)


def personal(keypoints: F64, profile: Profile, rng: np.random.Generator, size: int = 700) -> Frames:
    """A person's own frames and as many generated from the bones measured in them."""
    own = Frames.of(keypoints, profile).balanced()
    share = profile.dmin_m / profile.dmax_m
    return own + generated([fit_shape(keypoints)], profile.contact_m[None], share[None], rng, size).balanced()
