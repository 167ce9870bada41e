"""The twin's answer to the targets of a log: its robot over an empty table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import DatasetError
from dexhil_env.servo import ServoMux
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.scene import SceneConfig
from dexhil_env.sim.tuning import RobotTuning
from dexhil_env.types import F64, Evaluation
from real.sysid.log import MotionLog
from real.sysid.smooth import STEP_S, even

NEAR_HOME: Final = 0.1
"""The twin begins at rest at home; a log must begin this near to it [rad]."""


@dataclass(frozen=True)
class Track:
    """Motion of a robot on an even grid of 5 ms.

    Attributes:
        time_s: (N,) [s].
        pos: (N, 19) joints and motors [rad].
    """

    time_s: F64
    pos: F64


class _NoTask:
    """Nothing lies on the table."""

    name, instruction, timestep_s = "empty", "", 0.005
    metric_names = ()

    def add_to(self, spec: Any) -> None:
        """Add nothing."""

    def bind(self, model: Any, data: Any) -> None:
        """Nothing to look up."""

    def reset(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        """Nothing to lay."""

    def evaluate(self) -> Evaluation:
        """Nothing to judge."""
        return Evaluation(success=False, failure=False)

    def extra_state(self) -> F64:
        """Nothing to keep."""
        return np.empty(0)

    def set_extra_state(self, state: F64) -> None:
        """Nothing to restore."""


class _Targets:
    """Stands in for the mux."""

    def __init__(self, targets: F64) -> None:
        self._rows: Iterator[F64] = iter(targets)

    def tick(self, _t_s: float) -> F64:
        return next(self._rows)


def measured(log: MotionLog) -> Track:
    """Return the robot's motion of a log, at the ends of the ticks of its targets."""
    time_s = _ticks(log) + STEP_S
    hand = [even(log.hand_s[:, motor], log.hand_pos[:, motor], time_s) for motor in range(12)]
    return Track(time_s, np.column_stack([even(log.state_s, log.arm_pos, time_s), *hand]))


def replay(log: MotionLog, tuning: RobotTuning | None = None) -> Track:
    """Give the targets of a log to the twin and return its motion, at the same times as :func:`measured`.

    Raises:
        DatasetError: the log does not begin at home.
    """
    ticks = _ticks(log)
    targets = np.clip(even(log.time_s, log.target, ticks), robot.LOW, robot.HIGH)
    away = np.abs(targets[0] - robot.HOME)
    if away.max() > NEAR_HOME:
        name = robot.ACTION_NAMES[int(away.argmax())]
        raise DatasetError(
            f"the motion must begin at home, within {NEAR_HOME} rad, as the twin does; {name} begins {away.max():.2f} rad away"
        )
    yaw, offset = log.mount
    twin = SimBackend(_NoTask(), scene=SceneConfig(mount_yaw_deg=yaw, mount_offset_m=offset, tuning=tuning))
    twin.reset(np.random.default_rng(0))
    servo, rows = cast("ServoMux", _Targets(targets)), np.empty_like(targets)
    motors = [twin.model.joint(robot.COUPLING[name][0][0]).qposadr[0] for name in robot.HAND_MOTORS]
    places = np.array([*(twin.model.joint(name).qposadr[0] for name in robot.ARM_JOINTS), *motors])
    for row in range(len(targets)):
        twin.run(servo, 1)
        rows[row] = twin.data.qpos[places]
    return Track(ticks + STEP_S, rows)


def _ticks(log: MotionLog) -> F64:
    return log.time_s[0] + STEP_S * np.arange(round(log.duration_s / STEP_S) + 1)
