"""``dexhil rollout``: let a policy work, on the robot or in the twin, under the eyes of a person or of nobody."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from agents.cli.operators import DeviceOptions, Devices, human, leave_terminal, time_limit
from agents.cli.robot import robot_options
from agents.job import Delay, Job
from agents.rollouts import run_many
from agents.statistics import wilson_interval
from dexhil_env.episode import Episode
from dexhil_env.hil.live.registry import REPLAY
from dexhil_env.hil.live.stream import read_recording
from dexhil_env.registration import ENV_IDS
from dexhil_env.store import EpisodeStore


def rollout(
    env: str = ENV_IDS[0],
    policy: str = "expert",
    config: Path | None = None,
    emulate: bool = False,
    operator: str = "none",
    episodes: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 10,
    seed: int = 0,
    out: Path | None = None,
    round: int = 1,
    image_size: int = 128,
    delay: Delay | None = None,
    devices: Devices = DeviceOptions(),
) -> None:
    """Run a policy episode by episode, say how each one ended, and keep them as a dataset.

    On the robot you lay the scene before every episode and give the verdict with s, f or d; the space bar stops (an operator who reads
    the terminal has keys of its own). With --emulate an emulated robot is started, whose twin judges. A robot that stops ends the run
    after asking you; what was recorded is kept.

    Args:
        env: environment id; DexHiL-PlushReal-v0 and DexHiL-TissueReal-v0 are robots.
        policy: expert (needs the twin or an emulated robot), zero, random, or a policy folder.
        config: settings of the robot, see assets/real/lab.toml and docs/hardware.md.
        emulate: start an emulated robot instead.
        operator: scripted lets the simulated human take over when the policy is about to fail (not on a real robot); console,
            keyboard or aruco-glove lets you do it; replay:FILE repeats what a person's devices said, on the recorded scene.
        episodes: number of episodes.
        seed: first seed.
        out: dataset folder to keep the episodes in; by default they are not kept.
        round: DAgger round for the record.
        image_size: camera image size [px].
        delay: measured lets a policy plan on while its last chunk is executed, so that the robot never waits for it; a number does so in
            simulated time (see dexhil eval).
        devices: what you have in the hands.
    """
    options = {"image_size": image_size, **robot_options(env, config, emulate), **leave_terminal(operator, config)}
    person = human(operator, out, devices=devices, episodes=episodes)
    job = Job(env, policy, person, options, {}, round, out is not None, time_limit(person), delay)
    if operator.startswith(REPLAY):
        job, seed, episodes = recorded_job(operator.removeprefix(REPLAY), job)
    store = EpisodeStore(out) if out is not None else None
    good = done = 0
    try:
        for episode in run_many(job, range(seed, seed + episodes)):
            done, good = done + 1, good + episode.is_success
            if store is not None:
                store.append(episode)
            print(f"{done:>4} of {episodes}  {line(episode)}", flush=True)
    finally:
        if done:
            low, high = wilson_interval(good, done)
            print(f"{good} of {done} succeeded = {good / done:.0%}  (95 % [{low:.0%}, {high:.0%}])")
        if store is not None and done:
            print(f"recorded: {out}   Look: dexhil dataset info {out}")


def recorded_job(path: str, job: Job) -> tuple[Job, int, int]:
    """Return the job, the seed and the number of episodes of a recorded device stream; which robot it is stays as asked."""
    header = read_recording(path).header
    limits = {"max_episode_steps": header["max_episode_steps"], "keep_images": header["keep_images"], "delay": header.get("delay")}
    words = {**header["env_kwargs"], **{name: job.env_kwargs[name] for name in ("config", "emulate") if name in job.env_kwargs}}
    return replace(job, env_id=header["env_id"], policy=header["policy"], env_kwargs=words, **limits), int(header["seed"]), 1


def line(episode: Episode) -> str:
    """Say in one line how an episode ended."""
    human = float(episode.intervention.mean())
    word = "success" if episode.is_success else str(episode.extra.get("interrupted") or episode.extra.get("mode") or "no success")
    driven = f", {human:.0%} driven by the human" if human else ""
    return f"seed {episode.extra.get('seed')}: {word} after {len(episode) / episode.fps:.1f} s{driven}"
