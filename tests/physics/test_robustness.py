"""What must never happen: physics that breaks under wild actions, success by accident."""

import numpy as np
import pytest

from agents.job import Job
from agents.rollouts import run_many
from benchmarks.stability import random_episodes
from dexhil_env.registration import ENV_IDS

EPISODES = 40
STEPS = 25
FASTEST_ARM_RAD_S = 25.0
"""A wrist joint that comes free after jamming on the table catches up at full torque: sqrt(2 * 12 Nm * 2 rad / 0.1 kg m^2) = 22 rad/s."""


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_random_actions_neither_break_the_physics_nor_succeed(env_id):
    found = random_episodes(env_id, EPISODES, STEPS)
    assert found.episodes == EPISODES
    assert not found.warnings
    assert (found.divergences, found.not_finite, found.successes) == (0, 0, 0)
    assert 0.5 < found.arm_speed < FASTEST_ARM_RAD_S


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize(("policy", "kwargs"), [("zero", {}), ("random", {}), ("expert", {"never_close": True})])
def test_success_is_no_accident(env_id, policy, kwargs):
    job = Job(env_id, policy, env_kwargs={"cameras": ()}, policy_kwargs=kwargs)
    episodes = list(run_many(job, range(5_100_000, 5_100_003)))
    assert not any(episode.is_success for episode in episodes)
    assert all(np.isfinite(episode.state).all() for episode in episodes)
