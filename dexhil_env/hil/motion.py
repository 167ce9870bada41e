"""How a person moves: bounded speed and acceleration, smooth, a little shaky."""

from dataclasses import dataclass

import numpy as np

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.hil.expert import Goal
from dexhil_env.limits import Limiter
from dexhil_env.transforms import from_rotvec, rotvec
from dexhil_env.types import F64


@dataclass(frozen=True)
class MotionConfig:
    """Speed limits and tremor of a person who guides the robot.

    Attributes:
        max_speed: palm speed limit [m/s].
        max_acceleration: palm acceleration limit [m/s^2].
        max_turn_rate: palm turning limit [rad/s].
        max_turn_acceleration: palm turning acceleration limit [rad/s^2].
        max_finger_rate: motor angle rate limit [rad/s].
        max_finger_acceleration: motor angle acceleration limit [rad/s^2].
        position_noise: standard deviation of the slow position error [m].
        rotation_noise: standard deviation of the slow orientation error [rad].
        finger_noise: standard deviation of the slow finger error [rad].
        noise_time: correlation time of these errors [s].
    """

    max_speed: float = 0.35
    max_acceleration: float = 1.5
    max_turn_rate: float = 1.8
    max_turn_acceleration: float = 8.0
    max_finger_rate: float = 2.0
    max_finger_acceleration: float = 20.0
    position_noise: float = 0.003
    rotation_noise: float = 0.02
    finger_noise: float = 0.015
    noise_time: float = 0.5

    def __post_init__(self) -> None:
        """Refuse negative or zero limits."""
        for name, value in vars(self).items():
            if not (value >= 0 if "noise" in name else value > 0) or not np.isfinite(value):
                raise ConfigError(f"MotionConfig.{name} must be finite and positive (noise may be 0); got {value}")


STEADY = MotionConfig(position_noise=0.0, rotation_noise=0.0, finger_noise=0.0)
"""The same speed limits without tremor."""


class _OrnsteinUhlenbeck:
    """Coloured noise that starts at zero and grows to a given size and correlation time."""

    def __init__(self, size: int, sd: float, time_s: float, rng: np.random.Generator) -> None:
        self._sd, self._time, self._rng = sd, max(time_s, 1e-6), rng
        self.value = np.zeros(size)

    def step(self, dt: float) -> F64:
        if self._sd > 0:
            keep = np.exp(-dt / self._time)
            self.value = keep * self.value + self._sd * np.sqrt(1 - keep * keep) * self._rng.normal(size=self.value.shape)
        return self.value


def _approach(error: F64, velocity: F64, limit: float, acceleration: float, dt: float) -> F64:
    """Velocity of the next tick: towards ``error`` with room to brake, changed by at most ``acceleration * dt``."""
    distance = float(np.linalg.norm(error))
    half = 0.5 * acceleration * dt
    speed = min(limit, distance / dt, float(np.sqrt(half * half + 2 * acceleration * distance)) - half)
    wanted = error * (speed / distance) if distance > 1e-12 else np.zeros_like(error)
    change = wanted - velocity
    size = float(np.linalg.norm(change))
    return wanted if size <= acceleration * dt else velocity + change * (acceleration * dt / size)


class HumanMotion:
    """Carries a plan out as a person would: follows :class:`Goal` within the limits of :class:`MotionConfig`.

    Args:
        config: limits and tremor.
        dt: period of :meth:`step` [s].
    """

    def __init__(self, config: MotionConfig, dt: float) -> None:
        self.config, self.dt = config, dt
        rate, acceleration = np.full(12, config.max_finger_rate), np.full(12, config.max_finger_acceleration)
        self._fingers = Limiter(robot.HAND_LOW, robot.HAND_HIGH, rate, acceleration, dt)

    def reset(self, T_base_ee: F64, hand: F64, rng: np.random.Generator) -> None:
        """Start at rest at a palm pose (4, 4) and motor angles (12,) [rad]; the first output is exactly these."""
        config = self.config
        self.T = T_base_ee.copy()
        self._velocity, self._turn = np.zeros(3), np.zeros(3)
        self._fingers.reset(hand)
        self._noise = [
            _OrnsteinUhlenbeck(size, sd, config.noise_time, rng)
            for size, sd in ((3, config.position_noise), (3, config.rotation_noise), (12, config.finger_noise))
        ]

    def step(self, goal: Goal) -> tuple[F64, F64]:
        """Advance one tick and return the palm pose (4, 4) and motor angles (12,) [rad] that the person shows."""
        config, dt = self.config, self.dt
        error = goal.T_base_ee[:3, 3] - self.T[:3, 3]
        self._velocity = _approach(error, self._velocity, config.max_speed * goal.speed, config.max_acceleration, dt)
        turn = rotvec(goal.T_base_ee[:3, :3] @ self.T[:3, :3].T)
        self._turn = _approach(turn, self._turn, config.max_turn_rate * goal.speed, config.max_turn_acceleration, dt)
        self.T[:3, 3] += self._velocity * dt
        self.T[:3, :3] = from_rotvec(self._turn * dt) @ self.T[:3, :3]
        hand = self._fingers.step(goal.hand)
        shift, tilt, curl = (noise.step(dt) for noise in self._noise)
        shown = self.T.copy()
        shown[:3, 3] += shift
        shown[:3, :3] = from_rotvec(tilt) @ shown[:3, :3]
        return shown, np.clip(hand + curl, robot.HAND_LOW, robot.HAND_HIGH)
