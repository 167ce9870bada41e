"""An evaluation renders only what the policy looks at, and finds the same."""

from typing import Any

import numpy as np
import pytest

from dexhil_env.env import DexHiLEnv
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.registration import make_env
from dexhil_env.robot import HOME
from dexhil_env.rollout import run_episode


class Chunked:
    """Acts on the mean brightness it saw, eight actions at a time, and remembers what it saw."""

    def __init__(self, lazy: bool) -> None:
        self.seen: list[float] = []
        self._left, self._lazy = 0, lazy

    def reset(self, seed: int | None = None) -> None:
        del seed
        self._left = 0

    @property
    def looks_next(self) -> bool:
        return self._left == 0 or not self._lazy

    def act(self, observation: Any, instruction: str) -> Any:
        del instruction
        if not self._left:
            self._left = 8
            self.seen.append(float(observation["image_front"].mean() + observation["image_wrist"].mean()))
        self._left -= 1
        action = HOME.astype(np.float32).copy()
        action[0] += 0.001 * (self.seen[-1] % 100)
        return action


@pytest.mark.parametrize("lazy", [True, False])
def test_images_are_rendered_when_the_policy_looks(lazy: bool) -> None:
    env = make_env("DexHiL-PlushSim-v0", image_size=32, max_episode_steps=24)
    twin = env.unwrapped
    assert isinstance(twin, DexHiLEnv)
    calls, images = [0], twin.backend.images

    def counted() -> Any:
        calls[0] += 1
        return images()

    twin.backend.images = counted  # type: ignore[method-assign]
    policy, reference = Chunked(lazy), Chunked(False)
    episode = run_episode(env, policy, 4_900_000, EpisodeRecorder("plush", keep_images=False))
    assert calls[0] == (4 if lazy else 25)  # reset, then before steps 9 and 17, and the one after the last
    recorded = run_episode(env, reference, 4_900_000, EpisodeRecorder("plush"))
    np.testing.assert_array_equal(episode.action, recorded.action)
    assert policy.seen == reference.seen
    assert not episode.images
    assert recorded.images["front"].shape == (24, 32, 32, 3)
    env.close()
