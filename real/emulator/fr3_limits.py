"""The limits that an FR3 enforces at 1 kHz, and a record of how near a run came to them.

Sources: FR3 limits of the Franka Control Interface documentation and libfranka's ``rate_limiting.h`` (acceleration 10 rad/s^2, jerk
5000 rad/s^3, torque rate 1000 Nm/s, shape of the position-dependent velocity limits); ranges and torques from :mod:`dexhil_env.robot`.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.types import F64
from real.emulator.fci_wire import ErrorBit

PERIOD_S: Final = 1e-3
MAX_JERK: Final[F64] = np.full(7, 5000.0)
MAX_TORQUE_RATE: Final[F64] = np.full(7, 1000.0)
VELOCITY_OFFSET: Final[F64] = np.array([0.30, 0.20, 0.20, 0.30, 0.35, 0.35, 0.35])
DECELERATION: Final[F64] = np.array([6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0])
"""The velocity limit at a distance d from the end of the range is ``sqrt(2 deceleration d) - offset``, capped."""
_ROUNDING: Final = 1e-3
TOUCH: Final = 0.01
"""Above this external torque something pushes the arm; the emulated arm feels exactly nothing otherwise [Nm]."""
_MEASURED_MARGIN: Final = 0.05
"""Tolerance of the check of the measured velocity [rad/s]; our choice, the maker publishes none."""


def velocity_limits(q: F64) -> tuple[F64, F64]:
    """Lowest and highest joint velocity [rad/s] allowed at ``q`` (7,) [rad]."""
    up = np.sqrt(2 * DECELERATION * np.maximum(robot.ARM_HIGH - q, 0.0)) - VELOCITY_OFFSET
    down = np.sqrt(2 * DECELERATION * np.maximum(q - robot.ARM_LOW, 0.0)) - VELOCITY_OFFSET
    return -np.clip(down, 0.0, robot.ARM_MAX_VELOCITY), np.clip(up, 0.0, robot.ARM_MAX_VELOCITY)


@dataclass
class Worst:
    """Largest magnitudes of a run, and how much of the limit they used (1 = at the limit).

    ``measured`` is the arm's motion (``in_contact``: while something pushed it), ``commanded`` the stream of a motion generator,
    ``torque`` what an external controller asked for.
    """

    values: dict[str, float] = field(default_factory=dict[str, float])
    ratios: dict[str, float] = field(default_factory=dict[str, float])

    def note(self, name: str, value: F64, limit: F64) -> float:
        """Remember the largest |value| of any joint and return its share of the limit."""
        magnitude = np.abs(value)
        ratio = float((magnitude / limit).max())
        if ratio > self.ratios.get(name, -1.0):
            self.ratios[name], self.values[name] = ratio, float(magnitude[int(np.argmax(magnitude / limit))])
        return ratio


class LimitCheck:
    """Watches one motion after another; every check returns the error bit that a real FR3 raises, or None.

    Args:
        enforce: False records only, as a judge that does not stop the game.
    """

    def __init__(self, enforce: bool = True) -> None:
        self.enforce = enforce
        self.worst = Worst()
        self.dq_d = self.ddq_d = np.zeros(7)
        self._tau: F64 = np.zeros(7)
        self._dq: F64 | None = None
        self._ddq: F64 | None = None

    def start(self) -> None:
        """A motion begins: the arm stands, no torque is commanded."""
        self.dq_d = self.ddq_d = np.zeros(7)
        self._tau = np.zeros(7)
        self._dq = self._ddq = None

    def torque(self, tau: F64) -> ErrorBit | None:
        """Check a torque command (7,) [Nm]; a command that breaks a limit is not to be applied."""
        if not np.isfinite(tau).all():
            return ErrorBit.TAU_J_RANGE_VIOLATION
        rate = self.worst.note("torque_rate", (tau - self._tau) / PERIOD_S, MAX_TORQUE_RATE)
        share = self.worst.note("torque", tau, robot.ARM_MAX_TORQUE)
        self._tau = tau
        if rate > 1.0 + _ROUNDING:
            return self._fail(ErrorBit.CONTROLLER_TORQUE_DISCONTINUITY)
        return self._fail(ErrorBit.TAU_J_RANGE_VIOLATION) if share > 1.0 + _ROUNDING else None

    def velocity(self, q: F64, dq: F64) -> ErrorBit | None:
        """Check a commanded velocity (7,) [rad/s] at ``q`` (7,) [rad], and the acceleration and jerk that it means."""
        if not np.isfinite(dq).all():
            return ErrorBit.JOINT_MOTION_GENERATOR_VELOCITY_LIMITS_VIOLATION
        ddq = (dq - self.dq_d) / PERIOD_S
        jerk = (ddq - self.ddq_d) / PERIOD_S
        self.dq_d, self.ddq_d = dq, ddq
        low, high = velocity_limits(q)
        self.worst.note("commanded_velocity", dq, robot.ARM_MAX_VELOCITY)
        acceleration = self.worst.note("commanded_acceleration", ddq, robot.ARM_MAX_ACCELERATION)
        if self.worst.note("commanded_jerk", jerk, MAX_JERK) > 1.0 + _ROUNDING:
            return self._fail(ErrorBit.JOINT_MOTION_GENERATOR_ACCELERATION_DISCONTINUITY)
        if acceleration > 1.0 + _ROUNDING:
            return self._fail(ErrorBit.JOINT_MOTION_GENERATOR_VELOCITY_DISCONTINUITY)
        outside = (dq < low - _ROUNDING).any() or (dq > high + _ROUNDING).any()
        return self._fail(ErrorBit.JOINT_MOTION_GENERATOR_VELOCITY_LIMITS_VIOLATION) if outside else None

    def measured(self, q: F64, dq: F64, touched: bool = False) -> ErrorBit | None:
        """Check the arm itself: joint range and velocity; acceleration and jerk are only noted (no robot measures them).

        Args:
            q: (7,) [rad].
            dq: (7,) [rad/s].
            touched: something pushes the arm: what a knock does is noted apart, for no driver can help it.
        """
        self.worst.note("measured_velocity", dq, robot.ARM_MAX_VELOCITY)
        apart = "_in_contact" if touched else ""
        if self._dq is not None:
            ddq = (dq - self._dq) / PERIOD_S
            self.worst.note("measured_acceleration" + apart, ddq, robot.ARM_MAX_ACCELERATION)
            if self._ddq is not None:
                self.worst.note("measured_jerk" + apart, (ddq - self._ddq) / PERIOD_S, MAX_JERK)
            self._ddq = ddq
        self._dq = dq
        if (q < robot.ARM_LOW).any() or (q > robot.ARM_HIGH).any():
            return self._fail(ErrorBit.JOINT_POSITION_LIMITS_VIOLATION)
        low, high = velocity_limits(q)
        outside = (dq < low - _MEASURED_MARGIN).any() or (dq > high + _MEASURED_MARGIN).any()
        return self._fail(ErrorBit.JOINT_VELOCITY_VIOLATION) if outside else None

    def _fail(self, bit: ErrorBit) -> ErrorBit | None:
        return bit if self.enforce else None
