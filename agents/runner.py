"""Run one episode after another in one environment."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import gymnasium as gym

from agents.async_chunks import AsyncChunks
from agents.checkpoint import is_actor
from agents.chunking import ChunkPolicy
from agents.failure_modes import watch_failures
from agents.job import Delay, Job
from agents.simple import HoldPolicy, RandomPolicy
from dexhil_env.clock import be_punctual
from dexhil_env.env import DexHiLEnv
from dexhil_env.episode import Episode
from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.answers import ThreadedPolicy
from dexhil_env.hil.live.operator import HumanOperator
from dexhil_env.hil.live.registry import OperatorSpec, make_operator
from dexhil_env.hil.live.replay import ReplayOperator
from dexhil_env.hil.live.waiting import judge_again
from dexhil_env.hil.operator import Operator
from dexhil_env.hil.scripted import ScriptedOperator
from dexhil_env.hil.sim_experts import ExpertPolicy
from dexhil_env.hil.wrapper import HiLWrapper
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.registration import make_env
from dexhil_env.rollout import Actor, run_episode

BUILTIN_POLICIES: Final = ("expert", "zero", "random")


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
            be_punctual()
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
    be_punctual()
    note = operator.stream.answer if isinstance(operator, HumanOperator) else None
    return AsyncChunks(policy, None, note, _recorded_answers(operator))
