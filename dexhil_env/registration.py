"""Environment ids. An id is task x robot; the version changes when physics, reset or success change."""

# Gymnasium types register() only in part.
# pyright: reportUnknownMemberType=false

from typing import Any

import gymnasium as gym

from dexhil_env.errors import ConfigError

MAX_EPISODE_STEPS = 240
"""Time limit of an episode: 12 s at 20 Hz, room for a retry or two of a task that takes about 4 s."""

ENV_IDS = ("DexHiL-PlushSim-v0", "DexHiL-TissueSim-v0")
"""The twin."""
REAL_IDS = ("DexHiL-PlushReal-v0", "DexHiL-TissueReal-v0")
"""A robot, or an emulated one: the same spaces and the same ``info``."""


def task_name(env_id: str) -> str:
    """Return the task of an id as one word: ``DexHiL-PlushSim-v0`` is ``plush``."""
    return env_id.removeprefix("DexHiL-").split("Sim")[0].split("Real")[0].lower()


def register_envs() -> None:
    """Register every id with Gymnasium; safe to call twice."""
    for env_id in (*ENV_IDS, *REAL_IDS):
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="real.make:make_real_env" if env_id in REAL_IDS else "dexhil_env.sim.make:make_sim_env",
                max_episode_steps=MAX_EPISODE_STEPS,
                kwargs={"task": "plush" if "Plush" in env_id else "tissue"},
                # Gymnasium's checker cannot go on after a reset() that raised, as a robot's may that stops on its way home
                disable_env_checker=env_id in REAL_IDS,
            )


def make_env(env_id: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """Like ``gym.make`` with an unknown id explained.

    Raises:
        ConfigError: the id is not one of ours.
    """
    if env_id not in (*ENV_IDS, *REAL_IDS):
        raise ConfigError(f"unknown environment id {env_id!r}; DexHiL has {(*ENV_IDS, *REAL_IDS)}")
    return gym.make(env_id, **kwargs)
