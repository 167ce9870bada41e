"""An environment of DexHiL with observations named as LeRobot wants them."""

from typing import Any, Final

import gymnasium as gym
import numpy as np

from dexhil_env.episode import STATE_DIMS, STATE_KEYS
from dexhil_env.registration import ENV_IDS, MAX_EPISODE_STEPS, REAL_IDS, make_env

NAMESPACE: Final = "lerobot_env_dexhil"
CAMERAS: Final = ("front", "wrist")
STATE_SIZE: Final = sum(STATE_DIMS[key] for key in STATE_KEYS)
_KEPT: Final = ("is_success", "is_failure", "is_intervention", "progress", "instruction")
"""Of ``info``: what a batch of environments can stack."""


class LeRobotObservation(gym.Wrapper[Any, Any, Any, Any]):
    """Names what the robot sees ``agent_pos`` (38,) and ``pixels`` {front, wrist}; the action stays (19,) joint targets [rad].

    Args:
        env: an environment of DexHiL with both cameras.

    Attributes:
        task: id of the environment.
    """

    def __init__(self, env: gym.Env[Any, Any], task: str) -> None:
        super().__init__(env)
        self.task = task
        seen: Any = env.observation_space
        state = gym.spaces.Box(-np.inf, np.inf, (STATE_SIZE,), np.float32)
        pixels = gym.spaces.Dict({name: seen[f"image_{name}"] for name in CAMERAS})
        self.observation_space = gym.spaces.Dict({"agent_pos": state, "pixels": pixels})

    @property
    def task_description(self) -> str:
        """What a policy is told."""
        return str(self.get_wrapper_attr("instruction"))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return renamed(observation), _kept(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act. Targets beyond the joint ranges, as a network may well give, are moved to the nearest allowed ones."""
        space: Any = self.action_space
        allowed = np.clip(np.asarray(action, dtype=np.float32), space.low, space.high)
        observation, reward, terminated, truncated, info = self.env.step(allowed)
        return renamed(observation), reward, terminated, truncated, _kept(info)


def renamed(observation: dict[str, Any]) -> dict[str, Any]:
    """Return DexHiL's observation with LeRobot's names."""
    state = np.concatenate([np.asarray(observation[key], np.float32) for key in STATE_KEYS])
    return {"agent_pos": state, "pixels": {name: observation[f"image_{name}"] for name in CAMERAS}}


def _kept(info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in _KEPT if key in info}


def make(env_id: str, **kwargs: Any) -> LeRobotObservation:
    """Make an environment; its time limit is Gymnasium's, added outside."""
    return LeRobotObservation(make_env(env_id, max_episode_steps=-1, **kwargs), env_id)


def register_envs() -> None:
    """Register ``lerobot_env_dexhil/<id>`` for every id of DexHiL; safe to call twice."""
    for env_id in (*ENV_IDS, *REAL_IDS):
        name = f"{NAMESPACE}/{env_id}"
        if name not in gym.registry:
            entry = f"{__name__}:make"
            gym.register(name, entry_point=entry, max_episode_steps=MAX_EPISODE_STEPS, kwargs={"env_id": env_id})
