"""The hand retargeter as a live operator uses it: any keypoints in, motor angles out, the same after every reset."""

import hashlib
import logging
from pathlib import Path
from typing import Final

from dexhil_env.hil.retarget.keypoints import HandFrame, canonical
from dexhil_env.hil.retarget.profile import Profile
from dexhil_env.hil.retarget.retargeter import HandTracker, Retargeter
from dexhil_env.types import F64

logger = logging.getLogger(__name__)

BONE_TOLERANCE: Final = 0.25
"""Accepted deviation of a bone's length; more than a glove needs, because headsets measure the bones while they go."""
NEW_HAND_S: Final = 1.0
"""A hand that is refused for so long is another one, unless its profile is known: it is measured anew [s]."""


class LiveRetargeter:
    """Retargets 21 keypoints in any frame. Bones are measured anew in every episode, so that a recorded stream gives the same motion again.

    Args:
        profile: file of a calibrated hand; None measures the bones while the hand is used.

    Raises:
        DexHiLError: weights or profile are missing.
    """

    def __init__(self, profile: str | None = None) -> None:
        self._path = None if profile is None else Path(profile)
        self._profile = None if self._path is None else Profile.load(self._path)
        self.reset()

    @property
    def facts(self) -> dict[str, str]:
        """What a repetition needs: the profile's file and a digest of it; nothing without a profile."""
        if self._path is None:
            return {}
        return {"profile": str(self._path.resolve()), "sha256": hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]}

    def reset(self) -> None:
        """Forget the last hand, but not its profile."""
        self._tracker = HandTracker(Retargeter.load(self._profile), bone_tolerance=BONE_TOLERANCE)
        self._bad_since_s: float | None = None

    def __call__(self, keypoints: F64, t_s: float) -> F64 | None:
        """Return motor angles (12,) [rad] for keypoints (21, 3) [m] heard at ``t_s`` [s]; None when no hand looks like that.

        Bones of another length and fingertips that have jumped are refused (:class:`HandTracker`).
        """
        before = self._tracker.refused
        motors = self._tracker.update(HandFrame(canonical(keypoints), t_s))
        if self._tracker.refused == before:
            self._bad_since_s = None
            return motors
        if self._bad_since_s is None:
            self._bad_since_s = t_s
        elif self._profile is None and t_s - self._bad_since_s > NEW_HAND_S:
            logger.warning("the hand has other bones than it had; it is measured anew")
            self.reset()
        return None


def make_retargeter(profile: str | None = None) -> LiveRetargeter:
    """Make a retargeter with the weights that ship."""
    return LiveRetargeter(profile)
