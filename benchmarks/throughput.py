"""Environment steps per second of wall time: one environment, threads, processes."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from agents.workers import default_workers
from benchmarks.result import Result, wall_s
from dexhil_env import robot
from dexhil_env.registration import ENV_IDS, make_env
from dexhil_env.sim.vector import ThreadVectorEnv

STEPS = 50


def rate(envs: gym.vector.VectorEnv[Any, Any, Any]) -> float:
    actions = np.tile(robot.HOME.astype(np.float32), (envs.num_envs, 1))
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(actions)
    used = wall_s(lambda: [envs.step(actions) for _ in range(STEPS)])
    count = envs.num_envs
    envs.close()
    return STEPS * count / used


def measure() -> Iterator[Result]:
    count = max(2, default_workers())
    shapes: dict[str, dict[str, Any]] = {"no images": {"cameras": ()}, "two 128 px cameras": {}}
    for words, kwargs in shapes.items():
        make = partial(make_env, ENV_IDS[0], **kwargs)
        note = f"wall time, {STEPS} steps at home"
        yield Result(f"plush, {words}: 1 environment", rate(ThreadVectorEnv(ENV_IDS[0], 1, **kwargs)), "steps/s", note=note)
        yield Result(f"plush, {words}: {count} in threads", rate(ThreadVectorEnv(ENV_IDS[0], count, **kwargs)), "steps/s", note=note)
        processes = gym.vector.AsyncVectorEnv([make] * count, context="spawn")
        yield Result(f"plush, {words}: {count} in processes", rate(processes), "steps/s", note=note)
