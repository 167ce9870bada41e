"""How others write down who drove: one boolean, or Sirius's codes."""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dexhil_env.episode import Episode
from dexhil_env.errors import DatasetError

Style = Literal["bool", "sirius"]
STYLES: Final = ("bool", "sirius")
"""``bool``: true where a person drove (LeRobot's ``intervention``, HIL-SERL's ``is_intervention``, RLinf's ``intervene_flag``).
``sirius``: the ``action_modes`` of Liu et al. (2023): -1 demonstration, 0 policy, 1 person, -10 policy shortly before a takeover."""
DEMONSTRATION, POLICY, PERSON, BEFORE = -1, 0, 1, -10
BEFORE_ROWS: Final = 15
"""Rows before a takeover that Sirius marks as the ones to avoid."""


def read_labels(values: NDArray[Any], style: Style) -> tuple[NDArray[np.bool_], bool]:
    """Return (T,) where a person drove, and whether it is a demonstration as a whole.

    Raises:
        DatasetError: codes that the style does not know.
    """
    flat = np.asarray(values).reshape(len(values), -1)[:, 0]
    if style == "bool":
        if not np.isin(flat, (0, 1)).all():
            raise DatasetError(f"a boolean label column holds 0 and 1; got {sorted(set(flat.tolist()))[:6]}: is its style 'sirius'?")
        return flat.astype(bool), False
    known = (DEMONSTRATION, POLICY, PERSON, BEFORE)
    if not np.isin(flat, known).all():
        raise DatasetError(f"Sirius's codes are {known}; got {sorted(set(flat.tolist()))[:6]}")
    return np.isin(flat, (DEMONSTRATION, PERSON)), bool((flat == DEMONSTRATION).all())


def write_labels(episode: Episode, style: Style) -> NDArray[Any]:
    """Return the label column (T,) of an episode."""
    if style == "bool":
        return episode.intervention.copy()
    if episode.round == 0:
        return np.full(len(episode), DEMONSTRATION)
    codes = np.where(episode.intervention, PERSON, POLICY)
    starts = np.flatnonzero(episode.intervention & ~np.concatenate([[False], episode.intervention[:-1]]))
    for start in starts:
        before = slice(max(start - BEFORE_ROWS, 0), start)
        codes[before] = np.where(codes[before] == POLICY, BEFORE, codes[before])
    return codes
