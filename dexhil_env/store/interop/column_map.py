"""Which of their columns are our state, action, pictures and labels."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from dexhil_env import robot
from dexhil_env.episode import STATE_DIMS, STATE_KEYS
from dexhil_env.errors import ConfigError
from dexhil_env.store.interop.labels import STYLES, Style
from dexhil_env.types import F32


@dataclass(frozen=True)
class Pick:
    """Some elements of one of their columns.

    Attributes:
        column: its name.
        indices: which elements, in our order; empty takes all. -1 (actions only) holds the joint where it is measured.
        scale, offset: ours = scale * theirs + offset, e.g. pi / 180 for degrees.
    """

    column: str
    indices: tuple[int, ...] = ()
    scale: float = 1.0
    offset: float = 0.0

    def of(self, values: np.ndarray, hold: F32 | None = None) -> F32:
        """Return the picked elements (T, n) of a column (T, width)."""
        indices = np.array(self.indices or range(values.shape[1]))
        if indices.max() >= values.shape[1]:
            raise ConfigError(f"column {self.column!r} has {values.shape[1]} elements; element {indices.max()} is wanted")
        picked = self.scale * values[:, np.maximum(indices, 0)].astype(np.float64) + self.offset
        if hold is not None:
            picked = np.where(indices >= 0, picked, hold)
        return picked.astype(np.float32)


@dataclass(frozen=True)
class ColumnMap:
    """How a foreign dataset is read.

    Attributes:
        state: our observation key -> their elements. What they did not measure is left out: it is stored as 0 and named in the episode's
            facts (``missing``), and training on it is refused.
        action: 19 absolute joint targets [rad], 7 arm joints and 12 hand motors.
        images: our camera -> their picture key.
        intervention: their label column, if they have one.
        style: how it is written.
        success: their column that is true once the task is done; without one every episode counts as a success.
        instruction: replaces their words, if given.
        task: task name for the record.
        round: round for the record; 0 for demonstrations. Sirius's labels override it.
        image_size: pictures are cut to their middle square and scaled to this side [px].
        fps: rows are taken at this rate [Hz]; 0 keeps theirs.
    """

    state: dict[str, Pick]
    action: Pick
    images: dict[str, str] = field(default_factory=dict[str, str])
    intervention: str = ""
    style: Style = "bool"
    success: str = ""
    instruction: str = ""
    task: str = "foreign"
    round: int = 0
    image_size: int = 128
    fps: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.state) - set(STATE_KEYS))
        if unknown or self.style not in STYLES:
            raise ConfigError(f"state maps {list(STATE_KEYS)} and style is one of {STYLES}; got {unknown or self.style!r}")
        for key, pick in self.state.items():
            if pick.indices and (len(pick.indices) != STATE_DIMS[key] or min(pick.indices) < 0):
                raise ConfigError(f"{key} has {STATE_DIMS[key]} elements; indices of {pick.column!r} name {pick.indices}")
        if self.action.indices and len(self.action.indices) != robot.ACTION_DIM:
            raise ConfigError(f"an action has {robot.ACTION_DIM} joint targets; the map names {len(self.action.indices)}")
        if self.image_size % 2 or self.image_size < 16:
            raise ConfigError(f"image_size must be even and at least 16; got {self.image_size}")

    @property
    def missing(self) -> list[str]:
        """Observation keys that they did not measure."""
        return [key for key in STATE_KEYS if key not in self.state]


def read_column_map(path: Path) -> ColumnMap:
    """Read a map from JSON; see docs/data.md.

    Raises:
        ConfigError: it is not JSON, or has unknown or missing entries.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        state = {key: _pick(entry) for key, entry in cast("dict[str, Any]", values.pop("state")).items()}
        return ColumnMap(state, _pick(values.pop("action")), **values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is no column map ({type(error).__name__}: {error}); docs/data.md shows one") from error


def _pick(entry: Any) -> Pick:
    if isinstance(entry, str):
        return Pick(entry)
    values = dict(cast("dict[str, Any]", entry))
    values["indices"] = tuple(values.get("indices", ()))
    return Pick(**values)
