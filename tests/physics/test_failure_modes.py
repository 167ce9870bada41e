"""The name of a failure is what a person would see: scripted policies that fail in one known way."""

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.evaluate import EvalResult, evaluate
from agents.failure_modes import CAUSES, SUCCESS, TWITCH_STEPS, ModeWatcher, _Eye, _Look, watch_failures
from agents.job import Job
from agents.runner import Runner
from dexhil_env.hil.experts import plush, tissue
from dexhil_env.registration import ENV_IDS
from dexhil_env.robot import ARM_HOME, HOME

STATE_ONLY = {"cameras": ()}
SEED = 4_900_000
CLOSED = {ENV_IDS[0]: plush.CLOSED, ENV_IDS[1]: tissue.SQUEEZE}
OPEN = {ENV_IDS[0]: plush.OPEN, ENV_IDS[1]: tissue.OPEN}
APPROACH = {ENV_IDS[0]: 20, ENV_IDS[1]: 24}
"""Periods after which the expert's hand is some centimetres over the object."""
MISSED = {ENV_IDS[0]: "missed", ENV_IDS[1]: "missed the edge"}


class Replay:
    """Plays actions (T, 19) and then stays at the last one."""

    def __init__(self, actions):
        self.actions = np.asarray(actions, np.float32)

    def reset(self, seed=None):
        if seed is not None:
            self.step = -1

    def act(self, observation, instruction):
        self.step += 1
        return self.actions[min(self.step, len(self.actions) - 1)]


def ending(env_id, actions, steps=120):
    runner = Runner(Job(env_id, "zero", env_kwargs=STATE_ONLY, max_episode_steps=steps))
    runner.policy = Replay(actions)
    return runner.run(SEED).extra["mode"]


@pytest.fixture(scope="module", params=ENV_IDS)
def shown(request):
    """An expert's successful episode."""
    return request.param, Runner(Job(request.param, "expert", env_kwargs=STATE_ONLY)).run(SEED)


def test_an_expert_succeeds(shown):
    _, episode = shown
    assert episode.is_success
    assert episode.extra["mode"] == SUCCESS


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_an_expert_that_keeps_its_hand_open_never_closes(env_id):
    job = Job(env_id, "expert", env_kwargs=STATE_ONLY, policy_kwargs={"never_close": True}, max_episode_steps=80)
    assert Runner(job).run(SEED).extra["mode"] == "never closed"


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_doing_nothing_never_closes(env_id):
    assert ending(env_id, [HOME], 20) == "never closed"


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_closing_at_home_is_early_and_forgotten_in_the_next_episode(env_id):
    runner = Runner(Job(env_id, "zero", env_kwargs=STATE_ONLY, max_episode_steps=40))
    still, runner.policy = runner.policy, Replay([np.concatenate([ARM_HOME, CLOSED[env_id]])])
    assert runner.run(SEED).extra["mode"] == "closed early"
    runner.policy = still
    assert runner.run(SEED).extra["mode"] == "never closed"


def test_closing_over_the_object_is_early(shown):
    env_id, episode = shown
    actions = episode.action[: APPROACH[env_id]].copy()
    closing = np.repeat(actions[-1:], 20, axis=0)
    closing[:, 7:] = CLOSED[env_id]
    assert ending(env_id, [*actions, *closing], len(actions) + 20) == "closed early"


def test_the_same_motion_turned_to_the_side_misses(shown):
    env_id, episode = shown
    actions = episode.action.copy()
    actions[:, 0] += 0.15  # joint 1: 8 cm at the object
    assert ending(env_id, actions) == MISSED[env_id]


def test_letting_go_half_way_is_a_slip(shown):
    env_id, episode = shown
    actions = episode.action[:-14].copy()  # the last 10 periods are the proof of success
    release = np.repeat(actions[-1:], 30, axis=0)
    release[:, 7:] = OPEN[env_id]
    assert ending(env_id, [*actions, *release], len(actions) + 30) == "slipped"


def test_the_time_limit_in_the_middle_of_a_lift_is_no_failed_grasp(shown):
    env_id, episode = shown
    assert ending(env_id, episode.action, len(episode) - 3) == "unfinished"


class FakeEye(_Eye):
    """Sees what it is told; ``info`` is the look."""

    missed, along, empty_m, sides = "missed", 0.02, 0.07, ((), ())
    force = (1.0, 1.0)

    def __init__(self):
        pass

    def look(self, info):
        return info["look"]

    def forces(self):
        return self.force


def told(looks, force=(1.0, 1.0), **end):
    watcher = ModeWatcher(FakeEye())
    watcher._eye.force = force
    for index, look in enumerate(looks):
        last = index == len(looks) - 1
        watcher.see({"look": look, "is_success": last and end.get("success", False), "is_failure": last and end.get("lost", False)})
    return watcher.mode(), watcher.attempts


UP = _Look(closed=False, arrived=True, height_m=0.2, gain=0.0)
SHUT = replace(UP, closed=True)
FAR = replace(SHUT, arrived=False)
HELD = replace(SHUT, gain=0.05)


def test_the_first_failed_attempt_names_the_episode():
    shut, far, held = [SHUT] * 8, [FAR] * 8, [HELD] * 3
    assert told([*shut, UP, *shut[:1], *held, UP]) == ("missed", ["missed", "slipped"])
    assert told([*far, UP], force=(0.0, 0.0))[0] == "closed early"
    assert told([*far, UP], force=(0.0, 0.1))[0] == "missed"  # far, but it touched the object
    assert told([*shut, *held, UP], force=(1.0, 0.1))[0] == "missed"  # risen, but not held from both sides
    assert told([*shut, UP], lost=True)[0] == "lost"
    assert told([*shut, UP], success=True)[0] == SUCCESS


def test_an_empty_hand_ends_the_attempt_when_it_rises():
    risen = [replace(SHUT, height_m=0.2 + 0.01 * step) for step in range(40)]
    assert told([SHUT, replace(SHUT, height_m=0.3), *risen[10:]])[1] == []  # closed for too short a time
    assert told([*[SHUT] * 8, *risen])[1] == ["missed"]  # once, until the hand opens again


def test_a_twitch_is_no_attempt():
    assert told([*[SHUT] * (TWITCH_STEPS - 1), UP])[0] == "never closed"
    assert told([*[SHUT] * (TWITCH_STEPS + 1), UP])[0] == "missed"


def test_modes_come_back_from_other_processes_and_from_disk(tmp_path):
    result = evaluate(Job(ENV_IDS[0], "zero", env_kwargs=STATE_ONLY, max_episode_steps=3), [SEED, SEED + 1], workers=2, progress=False)
    assert result.modes == ("never closed", "never closed")
    result.save(tmp_path / "eval.json")
    assert EvalResult.load(tmp_path / "eval.json").modes == result.modes
    content = json.loads((tmp_path / "eval.json").read_text())
    del content["modes"]  # as written before modes were counted
    (tmp_path / "old.json").write_text(json.dumps(content))
    assert EvalResult.load(tmp_path / "old.json").modes == ()


def test_every_name_has_a_cause():
    assert {"closed early", *MISSED.values(), "slipped", "unfinished", "never closed", "lost"} == set(CAUSES)
    assert CAUSES["closed early"] == "discoordination"
    assert {CAUSES[mode] for mode in MISSED.values()} == {"bad contact"}


def test_a_robot_without_privileged_state_is_not_watched():
    class Real:
        backend = object()

    assert watch_failures(Real()) is None
