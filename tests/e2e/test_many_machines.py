"""Episodes on a Ray cluster are those of one process."""

import numpy as np
import pytest

from agents.evaluate import evaluate
from agents.job import Job
from agents.rollouts import run_many
from agents.workers import RayWorkers, parse_workers
from dexhil_env.errors import ConfigError
from dexhil_env.hil.scripted import ScriptedConfig

JOB = Job("DexHiL-PlushSim-v0", "random", ScriptedConfig(), {"cameras": ()}, max_episode_steps=25)


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        ("3", 3),
        ("ray:2", RayWorkers(2)),
        ("ray:64@auto", RayWorkers(64, "auto")),
        (" ray:8@ray://h:10001 ", RayWorkers(8, "ray://h:10001")),
    ],
)
def test_workers_are_read(text, workers):
    assert parse_workers(text) == workers


@pytest.mark.parametrize("text", ["0", "ray", "ray:0", "4@auto", "many", ""])
def test_other_words_are_refused(text):
    with pytest.raises(ConfigError, match="ray:N"):
        parse_workers(text)


def test_two_ray_workers_reproduce_one_process():
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    try:
        here = list(run_many(JOB, range(5)))
        there = list(run_many(JOB, range(5), RayWorkers(2)))
        for one, other in zip(here, there, strict=True):
            assert one.extra["seed"] == other.extra["seed"]
            np.testing.assert_array_equal(one.action, other.action)
            np.testing.assert_array_equal(one.state, other.state)
            np.testing.assert_array_equal(one.intervention, other.intervention)
        assert any(episode.intervention.any() for episode in there)
        results = [evaluate(JOB, range(4), workers, progress=False) for workers in (1, RayWorkers(2))]
        assert (results[0].success, results[0].steps, results[0].modes) == (results[1].success, results[1].steps, results[1].modes)
    finally:
        ray.shutdown()
