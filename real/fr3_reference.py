"""The arm's reference: set points that come at any rate, made into a motion that keeps velocity and acceleration limits.

Set points are joined by straight lines, one set point behind, so that the velocity is known and can be fed forward. A filter behind them
bounds velocity and acceleration; a stream that keeps the limits already (as the mux sends it) passes unchanged.
"""

from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.limits import braking_velocity
from dexhil_env.types import F64

STRETCH: Final = 1.1
"""A line lasts this much longer than the set points' period, so that a late one finds the reference still moving. Ours."""
_RESERVE: Final = 0.9
"""Share of the acceleration planned with near the ends of the range; the rest is for rounding to whole ticks."""
FIRST_PERIOD_S: Final = robot.CONTROL_PERIOD_S
LONGEST_PERIOD_S: Final = 0.1


class Reference:
    """Reference of the joint impedance controller.

    Args:
        low, high: (7,) range of the reference [rad].
        max_velocity: (7,) [rad/s].
        max_acceleration: (7,) [rad/s^2].
        leash: (7,) how far the reference may be from the measured position [rad]; with the stiffness it bounds the torque.

    Attributes:
        position: (7,) [rad].
        velocity: (7,) [rad/s].
        goal: (7,) newest set point [rad].
    """

    def __init__(self, low: F64, high: F64, max_velocity: F64, max_acceleration: F64, leash: F64) -> None:
        self.low, self.high = low, high
        self._v_max, self._a_max, self._leash = max_velocity, max_acceleration, leash
        self.reset((low + high) / 2)

    def reset(self, q: F64) -> None:
        """Stand still at ``q`` (7,) [rad]; outside the range it stays until a set point leads it in."""
        self.position: F64 = np.array(q, dtype=float)
        self.velocity: F64 = np.zeros_like(self.position)
        self.goal: F64 = self.position.copy()
        self._start = self._line = self.goal
        self._from, self._to = np.minimum(self.low, q), np.maximum(self.high, q)
        self._elapsed, self._duration, self._stamp_ns = 1.0, 1.0, 0

    def aim(self, q: F64, stamp_ns: int) -> None:
        """Take a set point (7,) [rad]; the difference of the stamps tells how soon the next one is due. An old stamp is ignored."""
        if self._stamp_ns and stamp_ns <= self._stamp_ns:
            return
        gap = (stamp_ns - self._stamp_ns) / 1e9 if self._stamp_ns else FIRST_PERIOD_S
        period = min(max(gap, robot.SERVO_PERIOD_S), LONGEST_PERIOD_S) if gap <= 2 * LONGEST_PERIOD_S else FIRST_PERIOD_S
        self._stamp_ns = stamp_ns
        self._start, self.goal = self._line, np.clip(q, self.low, self.high)
        self._elapsed, self._duration = 0.0, STRETCH * period + robot.SERVO_PERIOD_S

    def hold(self) -> None:
        """Brake and stand."""
        stop = self.position + self.velocity * np.abs(self.velocity) / (2 * self._a_max)
        self._start = self.goal = self._line = np.clip(stop, self._from, self._to)
        self._elapsed = self._duration = 1.0

    def tick(self, dt: float, measured: F64) -> tuple[F64, F64]:
        """Advance by ``dt`` [s].

        Args:
            dt: time since the last tick [s]; 0 repeats it.
            measured: (7,) where the arm is [rad].

        Returns:
            Position (7,) [rad] and velocity (7,) [rad/s], fresh arrays.
        """
        if dt <= 0.0:
            return self.position.copy(), self.velocity.copy()
        behind = self._line - self.position
        self._elapsed += dt
        share = min(self._elapsed / self._duration, 1.0)
        line = self._start + share * (self.goal - self._start)
        velocity = (line - self._line) / dt + _braking(behind, self._a_max, dt)
        self._line = line
        room = _RESERVE * self._a_max
        velocity = np.clip(velocity, -_braking(self.position - self._from, room, dt), _braking(self._to - self.position, room, dt))
        dv = self._a_max * dt
        velocity = np.clip(velocity, self.velocity - dv, self.velocity + dv)
        velocity = np.clip(velocity, -self._v_max, self._v_max)
        position = np.clip(self.position + velocity * dt, measured - self._leash, measured + self._leash)
        position = np.clip(position, self._from, self._to)
        self.velocity = (position - self.position) / dt  # a reference on its leash feeds no velocity forward
        self.position = position
        return self.position.copy(), self.velocity.copy()


def _braking(distance: F64, acceleration: F64, dt: float) -> F64:
    """Velocity with which ``distance`` is covered and ended at rest: all of it in one tick if it is short."""
    return np.sign(distance) * braking_velocity(np.abs(distance), acceleration * dt, dt)
