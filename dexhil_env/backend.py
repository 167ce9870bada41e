"""What an environment needs of a robot, simulated or real."""

from typing import Protocol

import numpy as np

from dexhil_env.limits import Limiter
from dexhil_env.servo import ServoMux
from dexhil_env.types import U8, RobotState


class RobotBackend(Protocol):
    """A robot with its cameras. Nothing above this line can tell the twin from the lab."""

    cameras: tuple[str, ...]
    image_size: int

    def limiter(self) -> Limiter:
        """Return a fresh target filter with limits that this robot can follow."""
        ...

    def reset(self, rng: np.random.Generator) -> None:
        """Bring the robot to its home pose."""
        ...

    def run(self, servo: ServoMux, ticks: int) -> None:
        """Run ``ticks`` servo periods, asking ``servo.tick`` for the target of each."""
        ...

    def state(self) -> RobotState:
        """Return the newest measurement."""
        ...

    def ages(self) -> dict[str, float]:
        """Return how old the newest sample of each source was at the last :meth:`state` [s]: ``arm``, ``hand`` and every camera."""
        ...

    def images(self) -> dict[str, U8]:
        """Return the newest frame of every camera, (H, W, 3) each; fresh memory at every call."""
        ...

    def close(self) -> None:
        """Release the robot; safe to call twice."""
        ...
