"""The safety limiter: one rule for the twin and the robot.

Every target that reaches a motor passes here. Velocity and acceleration of the *target* are bounded at every servo tick, and the
joint range is kept with room to brake. The target never passes the goal: it follows a moving goal with the distance that it needs to
brake, v^2 / 2a (12 mrad behind a joint at 0.5 rad/s), so a goal that stops at once is not overshot.
"""

import numpy as np

from dexhil_env import robot
from dexhil_env.types import F64


def braking_velocity(distance: F64, max_dv: F64, period_s: float) -> F64:
    """Largest speed from which ``distance`` >= 0 suffices to stop, in whole ticks.

    With deceleration ``max_dv`` per tick the path of n ticks is ``dt (n v - dv n (n - 1) / 2)``; n is the smallest number of ticks after
    which the rest of the speed is at most ``max_dv``.

    Args:
        distance: [rad], >= 0.
        max_dv: change of velocity per tick [rad/s].
        period_s: of the ticks [s].
    """
    n = np.maximum(np.ceil(0.5 * (np.sqrt(1.0 + 8.0 * distance / (max_dv * period_s)) - 1.0)), 1.0)
    return distance / (n * period_s) + 0.5 * max_dv * (n - 1.0)


class Limiter:
    """Second-order target filter with velocity, acceleration and range bounds.

    Args:
        low, high: joint range [rad].
        max_velocity: [rad/s].
        max_acceleration: [rad/s^2].
        period_s: tick period [s].
    """

    def __init__(
        self,
        low: F64 = robot.LOW,
        high: F64 = robot.HIGH,
        max_velocity: F64 = robot.MAX_VELOCITY,
        max_acceleration: F64 = robot.MAX_ACCELERATION,
        period_s: float = robot.SERVO_PERIOD_S,
    ) -> None:
        self._low, self._high = low, high
        self._v_max = max_velocity
        self._dv_max = max_acceleration * period_s
        self._dt = period_s
        self.reset(np.clip(robot.HOME, low, high) if len(low) == len(robot.HOME) else low)

    def reset(self, position: F64) -> None:
        """Stand still at ``position`` [rad]."""
        self.position = np.clip(position, self._low, self._high)
        self.velocity = np.zeros_like(self.position)

    def step(self, goal: F64) -> F64:
        """Advance one tick towards ``goal`` [rad] and return the target to send [rad] (a fresh array)."""
        error = np.minimum(np.maximum(goal, self._low), self._high) - self.position
        velocity = np.sign(error) * np.minimum(braking_velocity(np.abs(error), self._dv_max, self._dt), self._v_max)
        velocity = np.minimum(np.maximum(velocity, self.velocity - self._dv_max), self.velocity + self._dv_max)
        self.velocity = velocity
        self.position = np.minimum(np.maximum(self.position + velocity * self._dt, self._low), self._high)
        return self.position.copy()
