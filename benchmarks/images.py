"""Image observations per second against a dexterous environment of Gymnasium-Robotics, in the same run and with the same OpenGL."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym

from benchmarks.result import Result, cpu_s
from dexhil_env.registration import ENV_IDS, make_env

STEPS = 60
OTHER = "AdroitHandRelocate-v1"
NAME = f"one 128 px image per step: ours / {OTHER}"


def steps_per_s(env: gym.Env[Any, Any], see: Callable[[], object]) -> float:
    """Random actions; an episode that ends is followed by the next one."""
    env.reset(seed=0)
    env.action_space.seed(0)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        see()
        if terminated or truncated:
            env.reset()

    for _ in range(5):
        step()
    used = cpu_s(lambda: [step() for _ in range(STEPS)])
    env.close()
    return STEPS / used


def ours() -> float:
    return steps_per_s(make_env(ENV_IDS[0], cameras=("front",)), lambda: None)  # the image is part of the observation


def theirs() -> float:
    gym.register_envs(importlib.import_module("gymnasium_robotics"))
    env = gym.make(OTHER, render_mode="rgb_array", width=128, height=128)
    return steps_per_s(env, env.render)


def measure() -> Iterator[Result]:
    mine = ours()
    yield Result(f"{ENV_IDS[0]}, one 128 px camera", mine, "steps/s", note=f"CPU time, {STEPS} steps of 50 ms, random actions")
    if importlib.util.find_spec("gymnasium_robotics") is None:
        yield Result(NAME, None, "", note="gymnasium-robotics is not installed: pip install 'dexhil[bench]'")
        return
    other = theirs()
    yield Result(f"{OTHER}, one 128 px render", other, "steps/s", note=f"CPU time, {STEPS} steps of 10 ms, random actions")
    yield Result(NAME, mine / other, "x", note="a step of ours simulates 50 ms, a step of theirs 10 ms")
