"""Policies that learn nothing: yardsticks for tests and demos."""

import numpy as np

from dexhil_env.robot import HIGH, LOW
from dexhil_env.types import F32, Observation


class RandomPolicy:
    """Uniform targets within the joint ranges."""

    def __init__(self, seed: int = 0) -> None:
        """Seed the draw."""
        self._rng = np.random.default_rng(seed)

    def reset(self, seed: int | None = None) -> None:
        """Restart the draw if a seed is given."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation, instruction: str) -> F32:  # noqa: ARG002
        """Return (19,) random targets [rad]."""
        return self._rng.uniform(LOW, HIGH).astype(np.float32).clip(LOW.astype(np.float32), HIGH.astype(np.float32))


class HoldPolicy:
    """Stay where the robot is."""

    def reset(self, seed: int | None = None) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation, instruction: str) -> F32:  # noqa: ARG002
        """Return the measured joints (19,) as targets [rad]."""
        now = np.concatenate([observation["arm_joint_pos"], observation["hand_motor_pos"]])
        return now.clip(LOW, HIGH).astype(np.float32).clip(LOW.astype(np.float32), HIGH.astype(np.float32))
