"""Small parts of the real environment: pacing, pictures, a person's verdict, and what agents do when a robot stops."""

import itertools
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from agents import rollouts, runner
from agents.collect import Quota, collect
from agents.job import Job
from agents.recovery import ask_to_recover
from agents.rollouts import run_many
from agents.runner import Runner
from dexhil_env import make_env
from dexhil_env.errors import ConfigError, DeviceError, RobotStopped
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.robot import HOME
from dexhil_env.rollout import run_episode
from dexhil_env.sim.backend import SimBackend
from dexhil_env.store import EpisodeStore
from dexhil_env.types import Verdict
from real.pacing import Pacer, TimingLog
from real.pictures import fit
from real.tasks import OperatorTask, ask_on_terminal

STATE_ONLY = {"cameras": ()}
ENV_ID = "DexHiL-PlushSim-v0"


class Clock:
    """Time that passes when it is looked at."""

    def __init__(self, step=0.0005):
        self.t, self.step = 100.0, step

    def __call__(self):
        self.t += self.step
        return self.t


def test_deadlines_are_even_and_a_late_turn_shifts_them_instead_of_bursting():
    clock = Clock()
    pacer = Pacer(clock, 0.005, wall=False)
    turns = [pacer.wait(lambda: None) for _ in range(5)]
    np.testing.assert_allclose(np.diff(turns), 0.005)
    assert pacer.late == 0
    clock.t += 0.05
    turns += [pacer.wait(lambda: None) for _ in range(4)]
    assert pacer.late == 1
    assert turns[5] > turns[4] + 0.04
    np.testing.assert_allclose(np.diff(turns[5:]), 0.005)
    pacer.restart()
    clock.t += 7.0
    pacer.wait(lambda: None)
    assert pacer.late == 1, "a pause on purpose is not late"


def test_a_clock_that_stands_still_is_left_by_the_watch():
    def stop():
        raise RobotStopped("the arm is gone")

    pacer = Pacer(lambda: 5.0, 0.005, wall=False)
    pacer.wait(stop)
    with pytest.raises(RobotStopped):
        pacer.wait(stop)


def test_the_summary_of_the_timing():
    clock = Clock(0.0)
    log = TimingLog(clock)
    for k in range(10):
        clock.t = 100.0 + 0.05 * k
        log.begin_period()
        log.note_ages({"arm": 0.001 * k, "front": 0.02})
    found = log.summary()
    assert found["steps"] == 10
    assert found["period_ms"] == {"p50": 50.0, "p99": 50.0, "max": 50.0}
    assert found["age_ms"]["arm"]["max"] == 9.0
    assert found["age_ms"]["front"] == {"p50": 20.0, "p99": 20.0, "max": 20.0}


def test_a_picture_is_cut_to_its_middle_and_averaged():
    pytest.importorskip("cv2")
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 80:560] = 100  # the middle square
    image[0:2, 80:560] = 200
    small = fit(image, 120, 120)
    assert small.shape == (120, 120, 3)
    assert (small[1:] == 100).all(), "nothing of the sides"
    assert (small[0] == 150).all(), "the mean of four rows"
    same = fit(small, 120, 120)
    np.testing.assert_array_equal(same, small)
    assert not np.shares_memory(same, small)
    assert fit(image, 48, 64).shape == (48, 64, 3)
    assert fit(image, 960, 960).shape == (960, 960, 3)


class Keys:
    def __init__(self, *presses):
        self.presses = list(presses)

    def poll(self):
        return self.presses.pop(0) if self.presses else ""


@pytest.mark.parametrize(
    ("key", "verdict"),
    [("s", Verdict.SUCCESS), ("F", Verdict.FAILURE), ("d", Verdict.DISCARD), ("x", Verdict.NONE), ("sf", Verdict.SUCCESS)],
)
def test_the_persons_key_is_the_verdict(key, verdict):
    asked = []
    task = OperatorTask("plush", "Grab it", ("toy_x_m",), lambda prompt: asked.append(prompt) or "", Keys("f", "", key))
    task.reset(np.random.default_rng(0), {})
    assert "Grab it" in asked[0]
    assert task.evaluate().verdict is Verdict.NONE, "a key before the episode does not count"
    said = task.evaluate()
    assert said.verdict is verdict
    assert (said.success, said.failure) == (verdict is Verdict.SUCCESS, verdict is Verdict.FAILURE)
    assert np.isnan(said.metrics["toy_x_m"])
    assert task.evaluate().verdict is verdict, "it stays"
    task.reset(np.random.default_rng(0), {})
    assert task.evaluate().verdict is Verdict.NONE


def test_without_a_terminal_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: (_ for _ in ()).throw(EOFError))
    with pytest.raises(ConfigError, match="no terminal"):
        ask_on_terminal("?")


# ---- agents ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fragile(monkeypatch):
    """The twin stops like a robot in the seventh period of every second episode."""
    run, reset = SimBackend.run, SimBackend.reset
    episodes, periods = itertools.count(), {"left": 0}

    def breaking_reset(self, rng):
        periods["left"] = 6 if next(episodes) % 2 == 0 else 10**6
        reset(self, rng)

    def breaking_run(self, servo, ticks):
        periods["left"] -= 1
        if periods["left"] < 0:
            raise RobotStopped("the robot has stopped (FAULT): arm: reflex", ("arm: reflex",))
        run(self, servo, ticks)

    monkeypatch.setattr(SimBackend, "reset", breaking_reset)
    monkeypatch.setattr(SimBackend, "run", breaking_run)
    monkeypatch.setattr(SimBackend, "recover", lambda self: None, raising=False)


def test_an_interrupted_episode_comes_with_the_error(fragile):
    runner = Runner(Job(ENV_ID, "zero", env_kwargs=STATE_ONLY, max_episode_steps=9))
    with pytest.raises(RobotStopped) as caught:
        runner.run(0)
    episode = caught.value.episode
    assert len(episode) == 6
    assert episode.truncated.tolist() == [False] * 5 + [True]
    assert episode.done.tolist() == episode.truncated.tolist()
    assert episode.extra["interrupted"].endswith("arm: reflex")
    assert episode.extra["policy"] == "zero"
    assert episode.extra["seed"] == 0
    whole = runner.run(1)
    assert len(whole) == 9
    assert "interrupted" not in whole.extra


def test_a_robot_that_stops_at_once_leaves_no_episode(fragile, monkeypatch):
    def stop(self, servo, ticks):
        raise RobotStopped("at once")

    monkeypatch.setattr(SimBackend, "run", stop)
    env = make_env(ENV_ID, **STATE_ONLY)
    runner = Runner(Job(ENV_ID, "zero", env_kwargs=STATE_ONLY))
    with pytest.raises(RobotStopped) as caught:
        run_episode(env, runner.policy, 0, EpisodeRecorder("plush"))
    assert caught.value.episode is None


def test_run_many_yields_what_was_recorded_and_then_asks(fragile):
    job = Job(ENV_ID, "zero", env_kwargs=STATE_ONLY, max_episode_steps=9)
    asked = []
    lengths = [len(episode) for episode in run_many(job, range(4), go_on=lambda stop, env: asked.append(str(stop)) or True)]
    assert lengths == [6, 9, 6, 9]
    assert len(asked) == 2
    episodes = run_many(job, range(2), go_on=lambda stop, env: False)
    assert len(next(episodes)) == 6
    with pytest.raises(RobotStopped, match="reflex"):
        next(episodes)


@pytest.mark.parametrize("tired", [2, 99])
def test_a_stop_on_the_way_home_costs_no_scene(monkeypatch, tired):
    reset, resets, stops = SimBackend.reset, itertools.count(), []

    def stopping_reset(self, rng):
        reset(self, rng)
        if 0 < next(resets) <= tired:
            raise RobotStopped("the arm stopped on its way home")

    monkeypatch.setattr(SimBackend, "reset", stopping_reset)
    job = Job(ENV_ID, "zero", env_kwargs=STATE_ONLY, max_episode_steps=5)
    seeds = []
    with pytest.raises(RobotStopped, match="way home") if tired > 3 else nullcontext():
        for episode in run_many(job, range(3), go_on=lambda stop, env: stops.append(stop) or True):
            seeds.append(episode.extra["seed"])
    assert seeds == ([0] if tired > 3 else [0, 1, 2])
    assert len(stops) == (3 if tired > 3 else 2)


def test_collect_keeps_the_interrupted_episode_before_it_ends(fragile, tmp_path):
    pytest.importorskip("torch")
    store = EpisodeStore(tmp_path / "data")
    job = Job(ENV_ID, "zero", env_kwargs=STATE_ONLY, max_episode_steps=9)
    with pytest.raises(RobotStopped, match="reflex"):
        collect(job, store, Quota(1), 100, progress=False)
    back = EpisodeStore.open(tmp_path / "data")
    assert len(back) == 1
    assert "interrupted" in back.facts(0)
    assert back.read(0).truncated[-1]


@pytest.mark.parametrize("real", [True, False], ids=["robot", "twin"])
def test_ctrl_c_costs_no_time_of_a_person(monkeypatch, tmp_path, real):
    """On a robot the open episode is kept; in the twin nobody's time is lost, and the same seed is to run again."""

    class Tired:
        def reset(self, seed=None):
            self.left = 4

        def act(self, observation, instruction):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return HOME.astype(np.float32)

    monkeypatch.setattr(runner, "make_policy", lambda spec, env: Tired())
    monkeypatch.setattr(rollouts, "REAL_IDS", (ENV_ID,) if real else ())
    store = EpisodeStore(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        collect(Job(ENV_ID, "zero", env_kwargs=STATE_ONLY), store, Quota(1), 100, progress=False)
    assert len(store) == int(real)
    if real:
        assert store.facts(0)["interrupted"] == "KeyboardInterrupt"
        assert len(store.read(0)) == 4


def test_a_person_is_asked_until_the_robot_recovers_or_she_has_enough(fragile, monkeypatch):
    env = make_env(ENV_ID, **STATE_ONLY)
    stop = RobotStopped("arm: user stop pressed")
    prompts = []

    def answers(*said):
        replies = iter(said)
        return lambda prompt: prompts.append(prompt) or next(replies)

    assert ask_to_recover(stop, env, answers("yes"))
    assert "user stop pressed" in prompts[0]
    assert not ask_to_recover(stop, env, answers("no"))
    tries = []

    def recover(self):
        tries.append(1)
        if len(tries) == 1:
            raise DeviceError("release the user stop")

    monkeypatch.setattr(SimBackend, "recover", recover)
    assert ask_to_recover(stop, env, answers("yes", "yes"))
    assert "release the user stop" in prompts[-1]
    monkeypatch.delattr(SimBackend, "recover")
    assert not ask_to_recover(stop, env, answers("yes")), "the twin has nothing to recover"


def test_a_dataset_from_before_this_version_still_loads():
    """Neither columns nor facts were added that an old one would lack."""
    store = EpisodeStore.open(Path(__file__).parents[2] / "examples/first_light/data")
    assert store.read_columns(0).is_success
    assert "robot" not in store.facts(0)
