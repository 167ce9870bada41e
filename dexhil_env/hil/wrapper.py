"""The one wrapper through which a person enters."""

from typing import Any

import gymnasium as gym
import numpy as np

from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import ConfigError
from dexhil_env.hil.operator import Operator
from dexhil_env.types import F32, Observation, Verdict


class HiLWrapper(gym.Wrapper[Observation, F32, Observation, F32]):
    """Lets an operator take over between the policy and the motors.

    The caller steps with the policy's action as always; ``info`` tells what was executed and who decided: ``applied_action``,
    ``is_intervention``, ``intervention_source``, ``intervention_id``, ``is_handover``, ``verdict``.

    Args:
        env: an environment of this package.
        operator: a person, simulated or real.

    Raises:
        ConfigError: the environment is not a :class:`DexHiLEnv`.
    """

    def __init__(self, env: gym.Env[Observation, F32], operator: Operator) -> None:
        super().__init__(env)
        if not isinstance(env.unwrapped, DexHiLEnv):
            raise ConfigError(f"HiLWrapper needs a DexHiL environment; got {type(env.unwrapped).__name__}")
        self._env, self.operator = env.unwrapped, operator

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Reset environment and operator; the operator's randomness comes from the same seed."""
        self._env.servo.operator = None
        observation, info = self.env.reset(seed=seed, options=options)
        # a stream of its own: a person who draws more numbers must not change the scene of the next episode
        self.operator.reset(self._env, np.random.default_rng(self._env.np_random.integers(2**63)))
        self._env.servo.operator = self.operator
        self._time_s = info["t_obs_ns"] * 1e-9
        return observation, info

    def step(self, action: F32) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Let the operator look, then run one control period."""
        self.operator.watch(self._time_s, self._env.servo.commanded.copy())
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._time_s = info["t_obs_ns"] * 1e-9
        verdict = self.operator.verdict()
        info["verdict"] = verdict.value
        if verdict in (Verdict.SUCCESS, Verdict.FAILURE):
            info["is_success"], terminated = verdict is Verdict.SUCCESS, True
        elif verdict is Verdict.DISCARD:
            truncated = True
        return observation, float(reward), terminated, truncated, info

    def close(self) -> None:
        """Detach the operator and close the environment."""
        self._env.servo.operator = None
        super().close()
