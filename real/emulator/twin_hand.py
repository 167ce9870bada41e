"""The hand of the twin as what the emulated boards move: its servos follow the motors' targets, its contacts block them and are felt."""

from collections import deque
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.sim.backend import SimBackend
from dexhil_env.types import F64
from real.emulator.hand_body import BodyState, Mask, MotorTargets

_FULL_TORQUE: Final = 0.98
"""Share of the largest torque from which a motor counts as giving all it has."""
_UNLIMITED_A: Final = 0.3
"""Current at full torque when the frames carry no limit [A]; ours, the maker publishes none."""


class TwinHand:
    """See :class:`real.emulator.hand_body.HandBody`; the physics run in the twin, on its own clock.

    Args:
        backend: the twin.
        gain: factor on the servos' stiffness and damping.
        latency_s: from a target to the motors [s].

    Attributes:
        target: (12,) what the servos follow [rad].
    """

    def __init__(self, backend: SimBackend, gain: float = 1.0, latency_s: float = 0.0) -> None:
        self._backend, model = backend, backend.model
        self._motors = np.array([model.actuator(name).id for name in robot.HAND_MOTORS])
        self._joints = np.array([model.joint(robot.COUPLING[name][0][0]).id for name in robot.HAND_MOTORS])
        self._qpos = model.jnt_qposadr[self._joints]
        self._range = model.jnt_range[self._joints].copy()
        self._torque = model.actuator_forcerange[self._motors, 1].copy()
        model.actuator_gainprm[self._motors] *= gain
        model.actuator_biasprm[self._motors] *= gain
        self._latency_s = latency_s
        self._time_s = 0.0
        self._waiting: deque[tuple[float, F64]] = deque()
        self._powered: Mask = np.zeros(12, dtype=bool)
        self._limit = np.full(12, _UNLIMITED_A)
        self.target = self._rest = robot.HAND_HOME.copy()

    def drive(self, targets: MotorTargets, dt_s: float) -> None:
        """Take the targets. A motor that loses its power stays where it is, held by its gears."""
        self._time_s += dt_s
        lost = self._powered & ~targets.powered
        self._rest = np.where(lost, self._position(), np.where(targets.powered, targets.angle, self._rest))
        self._limit = np.where(targets.current_limit > 0, targets.current_limit, _UNLIMITED_A)
        self._powered = targets.powered.copy()
        self._waiting.append((self._time_s + self._latency_s, self._rest))
        while self._waiting and self._waiting[0][0] <= self._time_s + 1e-9:
            self.target = self._waiting.popleft()[1]

    def read(self) -> BodyState:
        """Return what the twin feels."""
        data = self._backend.data
        share = np.abs(data.actuator_force[self._motors]) / self._torque
        force = self._backend.state().fingertip_force
        return BodyState(self._position(), share * self._limit * self._powered, force, share > _FULL_TORQUE)

    def block(self, motor: str, angle: float | None) -> None:
        """Keep a motor from closing beyond ``angle`` [rad]; None frees it.

        Raises:
            ConfigError: there is no such motor.
        """
        if motor not in robot.HAND_MOTORS:
            raise ConfigError(f"unknown motor {motor!r}; the hand has {robot.HAND_MOTORS}")
        index = robot.HAND_MOTORS.index(motor)
        low, high = self._range[index]
        self._backend.model.jnt_range[self._joints[index], 1] = high if angle is None else np.clip(angle, low + 1e-3, high)

    def free(self) -> None:
        """Free every motor."""
        self._backend.model.jnt_range[self._joints] = self._range

    def _position(self) -> F64:
        return self._backend.data.qpos[self._qpos]
