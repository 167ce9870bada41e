"""An episode of a dataset as a motion: its targets on the servo's grid, its observations as the robot's states."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.episode import Episode
from dexhil_env.errors import DatasetError
from dexhil_env.store import EpisodeStore
from dexhil_env.types import F64
from real.sysid.log import MotionLog

_ARM_POS: Final = slice(0, 7)
_HAND_POS: Final = slice(7, 19)
_ARM_VEL: Final = slice(19, 26)
"""Places in ``observation.state``."""


def read_episode(dataset: Path, number: int) -> MotionLog:
    """Read an episode's executed targets (after limits) and observed motion. There are no torques in it.

    Raises:
        DatasetError: no such dataset or episode, or too short a one.
    """
    store = EpisodeStore.open(dataset)
    if not 0 <= number < len(store):
        raise DatasetError(f"{dataset} has episodes 0 to {len(store) - 1}; got {number}")
    log = episode_log(store.read_columns(number))
    return replace(log, facts={**log.facts, "source": f"{dataset}, episode {number}"})


def episode_log(episode: Episode) -> MotionLog:
    """Turn an episode into a log: targets go to each row's action in a straight line within one control period, as the mux sends them.

    Raises:
        DatasetError: it is too short.
    """
    rows_s: F64 = np.arange(len(episode)) / episode.fps
    state = np.asarray(episode.state, dtype=float)
    corners = np.concatenate([state[:1, :19], np.asarray(episode.action, dtype=float)])
    corners_s = np.concatenate([rows_s, [len(episode) / episode.fps]])
    time_s = robot.SERVO_PERIOD_S * np.arange(round(corners_s[-1] / robot.SERVO_PERIOD_S), dtype=np.float64)
    target: F64 = np.column_stack([np.interp(time_s + robot.SERVO_PERIOD_S, corners_s, corners[:, joint]) for joint in range(19)])
    unknown = np.full((len(rows_s), 7), np.nan)
    return MotionLog(
        time_s, target, rows_s, state[:, _ARM_POS], state[:, _ARM_VEL], unknown, unknown,
        np.tile(rows_s[:, None], (1, 12)), state[:, _HAND_POS], {"source": "episode", "task": episode.task},
    )  # fmt: skip
