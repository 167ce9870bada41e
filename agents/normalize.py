"""Scaling of states and actions; statistics come from the warm-up data and stay fixed in later rounds."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import CheckpointError, ConfigError
from dexhil_env.types import F32

MODES: Final = ("quantiles", "mean_std")
MIN_RANGE: Final = 1e-3
"""Below this spread (rad, m, N) a dimension counts as constant and keeps scale 1."""


@dataclass(frozen=True)
class VectorStats:
    """Centre and scale of one vector: normalised value = (value - centre) / scale, not clipped.

    Attributes:
        centre: (D,) float32.
        scale: (D,) float32, positive.
    """

    centre: F32
    scale: F32

    @classmethod
    def of(cls, rows: NDArray[Any], mode: str = "quantiles") -> "VectorStats":
        """Measure (N, D) rows: ``"quantiles"`` maps the 1 % and 99 % quantiles to -1 and 1, ``"mean_std"`` standardises."""
        if mode not in MODES:
            raise ConfigError(f"normaliser mode {mode!r} is unknown; choose from {MODES}")
        if not len(rows):
            raise ConfigError("statistics need at least one row; got none. Check the filter of the warm-up data")
        data = np.asarray(rows, dtype=np.float64)
        if mode == "quantiles":
            low, high = np.quantile(data, [0.01, 0.99], axis=0)
            centre, scale = (low + high) / 2, (high - low) / 2
        else:
            centre, scale = data.mean(0), data.std(0)
        return cls(centre.astype(np.float32), np.where(scale < MIN_RANGE / 2, 1.0, scale).astype(np.float32))

    def normalize(self, values: Any) -> Any:
        """Scale values (..., D)."""
        return (values - self.centre) / self.scale

    def denormalize(self, values: Any) -> Any:
        """Undo ``normalize``."""
        return values * self.scale + self.centre


@dataclass(frozen=True)
class Normalizer:
    """Statistics of the state and of the action as the network sees it (arm relative if the model is).

    Attributes:
        state: statistics of the state vector.
        action: statistics of the action vector.
        mode: how they were measured.
    """

    state: VectorStats
    action: VectorStats
    mode: str = "quantiles"

    def to_json(self) -> str:
        """Write all numbers as JSON text."""
        pairs = {"state": self.state, "action": self.action}
        body = {name: {"centre": stats.centre.tolist(), "scale": stats.scale.tolist()} for name, stats in pairs.items()}
        return json.dumps({"mode": self.mode, **body}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Normalizer":
        """Read ``to_json`` text; refuse numbers that cannot scale anything."""
        try:
            values = json.loads(text)
            state, action = (_vector(values[name]) for name in ("state", "action"))
            return cls(state, action, values["mode"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the normaliser file cannot be read ({error}); train again or restore the file") from error

    def digest(self) -> str:
        """Return a checksum that travels with the weights trained under these statistics."""
        numbers = (self.state.centre, self.state.scale, self.action.centre, self.action.scale)
        return hashlib.sha256(b"".join(array.tobytes() for array in numbers)).hexdigest()[:16]


def _vector(values: dict[str, Any]) -> VectorStats:
    """Build and check the statistics of one vector."""
    centre, scale = (np.asarray(values[name], dtype=np.float32) for name in ("centre", "scale"))
    if centre.ndim != 1 or centre.shape != scale.shape or not np.isfinite(centre).all() or not (scale > 0).all():
        raise ValueError(f"centre {centre.shape} and scale {scale.shape} must be finite vectors of one length, scale positive")
    return VectorStats(centre, scale)
