"""The hand retargeter as a live operator uses it: any keypoints in, motor angles out, the same after every reset."""

from dexhil_env.hil.retarget.keypoints import canonical
from dexhil_env.hil.retarget.retargeter import Retargeter
from dexhil_env.types import F64


class LiveRetargeter:
    """Retargets 21 keypoints in any frame. Bones are measured anew in every episode, so that a recorded stream gives the same motion again.

    Args:
        profile: file of a calibrated hand; None measures the bones while the hand is used.

    Raises:
        DexHiLError: weights or profile are missing.
    """

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile
        self.reset()

    def reset(self) -> None:
        """Forget the bones of the last hand."""
        self._retargeter = Retargeter.load(self._profile)

    def __call__(self, keypoints: F64) -> F64:
        """Return motor angles (12,) [rad] for keypoints (21, 3) [m]."""
        return self._retargeter(canonical(keypoints))


def make_retargeter(profile: str | None = None) -> LiveRetargeter:
    """Make a retargeter with the weights that ship."""
    return LiveRetargeter(profile)
