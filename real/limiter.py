"""The mux's limiter for a real robot: speeds that the arm's own reference follows, and the workspace in front of every target."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np

from dexhil_env import robot
from dexhil_env.limits import Limiter
from dexhil_env.types import F64
from real.emulator.fr3_limits import DECELERATION, VELOCITY_OFFSET
from real.fr3_config import FR3Config
from real.workspace import Workspace

_SPEED_SHARE: Final = 0.85
"""Share of the FR3's velocity limits near the ends of the joint ranges; the arm overshoots its reference by a tenth."""
_BRAKE_SHARE: Final = 0.8
_SLACK: Final = 1.0 - 1e-6
"""A target that has used this share of its way was not held back."""


class SafeLimiter(Limiter):
    """Bounds every target's speed, acceleration, range and place.

    The goal is filtered first, so that the target brakes in front of a border instead of at it; what the joints' separate braking still
    leads outside is filtered again.

    Args:
        workspace: where the robot may be.
        arm: its shares of the arm's limits hold for the targets as well: the arm's reference then follows without lag.
        hand_velocity: so does this limit of the hand's driver [rad/s].

    Attributes:
        fingers: tells where the motors are (12,) [rad], None while that is not known.
        held: ticks in which the workspace held the target back, by reason (without the numbers).
    """

    def __init__(self, workspace: Workspace, arm: FR3Config, hand_velocity: float = np.inf) -> None:
        self.workspace = workspace
        self.held: Counter[str] = Counter()
        self.fingers: Callable[[], F64 | None] = lambda: None
        velocity, acceleration = robot.MAX_VELOCITY.copy(), robot.MAX_ACCELERATION.copy()
        velocity[robot.ARM] *= arm.speed
        velocity[robot.HAND] = np.minimum(velocity[robot.HAND], hand_velocity)
        acceleration[robot.ARM] *= arm.acceleration
        self._goal: F64 = robot.HOME.copy()
        self._fastest = velocity
        self._deceleration = np.minimum(DECELERATION, _BRAKE_SHARE * acceleration[robot.ARM])
        super().__init__(workspace.low, workspace.high, velocity, acceleration)

    def reset(self, position: F64) -> None:
        """Stand still at ``position`` (19,) [rad]."""
        super().reset(position)
        self._goal = self.position.copy()

    def pause(self) -> None:
        """Stand still where the target is; it starts from rest when it goes on."""
        self.reset(self.position)

    def step(self, goal: F64) -> F64:
        """Advance one tick towards ``goal`` (19,) [rad] and return the target to send (19,) [rad]."""
        before, fingers = self.position.copy(), self.fingers()
        wanted = self.workspace.filter(self._goal, np.clip(goal, self._low, self._high), fingers)
        self._goal = wanted.target
        self._v_max = self._allowed(self._goal)
        target = super().step(self._goal)
        sent = self.workspace.filter(before, target, fingers)
        for found in (wanted, sent):
            if found.share < _SLACK:
                self.held[found.reason.rsplit(" by ", 1)[0]] += 1
                break
        if sent.share < _SLACK:
            self.position, self.velocity = sent.target, (sent.target - before) / self._dt
        return self.position.copy()

    def _allowed(self, goal: F64) -> F64:
        """Return the largest speeds (19,) [rad/s]: the FR3 allows the less, the nearer a joint comes to the end of its range."""
        q = self.position[robot.ARM]
        room = np.where(goal[robot.ARM] > q, robot.ARM_HIGH - q, q - robot.ARM_LOW)
        near = np.sqrt(2.0 * self._deceleration * np.maximum(room, 0.0)) - VELOCITY_OFFSET
        allowed = self._fastest.copy()
        allowed[robot.ARM] = np.clip(_SPEED_SHARE * near, 0.0, allowed[robot.ARM])
        return allowed
