"""The LeRobot plugin gives DexHiL's tasks with LeRobot's names, with LeRobot installed or without."""

import importlib
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from dexhil_env.episode import STATE_KEYS
from dexhil_env.errors import ActionError
from dexhil_env.registration import ENV_IDS, MAX_EPISODE_STEPS, REAL_IDS, make_env

SOURCE = Path(__file__).parents[2] / "plugins" / "lerobot_env_dexhil" / "src"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package as if it were installed, imported anew."""
    monkeypatch.syspath_prepend(SOURCE)
    for name in [name for name in sys.modules if name.startswith("lerobot_env_dexhil")]:
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module("lerobot_env_dexhil")


def test_every_id_has_a_twin_for_lerobot(plugin: Any) -> None:
    assert {f"lerobot_env_dexhil/{env_id}" for env_id in (*ENV_IDS, *REAL_IDS)} <= set(gym.registry)


def test_observations_are_the_same_under_other_names(plugin: Any) -> None:
    ours, theirs = make_env(ENV_IDS[0], image_size=32), gym.make(f"lerobot_env_dexhil/{ENV_IDS[0]}", image_size=32)
    options = {"lerobot_new_rollout": True}  # LeRobot's own, not the task's
    for env, given in ((ours, None), (theirs, options)):
        env.reset(seed=7, options=given)
    action = ours.action_space.sample()
    (plain, *_), (named, _, _, _, info) = ours.step(action), theirs.step(action)
    assert theirs.observation_space.contains(named)
    np.testing.assert_array_equal(named["agent_pos"], np.concatenate([plain[key] for key in STATE_KEYS]))
    for camera in ("front", "wrist"):
        np.testing.assert_array_equal(named["pixels"][camera], plain[f"image_{camera}"])
    assert info["is_success"] is False
    assert theirs.get_wrapper_attr("task_description") == ours.unwrapped.instruction  # type: ignore[attr-defined]
    assert theirs.get_wrapper_attr("_max_episode_steps") == MAX_EPISODE_STEPS


def test_targets_beyond_the_joint_ranges_are_brought_back_but_nonsense_is_refused(plugin: Any) -> None:
    env = gym.make(f"lerobot_env_dexhil/{ENV_IDS[0]}", image_size=32)
    env.reset(seed=0)
    env.step(np.full(19, 100.0))
    with pytest.raises(ActionError):
        env.step(np.full(19, np.nan))


def test_a_batch_of_environments_reports_success_where_lerobot_looks_for_it(plugin: Any) -> None:
    def one() -> gym.Env[Any, Any]:
        return gym.make(f"lerobot_env_dexhil/{ENV_IDS[1]}", image_size=32, max_episode_steps=2)

    batch = gym.vector.SyncVectorEnv([one, one], autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    batch.reset(seed=[1, 2])
    for _ in range(2):
        *_, info = batch.step(batch.action_space.sample())
    assert info["final_info"]["is_success"].tolist() == [False, False]


def test_lerobots_configuration_describes_the_environment(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for the two modules of LeRobot that it imports."""
    known: dict[str, Any] = {}

    class EnvConfig:
        @staticmethod
        def register_subclass(name: str) -> Any:
            return lambda made: known.setdefault(name, made)

    @dataclass
    class PolicyFeature:
        type: Any
        shape: tuple[int, ...]

    modules = {
        name: ModuleType(name) for name in ("lerobot", "lerobot.configs", "lerobot.configs.types", "lerobot.envs", "lerobot.envs.configs")
    }
    modules["lerobot.configs.types"].__dict__.update(FeatureType=Enum("FeatureType", "ACTION STATE VISUAL"), PolicyFeature=PolicyFeature)
    modules["lerobot.envs.configs"].__dict__.update(EnvConfig=EnvConfig)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    importlib.import_module("lerobot_env_dexhil.config")
    config = known["dexhil"](image_size=32, task=ENV_IDS[1])
    env = gym.make(config.gym_id, **config.gym_kwargs)
    space: Any = env.observation_space
    shapes = {"action": env.action_space.shape, "agent_pos": space["agent_pos"].shape}
    shapes |= {f"pixels/{name}": camera.shape for name, camera in space["pixels"].items()}
    assert {name: feature.shape for name, feature in config.features.items()} == shapes
    assert set(config.features_map.values()) == {"action", "observation.state", "observation.images.front", "observation.images.wrist"}
    assert importlib.import_module(config.package_name) is not None
