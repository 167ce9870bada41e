"""Run many episodes, in this process or in several; the results do not depend on how many."""

import json
import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym

from agents.async_chunks import AsyncChunks
from agents.checkpoint import is_actor
from agents.chunking import ChunkPolicy
from agents.failure_modes import watch_failures
from agents.recovery import GoOn, ask_to_recover
from agents.simple import HoldPolicy, RandomPolicy
from agents.workers import RayWorkers, Workers
from dexhil_env.env import DexHiLEnv
from dexhil_env.episode import Episode
from dexhil_env.errors import ConfigError, RobotStopped
from dexhil_env.hil.live.answers import ThreadedPolicy
from dexhil_env.hil.live.operator import HumanOperator
from dexhil_env.hil.live.registry import OperatorSpec, make_operator
from dexhil_env.hil.live.replay import ReplayOperator
from dexhil_env.hil.live.waiting import judge_again
from dexhil_env.hil.operator import Operator
from dexhil_env.hil.scripted import ScriptedConfig, ScriptedOperator
from dexhil_env.hil.sim_experts import ExpertPolicy
from dexhil_env.hil.wrapper import HiLWrapper
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.registration import REAL_IDS, make_env
from dexhil_env.rollout import Actor, run_episode

Delay = int | Literal["measured"]
"""Control periods that a policy's answers take in simulated time; or as long as they really take, which is in real time."""
BUILTIN_POLICIES = ("expert", "zero", "random")
SWITCH_S = 5e-4
"""How long Python lets one thread run while others wait, with a person at the devices [s]; the default of 5 ms is a whole servo tick."""


@dataclass(frozen=True)
class Job:
    """What to run.

    Attributes:
        env_id: environment id.
        policy: ``expert``, ``zero`` (stays at home), ``random``, or a policy folder.
        operator: habits of the simulated human, a live operator by name, or None to run without one.
        env_kwargs: further arguments of ``gym.make``.
        policy_kwargs: further arguments of the policy (for the expert: ``motion``, ``never_close``).
        round_index: DAgger round for the record.
        keep_images: return the images with the episodes.
        max_episode_steps: overrides the registered time limit.
        delay: the policy plans on while its last chunk is executed (:class:`agents.async_chunks.AsyncChunks`); None: the robot waits.
    """

    env_id: str
    policy: str = "expert"
    operator: ScriptedConfig | OperatorSpec | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    round_index: int = 0
    keep_images: bool = True
    max_episode_steps: int | None = None
    delay: Delay | None = None

    @property
    def live(self) -> bool:
        """Whether a person sits there: one process, in real time."""
        return isinstance(self.operator, OperatorSpec) and not self.operator.replays

    @property
    def header(self) -> dict[str, Any]:
        """What must be equal for a repetition of a device stream, JSON-serialisable."""
        words = {name: value for name, value in self.env_kwargs.items() if name not in ("realtime", "keys") and not callable(value)}
        return {
            "env_id": self.env_id, "policy": self.policy, "env_kwargs": json.loads(json.dumps(words, default=str)),
            "max_episode_steps": self.max_episode_steps, "keep_images": self.keep_images,
            **({} if self.delay is None else {"delay": self.delay}),
        }  # fmt: skip


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
    if spec.startswith(("ws://", "wss://")) or Path(spec).suffix == ".json":
        from agents.serve.remote import RemotePolicy

        return RemotePolicy.from_spec(spec, **kwargs)
    if is_actor(Path(spec)):
        from agents.rl.policy import RLPolicy

        return RLPolicy(Path(spec), unwrapped)
    if (Path(spec) / "config.json").exists():
        from agents.policy import load_policy

        return load_policy(spec, **kwargs)
    raise ConfigError(
        f"unknown policy {spec!r}: give one of {BUILTIN_POLICIES}, a folder with config.json and model.safetensors, a server's address "
        "(ws://HOST:PORT), or a .json file that describes one"
    )


class Runner:
    """An environment, a policy and perhaps a human, simulated or real, kept between episodes.

    Args:
        job: everything is made that it names.
        operator: a live operator that is there already.
    """

    def __init__(self, job: Job, operator: Operator | None = None) -> None:
        limit = {"max_episode_steps": job.max_episode_steps} if job.max_episode_steps else {}
        env = make_env(job.env_id, **{**job.env_kwargs, **({"realtime": True} if job.live or job.delay == "measured" else {})}, **limit)
        self.policy = make_policy(job.policy, env, **job.policy_kwargs)
        self.operator = operator or _make_human(job)
        if job.delay is not None:
            self.policy = _planning_ahead(self.policy, job.delay, self.operator)
        elif isinstance(self.operator, HumanOperator):
            self.policy = _threaded(self.policy, self.operator)
        self.env = HiLWrapper(env, self.operator) if self.operator is not None else env
        assert isinstance(env.unwrapped, DexHiLEnv)
        self.recorder = EpisodeRecorder(env.unwrapped.task.name, job.round_index, job.keep_images)
        self._facts, self._header = {"env_id": job.env_id, "policy": job.policy}, job.header
        self._watcher = watch_failures(env.unwrapped)

    def run(self, seed: int, see: Callable[[dict[str, Any]], None] | None = None) -> Episode:
        """Run one episode; ``see`` is called with the info of every step. In the twin, ``extra["mode"]`` says how the episode ended.

        Raises:
            RobotStopped: the robot has stopped; like every exception, it has what was recorded until then as its ``episode``.
        """
        watcher = self._watcher
        if watcher is not None:
            watcher.reset()
        if isinstance(self.operator, HumanOperator):
            self.operator.announce({**self._header, "seed": seed})
        watches = [watch for watch in (see, watcher and watcher.see) if watch is not None]

        def look(info: dict[str, Any]) -> None:
            for watch in watches:
                watch(info)

        try:
            episode = run_episode(self.env, self.policy, seed, self.recorder, see=look)
        except BaseException as error:
            interrupted: Episode | None = getattr(error, "episode", None)
            if interrupted is not None:
                self._tell(interrupted)
            raise
        try:
            self._tell(episode)
        except BaseException as error:  # the person thinks it over, and may end the program then
            error.episode = episode  # type: ignore[attr-defined]
            raise
        return episode

    def _tell(self, episode: Episode) -> None:
        """Write beside an episode who did what."""
        watcher = self._watcher
        episode.extra |= self._facts
        if watcher is not None:
            episode.extra["mode"] = watcher.mode()
        if self.operator is not None:
            episode.extra |= self.operator.facts()
        if isinstance(self.operator, HumanOperator) and self.operator.second_verdict is not None:
            judge_again(episode, self.operator.second_verdict)
        if isinstance(self.policy, ThreadedPolicy):
            episode.extra["policy_late"] = self.policy.late
        if isinstance(self.policy, AsyncChunks):
            episode.extra["chunks"] = self.policy.facts()

    def close(self) -> None:
        """Let a live operator and the policy's thread go; the environment stays."""
        if isinstance(self.operator, HumanOperator):
            self.operator.close()
        if isinstance(self.policy, ThreadedPolicy | AsyncChunks):
            self.policy.close()


def _make_human(job: Job) -> Operator | None:
    if isinstance(job.operator, OperatorSpec):
        if job.live:
            sys.setswitchinterval(SWITCH_S)
        return make_operator(job.operator)
    return ScriptedOperator(job.operator) if job.operator is not None else None


def _threaded(policy: Actor, operator: HumanOperator) -> Actor:
    """Let a policy with chunks think on a thread of its own; the others are quick, and some of them look at the scene itself."""
    if not hasattr(policy, "looks_next"):
        return policy
    return ThreadedPolicy(policy, operator.stream.answer, _recorded_answers(operator))


def _recorded_answers(operator: Operator | None) -> deque[bool] | None:
    """Return when the policy's answers were there, in a recorded run that is repeated."""
    return operator.recording.answers if isinstance(operator, ReplayOperator) else None


def _planning_ahead(policy: Actor, delay: Delay, operator: Operator | None) -> AsyncChunks:
    """Let a policy with chunks plan on while it executes; a person's recording notes when the answers came."""
    if not isinstance(policy, ChunkPolicy):
        raise ConfigError(f"{type(policy).__name__} decides period by period; --delay is for policies that plan chunks of actions")
    if delay != "measured":
        return AsyncChunks(policy, delay)
    sys.setswitchinterval(SWITCH_S)
    note = operator.stream.answer if isinstance(operator, HumanOperator) else None
    return AsyncChunks(policy, None, note, _recorded_answers(operator))


_runner: Runner | None = None


def _start(job: Job) -> None:
    import torch

    torch.set_num_threads(1)
    global _runner  # noqa: PLW0603  (one runner per worker process)
    _runner = Runner(job)


def _run(seed: int) -> Episode:
    assert _runner is not None
    return _runner.run(seed)


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
            except BaseException as error:
                # a person's time is kept; in the twin with a simulated human the same seed makes the same episode again
                episode: Episode | None = getattr(error, "episode", None)
                if episode is not None and (job.live or job.env_id in REAL_IDS):
                    yield episode
                raise
    finally:
        runner.close()
        if job.env_id in REAL_IDS:
            runner.env.close()


def run_many(job: Job, seeds: Iterable[int], workers: Workers = 1, go_on: GoOn = ask_to_recover) -> Iterator[Episode]:
    """Yield one episode per seed, in the order of the seeds.

    Args:
        job: what to run.
        seeds: taken lazily, so a caller that has enough may stop.
        workers: processes, 1 runs in this one, or actors of a Ray cluster. A robot and a live person have one, whatever is asked for.
        go_on: asked when a robot has stopped, after the interrupted episode was yielded; True when a person has looked and it may go on.

    Raises:
        RobotStopped: the robot has stopped and nobody says that it may go on.
    """
    if workers == 1 or job.env_id in REAL_IDS or isinstance(job.operator, OperatorSpec):
        yield from _run_here(job, seeds, go_on)
        return
    if isinstance(workers, RayWorkers):
        from agents.on_ray import run_on_ray

        yield from run_on_ray(job, seeds, workers)
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
