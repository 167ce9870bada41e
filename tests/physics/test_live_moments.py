"""A live person thinks twice: verdicts that are taken back, single steps in a pause, leaving; also from the recorded stream."""

import numpy as np
import pytest

from agents.job import Job
from agents.runner import Runner
from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.replay import ReplayOperator
from dexhil_env.hil.live.waiting import PersonLeft
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.registration import ENV_IDS, make_env
from dexhil_env.types import ARM, Source
from tests.physics.test_takeover_live import BOTH, NEITHER, Bench, Schedule

JOB = Job(ENV_IDS[0], "zero", env_kwargs={"cameras": ()}, max_episode_steps=40)
UNDO, STEP, START, LEAVE = ({"type": kind} for kind in ("undo", "step", "start", "quit"))
JOG = {"type": "jog", "linear": [0.15, 0.0, 0.0], "angular": [0.0, 0.0, 0.0]}
SEED = 4_950_010


def verdict(value):
    return {"type": "verdict", "value": value}


def pause(on):
    return {"type": "pause", "on": on}


@pytest.mark.parametrize(
    ("words", "said", "good"),
    [
        ({12: [UNDO], 14: [verdict("failure")]}, "failure", False), ({12: [verdict("failure")]}, "failure", False),
        ({12: [verdict("discard")]}, "discard", False), ({12: [START]}, "success", True), ({12: [verdict("success")]}, "success", True),
        ({12: [UNDO], 13: [START], 14: [verdict("success")]}, "success", True),
        ({12: [UNDO], 14: [{"type": "lost"}]}, "success", True), ({12: [UNDO], 14: [LEAVE]}, "success", True),
    ],
)  # fmt: skip
def test_a_verdict_can_be_taken_back_and_the_stream_tells_so(words, said, good, tmp_path):
    person = Schedule({8: [verdict("success")], **words}, tmp_path, LiveConfig(second_look_s=60.0))
    episode = Runner(JOB, person.operator).run(SEED)
    assert (len(episode), episode.is_success, episode.extra["verdict"]) == (9, good, said)
    assert bool(episode.truncated[-1]) == (said == "discard")
    assert person.period == max(words) + 1  # it waited for the word, and no longer
    again = Runner(JOB, ReplayOperator(tmp_path / episode.extra["device_stream"])).run(SEED)
    assert (again.is_success, again.extra["verdict"], len(again)) == (good, said, 9)


def test_a_failure_becomes_a_success_and_nobody_waits_where_no_second_look_is_wanted():
    episode = Runner(
        JOB, Schedule({8: [verdict("failure")], 11: [verdict("success")]}, config=LiveConfig(second_look_s=60.0)).operator
    ).run(SEED)
    assert episode.is_success
    person = Schedule({8: [verdict("failure")], 11: [verdict("success")]})
    assert not Runner(JOB, person.operator).run(SEED).is_success
    assert person.period == 9
    with pytest.raises(ConfigError, match="second_look_s"):
        LiveConfig(second_look_s=-1.0)


def test_the_next_episode_is_judged_for_itself():
    person = Schedule({8: [verdict("success")], 10: [verdict("failure")], 16: [verdict("success")], 18: [START]})
    person.operator.config = LiveConfig(second_look_s=60.0)
    runner = Runner(JOB, person.operator)
    assert [runner.run(SEED + number).extra["verdict"] for number in range(2)] == ["failure", "success"]


def test_ctrl_c_while_it_is_thought_over_keeps_the_episode():
    person = Schedule({8: [verdict("success")]}, config=LiveConfig(second_look_s=60.0))

    def speak():
        if person.period == 12:
            raise KeyboardInterrupt
        person.speak()

    person.operator.on_period = speak
    with pytest.raises(KeyboardInterrupt) as caught:
        Runner(JOB, person.operator).run(SEED)
    assert len(caught.value.episode) == 9
    assert caught.value.episode.is_success


def test_who_leaves_in_an_episode_ends_the_program_after_it():
    person = Schedule({0: [START], 5: [LEAVE], 9: [verdict("success")]}, config=LiveConfig(wait_for_start=True))
    runner = Runner(JOB, person.operator)
    assert runner.run(SEED).is_success
    with pytest.raises(PersonLeft):
        runner.run(SEED + 1)


def test_steps_in_a_pause_change_nothing_but_the_time_they_take():
    job = Job(ENV_IDS[0], "expert", env_kwargs={"cameras": ()}, max_episode_steps=16)
    plain = Runner(job, Schedule({}).operator).run(SEED)
    person = Schedule({1: [STEP], 6: [pause(True)], 10: [STEP], 13: [STEP, STEP], 18: [pause(False)]})
    stepped = Runner(job, person.operator).run(SEED)
    assert np.array_equal(stepped.action, plain.action)
    assert not stepped.intervention.any()
    assert person.period == 16 + (10 - 7) + (13 - 11) + (18 - 14)  # one period at each step, none in between


def test_a_step_lets_a_driving_person_move_the_robot_for_one_period(tmp_path):
    words = {period: [JOG] for period in range(5, 40)}
    words |= {
        4: [BOTH],
        8: [JOG, pause(True)],
        12: [JOG, STEP],
        16: [JOG, STEP],
        20: [JOG, pause(False)],
        24: [NEITHER],
        26: [verdict("failure")],
    }
    episode = Runner(JOB, Schedule(words, tmp_path).operator).run(SEED)
    moved = np.abs(np.diff(episode.action[:, ARM], axis=0)).max(axis=1) > 1e-4
    assert moved[5:7].all()
    assert moved[8:12].all()  # two steps, then on
    assert (episode.intervention_source[4:] == Source.BOTH)[:8].all()
    again = Runner(JOB, ReplayOperator(tmp_path / episode.extra["device_stream"])).run(SEED)
    assert np.array_equal(again.action, episode.action)


def test_a_new_pause_holds_after_a_step():
    env = make_env(ENV_IDS[0], cameras=()).unwrapped
    env.reset(seed=0)
    words = {tick: [JOG] for tick in range(10, 400, 5)}
    words |= {5: [BOTH], 100: [JOG, pause(True)], 200: [JOG, STEP], 300: [JOG, pause(True)]}
    arm = Bench(env, words).run(40).targets[:, ARM]
    moved = [np.abs(np.ptp(arm[first:last], axis=0)).max() > 1e-3 for first, last in ((20, 100), (140, 200), (200, 300), (340, 400))]
    assert moved == [True, False, True, False]
