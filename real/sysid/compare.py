"""How far two motions of the same targets are apart: per joint, in time, and at the palm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dexhil_env.errors import DatasetError
from dexhil_env.types import F64
from real.kinematics import Kinematics
from real.sysid.regress import solve
from real.sysid.replay import Track
from real.sysid.smooth import EDGE, shifted, smooth

MOVES_RAD: Final = 0.02
"""A joint whose angle varies less than this has no delay that could be seen."""
_RANGE_S: Final = 0.2
_LEAST_ROWS: Final = 100
_PALM_EVERY: Final = 4


@dataclass(frozen=True)
class Difference:
    """Robot less twin.

    Attributes:
        rms, largest: (19,) difference of the angles [rad].
        delay_s: (19,) how much later the robot is than the twin [s]; NaN for a joint that does not move.
        moves: (19,) it moves, on one side at least.
        palm_time_s: (P,) times of the palm's places [s].
        palm_robot, palm_twin: (P, 3) [m].
    """

    rms: F64
    largest: F64
    delay_s: F64
    moves: NDArray[np.bool_]
    palm_time_s: F64
    palm_robot: F64
    palm_twin: F64

    @property
    def palm_m(self) -> F64:
        """(P,) distance of the palms at the same time [m]."""
        return np.linalg.norm(self.palm_robot - self.palm_twin, axis=1)

    @property
    def palm_path_m(self) -> F64:
        """(P,) distance of the robot's palm from the twin's path, whenever the twin was there [m]."""
        distance = np.linalg.norm(self.palm_robot[:, None, :] - self.palm_twin[None, :, :], axis=2)
        return distance.min(axis=1)


def compare(robot_track: Track, twin: Track, mount: tuple[float, float]) -> Difference:
    """Compare two motions on the same grid.

    Args:
        robot_track: motion of the robot.
        twin: motion of the twin.
        mount: rotation [deg] and offset [m] of the hand.
    """
    apart = robot_track.pos - twin.pos
    palm = Kinematics(*mount)
    places = [np.array([palm(row).palm for row in track.pos[::_PALM_EVERY]]) for track in (robot_track, twin)]
    return Difference(
        np.sqrt(np.mean(apart**2, axis=0)),
        np.abs(apart).max(axis=0),
        np.array([delay(robot_track.pos[:, joint], twin.pos[:, joint]) for joint in range(19)]),
        np.maximum(np.ptp(robot_track.pos, axis=0), np.ptp(twin.pos, axis=0)) > MOVES_RAD,
        robot_track.time_s[::_PALM_EVERY],
        *places,
    )


def delay(late: F64, early: F64) -> float:
    """Return how much later one motion (N,) is than another [s], by the best correlation of their speeds; NaN where one hardly moves."""
    if min(np.ptp(late), np.ptp(early)) < MOVES_RAD:
        return float("nan")
    inside = slice(EDGE, -EDGE)
    late_speed, early_speed = smooth(late, 1), smooth(early, 1)

    def equation(delay_s: float) -> tuple[F64, F64]:
        return shifted(early_speed, delay_s)[inside, None], late_speed[inside]

    try:
        return solve(equation, -_RANGE_S, _RANGE_S, _LEAST_ROWS).delay_s
    except DatasetError:
        return float("nan")


def common_delay(found: Difference, part: slice) -> float:
    """Return the median delay of a part of the robot [s]; 0 when nothing of it moves."""
    values = found.delay_s[part]
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0


def moving_joints(found: Mapping[str, Difference]) -> list[int]:
    """Return the joints and motors, 0 to 18, that move in one of the comparisons."""
    return [joint for joint in range(19) if any(each.moves[joint] for each in found.values())]
