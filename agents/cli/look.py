"""``dexhil eval | report | play``: see how good a policy is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro

from agents.cli.robot import robot_options
from agents.dagger import EVAL_SEED
from agents.evaluate import EvalResult
from agents.evaluate import evaluate as run_evaluation
from agents.film import film
from agents.job import Delay, Job
from agents.runner import make_policy
from agents.workers import parse_workers
from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import ConfigError
from dexhil_env.hil.scripted import ScriptedConfig
from dexhil_env.registration import ENV_IDS, make_env

_SEES_STATE = ("expert", "zero", "random")


def evaluate(
    env: str = ENV_IDS[0],
    policy: str = "expert",
    config: Path | None = None,
    emulate: bool = False,
    episodes: int = 50,
    seed: int = EVAL_SEED,
    json: Path | None = None,
    against: Path | None = None,
    never_close: bool = False,
    image_size: int = 128,
    workers: str | None = None,
    delay: Delay | None = None,
) -> None:
    """Run episodes on consecutive seeds and print the success rate with its 95 % interval.

    Args:
        env: environment id.
        policy: expert, zero (stays at home), random, or a policy folder.
        config: settings of the robot, for a real id.
        emulate: an emulated robot, for a real id.
        episodes: number of episodes.
        seed: first seed.
        json: write the results there (keys n_episodes, n_success, pc_success, pc_success_ci95, seeds, ...).
        against: earlier results on the same seeds to compare with, pair by pair.
        never_close: the expert keeps its hand open (a control that must fail).
        image_size: camera image size [px].
        workers: processes, by default one per processor; or ray:N, ray:N@ADDRESS for actors of a Ray cluster (docs/scale.md).
        delay: the policy plans on while its last chunk is executed, and its answers take this many control periods of 50 ms; measured:
            as long as they take, in real time. By default the robot waits for every chunk.
    """
    cameras = {"cameras": ()} if policy in _SEES_STATE else {"image_size": image_size}
    extra = {"never_close": True} if never_close else {}
    job = Job(env, policy, env_kwargs={**cameras, **robot_options(env, config, emulate)}, policy_kwargs=extra, delay=delay)
    result = run_evaluation(job, range(seed, seed + episodes), parse_workers(workers))
    low, high = result.interval
    print(f"{env} {policy}: {result.n_success}/{episodes} = {result.n_success / max(episodes, 1):.1%}  (95 % [{low:.1%}, {high:.1%}])")
    print(f"seeds {seed} to {seed + episodes - 1}, {result.eval_s:.0f} s")
    if json is not None:
        result.save(json)
        print(f"results: {json}")
    if against is not None:
        pair = result.against(EvalResult.load(against))
        print(
            f"against {against}: {pair.difference:+.1%} [{pair.low:+.1%}, {pair.high:+.1%}], "
            f"gained {pair.gained}, lost {pair.lost}, McNemar p = {pair.p_value:.3g}"
        )


def report(run: Annotated[Path, tyro.conf.Positional], videos: int = 2) -> None:
    """Write the web page of a run: RUN/report/index.html, opens from disk.

    Args:
        run: run folder of `dexhil dagger` or `dexhil demo`.
        videos: filmed episodes per environment.
    """
    from agents.report import write_report

    print(f"report: {write_report(run, videos)}")


def play(
    env: str = ENV_IDS[0],
    policy: str = "expert",
    operator: bool = False,
    seed: int = 0,
    video: Path | None = None,
    image_size: int = 128,
) -> None:
    """Watch a policy: in MuJoCo's viewer when there is a screen, else (or with --video) as a video file.

    Args:
        env: environment id.
        policy: expert, zero, random, or a policy folder.
        operator: let the simulated human watch and take over; its frames get a coloured border in the video.
        seed: episode seed.
        video: write a video there instead of opening a window.
        image_size: camera image size [px] that the policy sees.
    """
    import os
    import sys

    screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform in ("darwin", "win32")
    cameras = {"cameras": ()} if policy in _SEES_STATE else {"image_size": image_size}
    if video is None and screen:
        _play_in_window(env, policy, seed, cameras)
        return
    target = video or Path("play.mp4")
    job = Job(env, policy, ScriptedConfig() if operator else None, cameras)
    episode = film(job, seed, target)
    print(f"{'success' if episode.is_success else 'no success'} after {len(episode) / episode.fps:.1f} s: {target}")


def _play_in_window(env_id: str, policy: str, seed: int, kwargs: Mapping[str, Any]) -> None:
    env = make_env(env_id, render_mode="human", realtime=True, **kwargs)
    actor = make_policy(policy, env)
    assert isinstance(env.unwrapped, DexHiLEnv)
    assert isinstance(env.action_space, gym.spaces.Box)
    if not hasattr(env.unwrapped.backend, "show"):
        raise ConfigError(f"{env_id} has no viewer; use --video FILE")
    low, high = env.action_space.low, env.action_space.high
    while True:
        observation, info = env.reset(seed=seed)
        actor.reset(seed)
        over = False
        while not over:
            action = np.clip(actor.act(observation, info["instruction"]), low, high)
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        print(f"seed {seed}: {'success' if info['is_success'] else 'no success'}; close the window or press Ctrl-C to stop")
        seed += 1
