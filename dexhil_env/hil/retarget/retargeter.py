"""Keypoints in, motor angles out: what the 90 Hz loop calls."""

from pathlib import Path
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.assets import asset_path
from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.features import approach, excess, gate, nearness, reach
from dexhil_env.hil.retarget.keypoints import COUNT, HandFrame, bone_lengths
from dexhil_env.hil.retarget.network import Network
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.types import F32, F64

LEARN_FRAMES: Final = 90
"""Frames from which the bones of an unknown hand are measured while it is used."""


def shipped_weights() -> dict[str, F32]:
    """Read the weights that ship (``dexhil retarget train`` makes them)."""
    with np.load(asset_path("retarget", "weights.npz"), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


class _Scale:
    """A profile's numbers in single precision, as the networks are."""

    def __init__(self, profile: Profile) -> None:
        self.dmax_m = profile.dmax_m.astype(np.float32)
        self.dmin_m = profile.dmin_m.astype(np.float32)
        self.contact_m = profile.contact_m.astype(np.float32)


class Retargeter:
    """Maps canonical keypoints to motor targets. Without a profile it measures the hand's bones in the first frames it sees.

    Args:
        weights: arrays by name, see :mod:`dexhil_env.hil.retarget.network`.
        profile: the person's hand; None for anybody's.
        paper: the paper's two stages alone, without our finger correction near contact.
    """

    def __init__(self, weights: dict[str, F32], profile: Profile | None = None, *, paper: bool = False) -> None:
        self._network = Network({**weights, **(profile.weights if profile else {})}, correct=not paper)
        self.profile = profile
        if profile is not None:
            self._scale = _Scale(profile)
        self._bones: F64 | None = None
        self._seen = LEARN_FRAMES if profile else 0

    @classmethod
    def load(cls, profile: Profile | Path | str | None = None, *, paper: bool = False) -> "Retargeter":
        """Load the shipped weights, and a profile from a file or as it is.

        Raises:
            ConfigError: the profile does not exist or is none.
        """
        known = Profile.load(Path(profile)) if isinstance(profile, (str, Path)) else profile
        return cls(shipped_weights(), known, paper=paper)

    def __call__(self, keypoints: F64) -> F64:
        """Return motor targets (12,) [rad] for canonical keypoints (21, 3) [m]."""
        if self._seen < LEARN_FRAMES:
            self._learn(keypoints)
        return self._run(keypoints[None])[0]

    def batch(self, keypoints: F64) -> F64:
        """Return motor targets (T, 12) [rad] for frames (T, 21, 3) [m], with one scale for all."""
        if self.profile is None:
            self.profile, self._seen = Profile.from_keypoints(keypoints), LEARN_FRAMES
            self._scale = _Scale(self.profile)
        return self._run(keypoints)

    def _run(self, keypoints: F64) -> F64:
        scale, points = self._scale, keypoints.astype(np.float32)
        vectors, over = excess(points, scale)
        return self._network(reach(points, scale), approach(vectors, over, scale), nearness(over), gate(over)).astype(float)

    def _learn(self, keypoints: F64) -> None:
        """Average the bones over the first frames; a median would need them all at hand."""
        bones = bone_lengths(keypoints)
        self._seen += 1
        self._bones = bones if self._bones is None else self._bones + (bones - self._bones) / self._seen
        self.profile = Profile.from_bones(self._bones)
        self._scale = _Scale(self.profile)


class HandTracker:
    """Guards a retargeter against a sensor's failures, and limits the speed of its commands.

    A frame is refused when a coordinate is missing, a bone is not the length it was, or a fingertip has jumped; the last command is
    held then.

    Args:
        retargeter: makes the commands.
        max_velocity: (12,) limit of the motors [rad/s].
        bone_tolerance: accepted deviation of a bone's length; sensors that see the hand in pictures need more than gloves.
        max_jump_m: accepted way of a fingertip between two frames [m].
    """

    def __init__(
        self, retargeter: Retargeter, max_velocity: F64 = robot.HAND_MAX_VELOCITY, bone_tolerance: float = 0.15, max_jump_m: float = 0.15
    ) -> None:
        if bone_tolerance <= 0 or max_jump_m <= 0 or not (np.asarray(max_velocity) > 0).all():
            raise ConfigError(f"tolerances and velocities are positive; got {bone_tolerance}, {max_jump_m}, {max_velocity}")
        self._retargeter, self._max_velocity = retargeter, max_velocity
        self._bone_tolerance, self._max_jump_m = bone_tolerance, max_jump_m
        self.refused = 0
        """Frames that were not used, for the display of the sensor's health."""
        self.reset()

    def reset(self, motors: F64 | None = None) -> None:
        """Start anew, from these motor targets (12,) [rad] if they are known."""
        self._motors = None if motors is None else np.asarray(motors, dtype=float).copy()
        self._last: HandFrame | None = None
        self._bones: F64 | None = None if self._retargeter.profile is None else self._retargeter.profile.bones_m

    def update(self, frame: HandFrame) -> F64:
        """Return motor targets (12,) [rad] for a frame of the sensor; the last ones (at first: the open hand) if it is refused."""
        if self._motors is None and not self._good(frame):
            self.refused += 1
            return robot.HAND_HOME.copy()
        if not self._good(frame):
            self.refused += 1
            assert self._motors is not None
            return self._motors.copy()
        wanted = self._retargeter(frame.keypoints)
        if self._motors is not None and self._last is not None:
            step = self._max_velocity * max(frame.t_s - self._last.t_s, 0.0)
            wanted = self._motors + np.minimum(np.maximum(wanted - self._motors, -step), step)
        elif self._motors is not None:
            wanted = self._motors
        self._motors, self._last = wanted, frame
        return wanted.copy()

    def _good(self, frame: HandFrame) -> bool:
        points = frame.keypoints
        if points.shape != (COUNT, 3) or not np.isfinite(points).all():
            return False
        bones = bone_lengths(points)
        if self._bones is None:
            self._bones = bones
        if (np.abs(bones - self._bones) > self._bone_tolerance * self._bones).any():
            return False
        if self._last is None:
            return True
        jump = points[4::4] - self._last.keypoints[4::4]
        return float((jump * jump).sum(-1).max()) <= self._max_jump_m**2
