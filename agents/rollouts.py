"""Run many episodes, in this process or in several; the results do not depend on how many."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

from agents.failure_modes import watch_failures
from agents.recovery import GoOn, ask_to_recover
from agents.simple import HoldPolicy, RandomPolicy
from dexhil_env.env import DexHiLEnv
from dexhil_env.episode import Episode
from dexhil_env.errors import ConfigError, RobotStopped
from dexhil_env.hil.scripted import ScriptedConfig, ScriptedOperator
from dexhil_env.hil.sim_experts import ExpertPolicy
from dexhil_env.hil.wrapper import HiLWrapper
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.registration import REAL_IDS, make_env
from dexhil_env.rollout import Actor, run_episode

BUILTIN_POLICIES = ("expert", "zero", "random")


@dataclass(frozen=True)
class Job:
    """What to run.

    Attributes:
        env_id: environment id.
        policy: ``expert``, ``zero`` (stays at home), ``random``, or a policy folder.
        operator: habits of the simulated human, or None to run without one.
        env_kwargs: further arguments of ``gym.make``.
        policy_kwargs: further arguments of the policy (for the expert: ``motion``, ``never_close``).
        round_index: DAgger round for the record.
        keep_images: return the images with the episodes.
        max_episode_steps: overrides the registered time limit.
    """

    env_id: str
    policy: str = "expert"
    operator: ScriptedConfig | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    round_index: int = 0
    keep_images: bool = True
    max_episode_steps: int | None = None


def make_policy(spec: str, env: gym.Env[Any, Any], **kwargs: Any) -> Actor:
    """Make a policy from a word or a folder.

    Raises:
        ConfigError: neither a known word nor a policy folder.
    """
    unwrapped = env.unwrapped
    assert isinstance(unwrapped, DexHiLEnv)
    if spec == "expert":
        return ExpertPolicy(unwrapped, **kwargs)
    if spec == "zero":
        return HoldPolicy()
    if spec == "random":
        return RandomPolicy()
    if (Path(spec) / "config.json").exists():
        from agents.policy import load_policy

        return load_policy(spec, **kwargs)
    raise ConfigError(f"unknown policy {spec!r}: give one of {BUILTIN_POLICIES} or a folder with config.json and model.safetensors")


class Runner:
    """An environment, a policy and perhaps a simulated human, kept between episodes."""

    def __init__(self, job: Job) -> None:
        """Make everything that the job names."""
        limit = {"max_episode_steps": job.max_episode_steps} if job.max_episode_steps else {}
        env = make_env(job.env_id, **job.env_kwargs, **limit)
        self.policy = make_policy(job.policy, env, **job.policy_kwargs)
        self.operator = ScriptedOperator(job.operator) if job.operator is not None else None
        self.env = HiLWrapper(env, self.operator) if self.operator is not None else env
        assert isinstance(env.unwrapped, DexHiLEnv)
        self.recorder = EpisodeRecorder(env.unwrapped.task.name, job.round_index, job.keep_images)
        self._facts = {"env_id": job.env_id, "policy": job.policy}
        self._watcher = watch_failures(env.unwrapped)

    def run(self, seed: int, see: Callable[[dict[str, Any]], None] | None = None) -> Episode:
        """Run one episode; ``see`` is called with the info of every step. In the twin, ``extra["mode"]`` says how the episode ended.

        Raises:
            RobotStopped: the robot has stopped; the error's ``episode`` is what was recorded until then.
        """
        watcher = self._watcher
        if watcher is not None:
            watcher.reset()
        watches = [watch for watch in (see, watcher and watcher.see) if watch is not None]

        def look(info: dict[str, Any]) -> None:
            for watch in watches:
                watch(info)

        try:
            episode = run_episode(self.env, self.policy, seed, self.recorder, see=look)
        except RobotStopped as stop:
            if stop.episode is not None:
                self._tell(stop.episode)
            raise
        self._tell(episode)
        return episode

    def _tell(self, episode: Episode) -> None:
        """Write beside an episode who did what."""
        watcher = self._watcher
        episode.extra |= self._facts
        if watcher is not None:
            episode.extra["mode"] = watcher.mode()
        if self.operator is not None:
            episode.extra |= self.operator.facts()


_runner: Runner | None = None


def _start(job: Job) -> None:
    import torch

    torch.set_num_threads(1)
    global _runner  # noqa: PLW0603  (one runner per worker process)
    _runner = Runner(job)


def _run(seed: int) -> Episode:
    assert _runner is not None
    return _runner.run(seed)


def default_workers() -> int:
    """Number of worker processes: the processors this process may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _run_here(job: Job, seeds: Iterable[int], go_on: GoOn) -> Iterator[Episode]:
    import torch

    torch.set_num_threads(1)
    runner = Runner(job)
    try:
        for seed in seeds:
            try:
                yield runner.run(seed)
            except RobotStopped as stop:
                if stop.episode is not None:
                    yield stop.episode
                if not go_on(stop, runner.env):
                    raise
    finally:
        if job.env_id in REAL_IDS:
            runner.env.close()


def run_many(job: Job, seeds: Iterable[int], workers: int = 1, go_on: GoOn = ask_to_recover) -> Iterator[Episode]:
    """Yield one episode per seed, in the order of the seeds.

    Args:
        job: what to run.
        seeds: taken lazily, so a caller that has enough may stop.
        workers: processes; 1 runs in this one. A robot has one, whatever is asked for.
        go_on: asked when a robot has stopped, after the interrupted episode was yielded; True when a person has looked and it may go on.

    Raises:
        RobotStopped: the robot has stopped and nobody says that it may go on.
    """
    if workers <= 1 or job.env_id in REAL_IDS:
        yield from _run_here(job, seeds, go_on)
        return
    context = multiprocessing.get_context("spawn")
    source = iter(seeds)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(job,)) as pool:
        pending: deque[Future[Episode]] = deque()
        try:
            for seed in source:
                pending.append(pool.submit(_run, seed))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
