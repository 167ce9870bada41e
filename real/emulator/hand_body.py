"""What the emulated boards of the hand move: a small protocol, and a kinematic stand-in without physics."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dexhil_env import robot
from dexhil_env.types import F64

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MotorTargets:
    """What the boards ask of the motors, in the order of ``robot.HAND_MOTORS``.

    Attributes:
        angle: (12,) [rad].
        powered: (12,) False for a motor without torque.
        current_limit: (12,) [A]; 0 where the firmware was given none.
    """

    angle: F64
    powered: Mask
    current_limit: F64


@dataclass(frozen=True, slots=True)
class BodyState:
    """What the boards measure.

    Attributes:
        motor_pos: (12,) [rad], in the order of ``robot.HAND_MOTORS``.
        current: (12,) [A].
        fingertip_force: (5,) [N], thumb first.
        pushing: (12,) motors that give their full torque; None for a body that knows no torques: the boards go by the angle then.
    """

    motor_pos: F64
    current: F64
    fingertip_force: F64
    pushing: Mask | None = None


class HandBody(Protocol):
    """The mechanics behind the boards. Both are called on the boards' thread, or by whoever calls ``HandBoards.step``."""

    def drive(self, targets: MotorTargets, dt_s: float) -> None:
        """Advance by ``dt_s`` [s] with these targets. A body with its own clock only takes the targets."""
        ...

    def read(self) -> BodyState:
        """Return what is measured now, in fresh memory."""
        ...


class KinematicBody:
    """Motors that run to their targets at constant speed, and can be blocked. No physics; for tests and for trying the wire.

    Attributes:
        position: (12,) [rad].
        wall: (12,) angle beyond which a motor does not close [rad].
    """

    SPEED = 8.0
    """[rad/s]"""
    BLOCKED_CURRENT = 0.3
    """Current of a blocked motor without a limit [A]."""
    STIFFNESS = 20.0
    """Force on a blocked fingertip per angle that is missing [N/rad]."""
    _FINGERS = tuple(np.array([name.startswith(finger) for name in robot.HAND_MOTORS]) for finger in ("th", "ff", "mf", "rf", "lf"))

    def __init__(self) -> None:
        self.position = robot.HAND_HOME.copy()
        self.wall = np.full(12, np.inf)
        self._push, self._current = np.zeros(12), np.zeros(12)

    def block(self, motor: str, angle: float) -> None:
        """Keep a motor from closing beyond ``angle`` [rad]; ``math.inf`` frees it."""
        self.wall[robot.HAND_MOTORS.index(motor)] = angle

    def drive(self, targets: MotorTargets, dt_s: float) -> None:
        """Move towards the targets."""
        reach = self.SPEED * dt_s
        moved = np.clip(targets.angle, self.position - reach, self.position + reach)
        self.position = np.where(targets.powered, np.minimum(moved, np.maximum(self.wall, 0.0)), self.position)
        self._push = np.where(targets.powered, np.maximum(targets.angle - np.maximum(self.wall, 0.0), 0.0), 0.0)
        limit = np.where(targets.current_limit > 0, targets.current_limit, self.BLOCKED_CURRENT)
        self._current = np.where(self._push > 0, limit, 0.1 * limit) * targets.powered

    def read(self) -> BodyState:
        """Return positions, currents, and a force on every blocked finger."""
        force = np.array([self.STIFFNESS * self._push[finger].max() for finger in self._FINGERS])
        return BodyState(self.position.copy(), self._current.copy(), force)
