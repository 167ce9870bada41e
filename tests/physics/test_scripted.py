"""The simulated human in the twin: it takes over when it must, without a jump, finishes the task, and leaves experts alone."""

import numpy as np
import pytest

from agents.job import Job
from agents.rollouts import run_many
from agents.runner import Runner
from dexhil_env import robot
from dexhil_env.env import DexHiLEnv
from dexhil_env.hil.scripted import ScriptedConfig, ScriptedOperator
from dexhil_env.hil.wrapper import HiLWrapper
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.registration import ENV_IDS, make_env
from dexhil_env.rollout import run_episode
from dexhil_env.types import Source

STATE_ONLY = {"cameras": ()}
SEED = 7_000_000


class Distracted:
    """A policy that lowers its open hand beside everything: the simulated human must step in."""

    def reset(self, seed=None):
        self.step = 0

    def act(self, observation, instruction):
        self.step += 1
        target = robot.HOME.copy()
        share = min(self.step / 40, 1.0)
        target[:4] += share * np.array([0.35, 0.55, 0.0, -0.25])
        return target.astype(np.float32)


def watched(env_id, config=None, policy=None, seed=SEED):
    env = make_env(env_id, max_episode_steps=300, **STATE_ONLY)  # time for a late takeover and a second try
    operator = ScriptedOperator(config)
    wrapped = HiLWrapper(env, operator)
    assert isinstance(env.unwrapped, DexHiLEnv)
    ticks = []
    servo = env.unwrapped.servo

    def see(info):
        ticks.append((list(servo.report.tick_sources), info))

    episode = run_episode(wrapped, policy or Distracted(), seed, EpisodeRecorder(env.unwrapped.task.name, 1), see=see)
    episode.extra |= operator.facts()
    return episode, ticks


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_takes_over_from_a_failing_policy_without_a_jump_and_labels_what_was_executed(env_id):
    episode, ticks = watched(env_id)
    assert episode.extra["takeovers"]
    assert episode.intervention.any()
    assert not episode.intervention[0]
    for (sources, info), code in zip(ticks, episode.intervention_source, strict=True):
        assert int(sources[-1]) == code
        assert info["intervention_source"] == Source(int(code)).label
    takeovers = [event for event in episode.extra["handovers"] if event["kind"] == "takeover"]
    assert {event["limb"] for event in takeovers} == {"arm", "hand"}
    assert takeovers[0]["t_s"] == takeovers[1]["t_s"]
    assert max(event["goal_jump_rad"] for event in takeovers) < 1e-9  # anchored on the last command: no jump at all
    start = int(np.argmax(episode.intervention))
    assert episode.t_arm_ns[start] > 0
    assert episode.t_hand_ns[start] > 0
    steps = np.abs(np.diff(episode.action, axis=0)).max(0)
    assert (steps <= robot.MAX_VELOCITY * robot.CONTROL_PERIOD_S * 1.001).all()


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_the_correction_usually_succeeds(env_id):
    outcomes = [watched(env_id, seed=SEED + i)[0].is_success for i in range(4)]
    assert sum(outcomes) >= 3


@pytest.mark.parametrize("limbs", ["arm", "hand"])
def test_takes_one_limb_only(limbs):
    episode, _ = watched(ENV_IDS[0], ScriptedConfig(limbs=limbs))
    codes = set(episode.intervention_source.tolist())
    assert codes == {0, int(Source.ARM if limbs == "arm" else Source.HAND)}


def test_hands_back_with_a_blend_when_asked_to():
    episode, _ = watched(ENV_IDS[0], ScriptedConfig(handback="when_safe", safe_s=0.3, max_interventions=1))
    assert episode.handover.any()
    rows = np.flatnonzero(episode.handover)
    assert not episode.intervention[rows].any()
    assert any(event["kind"] == "release" for event in episode.extra["handovers"])
    assert np.abs(np.diff(episode.action, axis=0)).max() <= robot.MAX_VELOCITY.max() * robot.CONTROL_PERIOD_S * 1.001


def test_a_watched_episode_is_repeated_bit_for_bit():
    job = Job(ENV_IDS[0], "zero", ScriptedConfig(), STATE_ONLY)
    first, second = Runner(job).run(SEED + 9), Runner(job).run(SEED + 9)
    assert np.array_equal(first.state, second.state)
    assert np.array_equal(first.action, second.action)
    assert first.extra["takeovers"] == second.extra["takeovers"]


@pytest.mark.parametrize(("env_id", "episodes"), [(ENV_IDS[0], 20), (ENV_IDS[1], 12)])
def test_leaves_the_expert_alone(env_id, episodes):
    job = Job(env_id, "expert", ScriptedConfig(), STATE_ONLY)
    alarms = [episode.extra["first_alarm"] for episode in run_many(job, range(SEED + 100, SEED + 100 + episodes), workers=2)]
    assert sum(alarm is not None for alarm in alarms) <= 0.1 * episodes, alarms
