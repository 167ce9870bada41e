"""What the retargeting has to know of a person's hand: a few lengths, and after a calibration networks of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from dexhil_env.errors import ConfigError
from dexhil_env.hil.retarget.keypoints import bone_lengths
from dexhil_env.types import F32, F64

FORMAT: Final = 1
DMIN_SHARE: Final = 0.30
"""Root-to-tip distance of a fist over that of a straight finger where no fist was seen; measured hands have 0.25 to 0.45."""
CONTACT_M: Final = 0.008
"""Distance of the sensor's tip points of touching fingertips [m] where no pinch was seen."""
SHARE_RANGE: Final = (0.25, 0.55)
"""Shares dmin / dmax that a hand can have; outside, the sensor or the gesture is wrong."""


@dataclass(frozen=True)
class Profile:
    """Scale numbers of one hand.

    Attributes:
        bones_m: (5, 3) bone lengths, thumb first [m].
        dmax_m: (5,) root-to-tip distance of the straight fingers [m].
        dmin_m: (5,) root-to-tip distance of the closed fingers [m].
        contact_m: (4,) distance of the thumb's tip point to each fingertip's when they touch (d0) [m].
        weights: networks of this person, by name; the others are the shipped ones.
        name: for messages.
    """

    bones_m: F64
    dmax_m: F64
    dmin_m: F64
    contact_m: F64
    weights: Mapping[str, F32] = field(default_factory=dict[str, F32])
    name: str = "default"

    def __post_init__(self) -> None:
        shapes = (self.bones_m.shape, self.dmax_m.shape, self.dmin_m.shape, self.contact_m.shape)
        if shapes != ((5, 3), (5,), (5,), (4,)):
            raise ConfigError(f"a profile holds bones (5, 3), dmax (5,), dmin (5,), contact (4,); got {shapes}")
        share = self.dmin_m / self.dmax_m
        if not ((share >= SHARE_RANGE[0] - 1e-6) & (share <= SHARE_RANGE[1] + 1e-6)).all():
            raise ConfigError(
                f"dmin must be {SHARE_RANGE[0]} to {SHARE_RANGE[1]} of dmax for every finger; got {np.round(share, 2)}; calibrate again"
            )

    @classmethod
    def from_keypoints(cls, keypoints: F64, name: str = "default") -> "Profile":
        """Take the scale of a hand from any frames (T, 21, 3) or (21, 3) of it, in any pose: bones are long whatever they do."""
        return cls.from_bones(np.median(bone_lengths(keypoints).reshape(-1, 5, 3), axis=0), name)

    @classmethod
    def from_bones(cls, bones_m: F64, name: str = "default") -> "Profile":
        """Take the usual proportions of a hand with bones (5, 3) [m]."""
        dmax = bones_m.sum(axis=1)
        return cls(bones_m, dmax, DMIN_SHARE * dmax, np.full(4, CONTACT_M), name=name)

    def save(self, path: Path) -> None:
        """Write a .npz file."""
        numbers = {"bones_m": self.bones_m, "dmax_m": self.dmax_m, "dmin_m": self.dmin_m, "contact_m": self.contact_m}
        weights: dict[str, Any] = {f"weights/{name}": value for name, value in self.weights.items()}
        with path.open("wb") as file:  # a file object, so that numpy adds no suffix to the name
            np.savez(file, format=np.array(FORMAT), **numbers, **weights)

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Read what ``save`` wrote.

        Raises:
            ConfigError: no such file, or not a profile of this version.
        """
        if not path.is_file():
            raise ConfigError(f"profile {path} does not exist; make one with: dexhil retarget calibrate --keypoints FILE.npy --out {path}")
        try:
            stored = dict(np.load(path, allow_pickle=False))
            if int(stored["format"]) != FORMAT:
                raise ConfigError(f"profile {path} has format {int(stored['format'])}, this version reads {FORMAT}; calibrate again")
            weights = {name.removeprefix("weights/"): value for name, value in stored.items() if name.startswith("weights/")}
            return cls(stored["bones_m"], stored["dmax_m"], stored["dmin_m"], stored["contact_m"], weights, path.stem)
        except (ValueError, KeyError, OSError, TypeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path} is not a hand profile ({error}); make one with: dexhil retarget calibrate") from error
