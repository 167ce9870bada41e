"""The set points of one caller: judged, made into a smooth reference, and held when they stay away."""

import threading
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ActionError
from dexhil_env.types import F64
from real.fr3_config import FR3Config
from real.fr3_reference import Reference

_MAX_TICKS: Final = 4
"""A late tick moves the reference by so many periods at most."""


TORQUE_SHARE: Final = 0.85
"""Of the joints' torque, what the tracker may ask for; the rest is for gravity of what the hand holds, and for late readings."""


def bounded_velocity(q_d: F64, dq_d: F64, q: F64, dq: F64, stiffness: F64) -> F64:
    """Return the velocity to ask for, so that spring and critical damper together stay below the joints' torque.

    Without it an arm that is knocked to a halt while its reference runs on asks its wrist for more than 12 Nm, which is a reflex.

    Args:
        q_d: (7,) reference [rad].
        dq_d: (7,) its velocity [rad/s].
        q: (7,) the arm [rad].
        dq: (7,) its velocity [rad/s].
        stiffness: (7,) of the tracker [Nm/rad].
    """
    spring, damping = stiffness * (q_d - q), 2.0 * np.sqrt(stiffness)
    most = TORQUE_SHARE * robot.ARM_MAX_TORQUE
    return np.clip(dq_d, dq + (-most - spring) / damping, dq + (most - spring) / damping)


class Aim:
    """Where the arm is led. May be used from two threads: one gives set points, one leads.

    Args:
        config: limits and dead-man's times.
        low, high: joint ranges (7,) of the arm [rad].

    Attributes:
        reference: the smooth way to the set points.
        holding: it stands still because set points or states are late; both may come back.
    """

    def __init__(self, config: FR3Config, low: F64, high: F64) -> None:
        self._config = config
        limits = (robot.ARM_MAX_VELOCITY * config.speed, robot.ARM_MAX_ACCELERATION * config.acceleration, np.array(config.max_error))
        self.reference = Reference(low + config.joint_margin, high - config.joint_margin, *limits)
        self.holding = False
        self._lock = threading.Lock()
        self._asked_s: float | None = None

    def begin(self, q: F64) -> None:
        """Begin at ``q`` (7,) [rad]; the dead-man's time runs from the first set point on."""
        with self._lock:
            self.reference.reset(q)
            self._asked_s, self.holding = None, False

    def contains(self, q: F64) -> bool:
        """Tell whether ``q`` is 7 angles [rad] that the reference may go to."""
        return q.shape == (7,) and bool((q >= self.reference.low).all() and (q <= self.reference.high).all())

    def ask(self, q: F64, stamp_ns: int, now_s: float) -> None:
        """Take a set point ``q`` (7,) [rad] that was made at ``stamp_ns``.

        Raises:
            ActionError: it is farther than ``max_jump`` from the one before; nothing changes.
        """
        with self._lock:
            jump = np.abs(q - self.reference.goal)
            if jump.max() > self._config.max_jump:
                i = int(jump.argmax())
                raise ActionError(
                    f"the set point of {robot.ARM_JOINTS[i]} is {jump[i]:.3f} rad from the one before, more than max_jump = "
                    f"{self._config.max_jump} rad; move in smaller steps, or bring the arm there with home()"
                )
            self.reference.aim(q, stamp_ns)
            self._asked_s, self.holding = now_s, False

    def rest(self, now_s: float) -> None:
        """Brake and stand, as if a last set point asked for it now [s]."""
        with self._lock:
            self.reference.hold()
            self._asked_s = now_s

    def tick(self, dt: float, now_s: float, q: F64, age_s: float) -> tuple[F64, F64]:
        """Advance the reference.

        Args:
            dt: since the tick before [s].
            now_s: the time that set points live in [s].
            q: (7,) where the arm is [rad].
            age_s: how old that is [s].

        Returns:
            Position (7,) [rad] and velocity (7,) [rad/s] to track.
        """
        with self._lock:
            late = age_s > self._config.stale_hold_s or self.silent_s(now_s) > self._config.dead_man_s
            if late and not self.holding:
                self.reference.hold()
            self.holding = late
            return self.reference.tick(min(dt, _MAX_TICKS * robot.SERVO_PERIOD_S), q)

    def silent_s(self, now_s: float) -> float:
        """Return how long nobody has given a set point [s]; 0 before the first."""
        asked_s = self._asked_s
        return 0.0 if asked_s is None else now_s - asked_s
