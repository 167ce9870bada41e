"""Episodes in which the policy plans on while its last chunk is executed: repeatable, and void at a takeover."""

import time

import numpy as np
import pytest

from agents.cli import main
from agents.job import Job
from agents.policy import VLAPolicy, load_policy
from agents.runner import Runner
from agents.vla.config import preset
from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.types import Command, Verdict

ENV = "DexHiL-PlushSim-v0"


def episode(planner, delay):
    return Runner(Job(ENV, planner, None, {"image_size": 32}, keep_images=False, max_episode_steps=40, delay=delay)).run(11)


def test_simulated_delays_repeat_bit_for_bit(planner):
    waiting, none, six, again = (episode(planner, delay) for delay in (None, 0, 6, 6))
    assert np.array_equal(waiting.action, none.action)
    assert np.array_equal(six.action, again.action)
    assert not np.array_equal(six.action, none.action)
    chunks = six.extra["chunks"]
    assert chunks["starts"] == [6]
    assert set(chunks["latencies"]) == {6}
    assert chunks["late"] == 0
    for seam in chunks["seams"]:  # the new chunk has begun six periods before, with what was executed since
        assert seam % 8 == 6


def test_measured_delays_are_those_of_real_time(planner):
    begun = time.monotonic()
    found = episode(planner, "measured")
    assert time.monotonic() - begun > 0.9 * len(found) * robot.CONTROL_PERIOD_S
    assert found.extra["chunks"]["starts"]
    assert min(found.extra["chunks"]["latencies"]) >= 1


class Holder:
    """Takes the robot over twice for a while and holds it."""

    spans = ((1.0, 2.0), (3.2, 3.4))

    def reset(self, env, rng):
        self.pose = None

    def watch(self, t_s, commanded):
        pass

    def poll(self, t_s, commanded):
        if not any(start <= t_s < end for start, end in self.spans):
            self.pose = None
            return Command()
        self.pose = commanded if self.pose is None else self.pose
        return Command(self.pose[robot.ARM], self.pose[robot.HAND], 1, 1)

    def verdict(self):
        return Verdict.NONE

    def facts(self):
        return {}


def test_after_a_takeover_the_robot_rests_until_a_fresh_chunk_is_there(planner):
    job = Job(ENV, planner, None, {"image_size": 32}, keep_images=False, max_episode_steps=110, delay=6)
    found = Runner(job, Holder()).run(11)
    driven, chunks = found.intervention | found.handover, found.extra["chunks"]
    resting = np.isclose(found.policy_action, np.clip(found.state[:, :19], robot.LOW, robot.HIGH), atol=1e-5).all(1)
    assert resting[1:][driven[:-1]].all()  # from the period after the takeover until the hand-back nothing of an older plan
    backs = np.flatnonzero(driven[:-1] & ~driven[1:]) + 2  # the first period in which nobody has just driven
    assert len(backs) == 2
    assert [start for start in chunks["starts"] if start > 20] == (backs + 6).tolist()
    for back in backs:
        assert resting[back : back + 6].all()
        assert not resting[back + 6]


def test_a_policy_learns_to_continue_what_it_has_not_met_before(planner, demos, tmp_path):
    start = VLAPolicy(preset("debug"), load_policy(planner).normalizer).save(tmp_path / "start")
    steps = ["--config.steps", "2", "--config.batch-size", "4", "--config.no-tensorboard", "--config.no-progress"]
    main(["train", "--data", str(demos), "--out", str(tmp_path / "run"), "--start", str(start), "--rtc-max-delay", "4", *steps])
    assert load_policy(start).longest_prefix == 0
    assert load_policy(tmp_path / "run/policy").longest_prefix == 4


def test_on_the_command_line(planner, capsys, tmp_path):
    common = ["eval", "--episodes", "1", "--image-size", "32", "--workers", "1", "--seed", "5"]
    main([*common, "--policy", planner, "--delay", "6", "--json", str(tmp_path / "out.json")])
    assert '"delay": 6' in (tmp_path / "out.json").read_text()
    with pytest.raises(SystemExit):
        main([*common, "--policy", "expert", "--delay", "measured"])
    assert "plan chunks" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="0 or more"):
        episode(planner, -1)
