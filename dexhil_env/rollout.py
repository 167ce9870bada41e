"""One episode from reset to its end: the inner loop, written once."""

import contextlib
from collections.abc import Callable
from typing import Any, Protocol, cast

import gymnasium as gym
import numpy as np

from dexhil_env.env import DexHiLEnv
from dexhil_env.episode import Episode
from dexhil_env.errors import DexHiLError, RobotStopped
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.types import F32, Observation


class Actor(Protocol):
    """What the loop needs of a policy."""

    def reset(self, seed: int | None = None) -> None:
        """Forget queued actions; with ``seed``, start a new episode."""
        ...

    def act(self, observation: Observation, instruction: str) -> F32:
        """Return absolute joint targets (19,) [rad]."""
        ...


def run_episode(
    env: gym.Env[Observation, F32],
    policy: Actor,
    seed: int,
    recorder: EpisodeRecorder,
    *,
    options: dict[str, Any] | None = None,
    see: Callable[[dict[str, Any]], None] | None = None,
) -> Episode:
    """Run one episode and return it.

    While a person drives, the policy is asked afresh at every step, so that ``policy_action`` is what it wants now and nothing stale is
    left when it gets the robot back. Cameras are not rendered where nobody looks: nothing is recorded, nobody watches, and the policy says
    by an attribute ``looks_next`` = False that its next action is decided already.

    Args:
        env: environment, with or without :class:`HiLWrapper`.
        policy: the actor.
        seed: seed of the scene, the operator and the policy's sampling.
        recorder: collects the rows.
        options: passed to ``env.reset``.
        see: called with the info of every step, for displays.

    Raises:
        RobotStopped: the robot has stopped. This and whatever else ends the episode early, Ctrl-C and errors of the policy included, gets
            an attribute ``episode`` with what was recorded until then, truncated.
    """
    space = cast("gym.spaces.Box[np.float32]", env.action_space)
    twin = env.unwrapped
    assert isinstance(twin, DexHiLEnv)
    observation, info = env.reset(seed=seed, options=options)
    always = recorder.keep_images or twin.servo.operator is not None or twin.render_mode is not None
    policy.reset(seed)
    recorder.start(observation, info)
    over = False
    try:
        while not over:
            if info["is_intervention"] or info["is_handover"]:
                policy.reset()
            action = np.clip(policy.act(observation, info["instruction"]), space.low, space.high).astype(np.float32)
            twin.fresh_images = always or getattr(policy, "looks_next", True)
            observation, reward, terminated, truncated, info = env.step(action)
            recorder.add(observation, float(reward), terminated, truncated, info)
            over = terminated or truncated
            if see is not None:
                see(info)
    except BaseException as error:
        _cut_short(error, twin, recorder, seed)
        raise
    return recorder.finish(seed=seed, **_robot_facts(twin))


def _cut_short(error: BaseException, env: DexHiLEnv, recorder: EpisodeRecorder, seed: int) -> None:
    """Let the robot stand, and give the error what was recorded until then."""
    _let_stand(env, error)
    if len(recorder):
        reason = str(error) or type(error).__name__
        error.episode = recorder.finish(seed=seed, interrupted=reason, **_robot_facts(env))  # type: ignore[attr-defined]


def _let_stand(env: DexHiLEnv, error: BaseException) -> None:
    """End a robot's motion before anything is written: nobody drives it any more. The twin needs no such care."""
    rest = getattr(env.backend, "rest", None)
    if rest is not None and not isinstance(error, RobotStopped):
        with contextlib.suppress(DexHiLError):  # its driver and its supervisor watch it all the same; the episode must be kept
            rest(f"{type(error).__name__} in the program")


def _robot_facts(env: DexHiLEnv) -> dict[str, Any]:
    """Return what a robot says of an episode (timing, ages, changes of state); nothing in the twin."""
    facts = getattr(env.backend, "facts", None)
    return {} if facts is None else {"robot": facts()}
