"""Several twins in one process: physics in threads (MuJoCo releases Python's lock), one OpenGL context per thread."""

# Gymnasium leaves the element type of its spaces open.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from numpy.typing import NDArray

from dexhil_env.errors import ActionError, ConfigError
from dexhil_env.registration import make_env
from dexhil_env.types import F32, Observation

Bools = NDArray[np.bool_]


class ThreadVectorEnv(gym.vector.VectorEnv[Observation, F32, NDArray[Any]]):
    """A :class:`gymnasium.vector.VectorEnv` without worker processes.

    ``gymnasium.vector.AsyncVectorEnv`` is somewhat faster where processes are welcome (see docs/results.md).
    An environment whose episode is over is reset in the next step (``AutoresetMode.NEXT_STEP``), as Gymnasium's own do by default.

    Args:
        env_id: environment id.
        num_envs: number of environments.
        threads: worker threads; by default one per environment, at most 8.
        **kwargs: further arguments of the environment.
    """

    def __init__(self, env_id: str, num_envs: int, threads: int | None = None, **kwargs: Any) -> None:
        if num_envs < 1:
            raise ConfigError(f"num_envs must be at least 1; got {num_envs}")
        self.envs: list[gym.Env[Observation, F32]] = [make_env(env_id, **kwargs) for _ in range(num_envs)]
        self.num_envs = num_envs
        self.metadata = {**self.envs[0].metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space, self.single_action_space = self.envs[0].observation_space, self.envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._pool = ThreadPoolExecutor(min(num_envs, threads or 8))
        self._over = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset all environments; one seed gives ``seed, seed + 1, ...``."""
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed or [None] * self.num_envs)

        def reset_one(env: gym.Env[Observation, F32], seed: int | None) -> tuple[Observation, dict[str, Any]]:
            return env.reset(seed=seed, options=options)

        results = list(self._pool.map(reset_one, self.envs, seeds))
        self._over[:] = False
        return self._join([observation for observation, _ in results]), self._join_infos([info for _, info in results])

    def step(self, actions: F32) -> tuple[Observation, NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """Step all environments with actions (num_envs, 19)."""
        if len(actions) != self.num_envs:
            raise ActionError(f"need {self.num_envs} actions, one per environment; got {len(actions)}")
        results = list(self._pool.map(self._step_one, range(self.num_envs), actions))
        observations, rewards, terminated, truncated, infos = zip(*results, strict=True)
        ended, cut = np.array(terminated, dtype=np.bool_), np.array(truncated, dtype=np.bool_)
        self._over = ended | cut
        return self._join(list(observations)), np.array(rewards, dtype=np.float64), ended, cut, self._join_infos(list(infos))

    def _step_one(self, index: int, action: F32) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self._over[index]:
            observation, info = self.envs[index].reset()
            return observation, 0.0, False, False, info
        observation, reward, terminated, truncated, info = self.envs[index].step(action)
        return observation, float(reward), terminated, truncated, info

    def _join(self, observations: list[Observation]) -> Observation:
        empty = create_empty_array(self.single_observation_space, self.num_envs)
        return concatenate(self.single_observation_space, observations, empty)  # type: ignore[return-value]

    def _join_infos(self, infos: list[dict[str, Any]]) -> dict[str, Any]:
        joined: dict[str, Any] = {}
        for index, info in enumerate(infos):
            joined = self._add_info(joined, info, index)
        return joined

    def close_extras(self, **_: Any) -> None:
        """Stop the threads and close the environments."""
        self._pool.shutdown()
        for env in self.envs:
            env.close()
