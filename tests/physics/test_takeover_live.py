"""A person at live devices takes over: labels, jumps, dead-man, clutch, stop, and an exact repetition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.job import Job
from agents.runner import Runner
from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.hil.live.inbox import Inbox, Stamped
from dexhil_env.hil.live.operator import HumanOperator
from dexhil_env.hil.live.replay import ReplayOperator
from dexhil_env.hil.live.stream import Recording
from dexhil_env.hil.live.wish import LiveConfig
from dexhil_env.registration import ENV_IDS, make_env
from dexhil_env.types import ARM, HAND, Source

DT = robot.SERVO_PERIOD_S
ARM_STEP_RAD, HAND_STEP_RAD, DRIFT_RAD = 1e-6, 0.05, 0.08
"""What a takeover may do: first arm command against the last target, the same of the hand, drift while the person holds still."""
BOTH, NEITHER = {"type": "engage", "arm": True, "hand": True}, {"type": "engage", "arm": False, "hand": False}
ALIVE = {"type": "heartbeat"}


@pytest.fixture(scope="module")
def env():
    env = make_env(ENV_IDS[0], cameras=()).unwrapped
    env.reset(seed=0)
    return env


def policy(period):
    """Targets (19,) of a policy that moves arm and hand."""
    wave = 0.5 * (1 - np.cos(0.2 * period))
    return robot.HOME + np.concatenate([0.15 * wave * np.ones(7), 0.5 * wave * robot.HAND_HIGH])


class Bench:
    """The mux and an operator without physics: ticks, what they sent, what they were called."""

    def __init__(self, env, messages, config=None):
        alive = {tick: [Stamped(ALIVE, 0)] for tick in range(0, 4000, 20)} if "silent" not in messages else {}
        self.said = {**alive}
        for tick, words in messages.items():
            if tick != "silent":
                self.said[tick] = [Stamped(word, 0) for word in words]
        self.operator = HumanOperator(Recording({}, self.said), config)
        self.env, self.servo, self.tick = env, env.servo, 0
        self.servo.operator = None
        self.servo.reset(robot.HOME)
        self.operator.reset(env, np.random.default_rng(0))
        self.servo.operator = self.operator
        self.targets, self.sources, self.modes, self.reports = [], [], [], []

    def run(self, periods):
        for _ in range(periods):
            self.servo.begin(policy(self.tick // self.servo.control_ticks))
            for _ in range(self.servo.control_ticks):
                self.targets.append(self.servo.tick(self.tick * DT))
                self.modes.append(self.operator.mode)
                self.tick += 1
            self.sources += self.servo.report.tick_sources
            self.reports.append(self.servo.report)
        self.servo.operator = None
        self.targets = np.array(self.targets)
        return self


def pressed(words):
    """What the person has asked for at every tick."""
    wanted, now = [], Source.POLICY
    for tick in range(400):
        for word in words.get(tick, ()):
            if word["type"] == "engage":
                now = Source(word["arm"] * Source.ARM + word["hand"] * Source.HAND)
        wanted.append(now)
    return wanted


moves = st.fixed_dictionaries({"type": st.just("jog"), "linear": st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=3),
                               "angular": st.lists(st.floats(-1, 1), min_size=3, max_size=3)})  # fmt: skip
grips = st.fixed_dictionaries({"type": st.just("synergy"), "value": st.floats(0, 1), "grasp": st.sampled_from(["pinch", "power"])})
gloves = st.fixed_dictionaries({"type": st.just("motors"), "values": st.lists(st.floats(0, 1.3), min_size=12, max_size=12)})
presses = st.fixed_dictionaries({"type": st.just("engage"), "arm": st.booleans(), "hand": st.booleans()})
clutches = st.fixed_dictionaries({"type": st.just("clutch"), "arm": st.booleans(), "hand": st.booleans()})
words = st.lists(st.one_of(presses, presses, clutches, moves, grips, gloves), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.integers(0, 399), words, min_size=2, max_size=25))
def test_whatever_is_pressed_the_label_is_who_drove_and_nothing_jumps(env, said):
    bench = Bench(env, said).run(40)
    assert bench.sources == pressed(said)
    takeovers = bench.operator.meter.facts()
    assert all(each["blocked_ticks"] == 0 for each in takeovers)
    assert all((each["arm_jump_rad"] or 0.0) <= ARM_STEP_RAD for each in takeovers)
    assert all((each["hand_jump_rad"] or 0.0) <= HAND_STEP_RAD for each in takeovers)
    assert all(max(each["open_gap_rad"] or 0.0, each["close_gap_rad"] or 0.0) <= 0.05 for each in takeovers if each["limbs"] == "both")
    starts = sum(now != Source.POLICY and any((now & bit) and not (before & bit) for bit in (1, 2))
                 for before, now in zip([Source.POLICY, *bench.sources], bench.sources, strict=False))  # fmt: skip
    assert len(takeovers) == starts
    speed = np.abs(np.diff(bench.targets, axis=0)) / DT
    assert (speed <= robot.MAX_VELOCITY * (1 + 1e-9)).all()


def test_a_glove_of_another_shape_takes_the_hand_without_a_jump_and_without_drift(env):
    rng = np.random.default_rng(1)
    glove = {tick: [{"type": "motors", "values": np.clip(0.9 + rng.normal(0, 0.005, 12), 0, 1.3).tolist()}] for tick in range(0, 400, 2)}
    bench = Bench(env, {**glove, 100: [*glove[100], BOTH]}).run(40)
    (takeover,) = bench.operator.meter.facts()
    assert takeover["t_s"] == pytest.approx(0.5)
    assert takeover["hand_jump_rad"] <= HAND_STEP_RAD
    assert takeover["hand_drift_rad"] <= DRIFT_RAD
    assert takeover["arm_drift_rad"] <= DRIFT_RAD
    assert np.abs(bench.targets[-1, HAND] - bench.targets[100, HAND]).max() <= DRIFT_RAD


def test_the_robot_goes_where_it_is_jogged(env):
    jogs = {tick: [{"type": "jog", "linear": [0.1, 0.0, 0.0], "angular": [0.0, 0.0, 0.0]}] for tick in range(110, 210, 5)}
    bench = Bench(env, {100: [BOTH], **jogs, 400: [NEITHER]}).run(50)
    ik = bench.operator.teleop.ik
    way = ik.forward(bench.targets[390, ARM])[:3, 3] - ik.forward(bench.targets[100, ARM])[:3, 3]
    right = bench.operator.person._axes["jog"][:, 0]
    assert right @ env.backend.data.camera("front").xmat.reshape(3, 3)[:, 0] > 0.95  # right is right in the picture
    assert way @ right == pytest.approx(
        0.1 * 0.7, abs=0.02
    )  # 95 ticks, 0.25 s until the last one is too old, and the policy's own momentum
    assert np.linalg.norm(way - (way @ right) * right) < 0.02


def test_silence_holds_the_robot_and_the_next_word_goes_on_without_a_jump(env):
    jog = {"type": "jog", "linear": [0.1, 0.0, 0.0], "angular": [0.0, 0.0, 0.0]}
    said = {"silent": True, 10: [BOTH], **{tick: [jog] for tick in range(20, 60, 5)}, **{tick: [jog] for tick in range(250, 300, 5)}}
    bench = Bench(env, said).run(40)
    limit = round(0.3 / DT)
    assert bench.modes[56 + limit - 10] == "HUMAN"
    assert set(bench.modes[60 + limit : 250]) == {"LOST"}
    assert np.abs(np.diff(bench.targets[60 + limit + 20 : 250], axis=0)).max() < 1e-6
    assert bench.modes[251] == "HUMAN"
    assert np.abs(bench.targets[251] - bench.targets[249]).max() < 1e-3
    assert all(source is Source.BOTH for source in bench.sources[10:])


@pytest.mark.parametrize("word", ["lost", "hold"])
def test_a_closed_or_hidden_window_holds_until_the_next_press(env, word):
    jogs = {tick: [{"type": "jog", "linear": [0.1, 0.0, 0.0], "angular": [0.0, 0.0, 0.0]}] for tick in range(20, 400, 5)}
    bench = Bench(env, {**jogs, 10: [BOTH], 100: [{"type": word}], 300: [BOTH], 350: [NEITHER]}).run(40)
    assert set(bench.modes[100:300]) == {"LOST" if word == "lost" else "HOLD"}
    assert np.abs(bench.targets[299] - bench.targets[130]).max() < 1e-6
    assert bench.modes[301] == "HUMAN"
    assert np.abs(bench.targets[340, ARM] - bench.targets[300, ARM]).max() > 1e-3
    assert set(bench.modes[350:]) == {"AUTO"}


def test_the_clutch_keeps_the_robot_while_the_device_moves(env):
    cube = {tick: [{"type": "cube", "pose": [0.002 * tick, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0]}] for tick in range(0, 400, 5)}
    on, off = {"type": "clutch", "arm": True, "hand": False}, {"type": "clutch", "arm": False, "hand": False}
    bench = Bench(env, {**cube, 50: [*cube[50], BOTH], 100: [*cube[100], on], 200: [*cube[200], off]}).run(30)
    held = bench.targets[130:200, ARM]
    assert np.abs(held - held[0]).max() < 1e-6
    assert np.abs(bench.targets[200:204, ARM] - held[-1]).max() < 1e-3  # the cube is 30 cm further on: anchored anew
    assert np.abs(bench.targets[290, ARM] - held[-1]).max() > 0.02
    assert not any(handover.kind == "release" for report in bench.reports for handover in report.handovers)


def test_a_demonstration_moves_only_while_the_person_holds(env):
    jogs = {tick: [{"type": "jog", "linear": [0.0, 0.1, 0.0], "angular": [0.0, 0.0, 0.0]}] for tick in range(0, 300, 5)}
    bench = Bench(env, {**jogs, 100: [BOTH], 200: [NEITHER]}, LiveConfig(release="hold")).run(30)
    assert set(bench.sources) == {Source.BOTH}
    assert np.abs(bench.targets[:100] - robot.HOME).max() < 1e-6
    assert np.abs(bench.targets[199, ARM] - robot.ARM_HOME).max() > 0.02
    assert np.abs(bench.targets[299] - bench.targets[230]).max() < 1e-6


class Schedule:
    """Puts messages into an inbox at given control periods, as a person would, but in simulated time."""

    def __init__(self, messages, folder=None, config=None):
        self.inbox, self.messages, self.period = Inbox(), messages, 0
        self.operator = HumanOperator(self.inbox, config, folder=folder)
        self.operator.on_period = self.speak

    def speak(self):
        for word in (ALIVE, *self.messages.get(self.period, ())):
            self.inbox.put(word)
        self.period += 1


CORRECTION = {
    5: [BOTH], 6: [{"type": "jog", "linear": [0.1, 0.1, -0.1], "angular": [0.3, 0.0, 0.5]},
        {"type": "synergy", "value": 0.8, "grasp": "power"}],
    14: [{"type": "tag", "text": "closed too early"}, NEITHER], 20: [{"type": "engage", "arm": False, "hand": True}],
    26: [{"type": "note", "text": "good"}, {"type": "verdict", "value": "success"}],
}  # fmt: skip


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_a_recorded_person_does_the_same_again_bit_for_bit(env_id, tmp_path):
    job = Job(env_id, "expert", env_kwargs={"cameras": ()}, max_episode_steps=60)
    person = Schedule(CORRECTION, tmp_path)
    episode = Runner(job, person.operator).run(4_950_000)
    facts = episode.extra
    assert episode.is_success
    assert len(episode) == 27
    assert [each["limbs"] for each in facts["takeovers"]] == ["both", "hand"]
    assert facts["takeovers"][0]["reason"] == "closed too early"
    assert facts["takeovers"][0]["press_to_command_ms"] > 0
    assert (facts["notes"], facts["operator"], facts["redo"]) == (["good"], "live", False)
    file = tmp_path / facts["device_stream"]
    again = Runner(job, ReplayOperator(file)).run(4_950_000)
    for name in ("action", "state", "intervention_source", "policy_action", "t_arm_ns", "t_hand_ns"):
        assert np.array_equal(getattr(again, name), getattr(episode, name)), name
    assert again.extra["takeovers"][0]["arm_jump_rad"] == facts["takeovers"][0]["arm_jump_rad"]
    with pytest.raises(ConfigError, match="seed 4950000, not 1"):
        Runner(job, ReplayOperator(file)).run(1)


def test_the_stop_key_ends_the_episode_and_keeps_it():
    job = Job(ENV_IDS[0], "expert", env_kwargs={"cameras": ()}, max_episode_steps=60)
    person = Schedule({10: [{"type": "estop"}]})
    episode = Runner(job, person.operator).run(4_950_001)
    assert len(episode) == 11
    assert person.operator.mode == "ESTOP"
    assert episode.truncated[-1]
    assert not episode.is_success
    assert "pressed stop" in episode.extra["interrupted"]
    assert episode.intervention_source[-1] == Source.BOTH


def test_a_pause_lets_time_stand_still_and_is_no_intervention():
    job = Job(ENV_IDS[0], "expert", env_kwargs={"cameras": ()}, max_episode_steps=20)
    plain = Runner(job, Schedule({}).operator).run(4_950_003)
    person = Schedule({8: [{"type": "pause", "on": True}], 12: [{"type": "pause", "on": False}]})
    paused = Runner(job, person.operator).run(4_950_003)
    assert person.period > 20 + 1  # the person has looked more often than the robot has moved
    assert np.array_equal(paused.action, plain.action)
    assert not paused.intervention.any()
    assert paused.extra["takeovers"] == []


def test_after_a_hand_back_the_policy_starts_from_what_it_sees():
    job = Job(ENV_IDS[0], "zero", env_kwargs={"cameras": ()}, max_episode_steps=40)
    runner = Runner(job, Schedule(CORRECTION).operator)
    resets = []
    reset = runner.policy.reset
    runner.policy.reset = lambda seed=None: resets.append(runner.recorder and len(runner.recorder)) or reset(seed)
    episode = runner.run(4_950_002)
    released = int(np.flatnonzero(np.diff(episode.intervention_source.astype(int)) < 0)[0]) + 1
    assert released in resets
    assert episode.handover[released]
