"""A policy behind a socket drives an episode with a person who takes over."""

import numpy as np

from agents.job import Job
from agents.rollouts import run_many
from agents.serve.server import PolicyServer, ServeConfig
from agents.serve.vla import ServedVLA
from dexhil_env.hil.scripted import ScriptedConfig
from tests.e2e.test_serve import address, policy  # noqa: F401


def test_a_served_policy_is_corrected_like_any_other(policy) -> None:  # noqa: F811
    job = Job("DexHiL-PlushSim-v0", "", ScriptedConfig(), {"image_size": 32}, max_episode_steps=60)
    with PolicyServer(ServedVLA(policy), ServeConfig(port=0)) as server:
        remote = next(run_many(Job(**{**vars(job), "policy": address(server)}), [11]))
        policy.reset(11)
        assert server.batcher.counts.requests >= 3
    assert remote.intervention.any()
    assert not remote.intervention.all()
    assert np.isfinite(remote.action).all()
