"""The environment on an emulated robot: the same as in simulation to whoever uses it, and every fault ends in a standing robot."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from dexhil_env import make_env, robot
from dexhil_env.errors import ActionError, ConfigError, DeviceError, DeviceTimeout, RobotStopped
from dexhil_env.hil.scripted import ScriptedConfig, ScriptedOperator
from dexhil_env.hil.wrapper import HiLWrapper
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.registration import ENV_IDS, REAL_IDS
from dexhil_env.rollout import run_episode
from dexhil_env.store import EpisodeStore
from real.config import RealConfig, write_config
from real.emulated import emulated_config
from real.emulator.emulator_config import EmulatorConfig
from real.emulator.fci_wire import ErrorBit
from real.emulator.twin_process import TwinProcess
from real.make import make_real_env
from real.safety import State
from tests import conformance as c
from tests.emulator.arm_fixtures import PATIENCE_S, free_address

pytest.importorskip("franky")
SIZE = 64
HOLD_S = 0.6


@pytest.fixture(scope="module")
def twin():
    options = {"randomise_physics": True}
    with TwinProcess(EmulatorConfig("plush", options, image_size=SIZE, patience_s=PATIENCE_S, randomise_visuals=True)) as process:
        yield process


@pytest.fixture(scope="module")
def settings(twin):
    made = emulated_config(twin.config)
    return replace(made, session=replace(made.session, hold_s=HOLD_S))


class Seat:
    """One environment on the robot that tests share; a robot serves one program at a time."""

    def __init__(self, settings):
        self._settings, self._env = settings, None

    def take(self):
        if self._env is None:
            self._env = make_env(REAL_IDS[0], config=self._settings, image_size=SIZE)
        return self._env

    def leave(self):
        if self._env is not None:
            self._env.close()
            self._env = None


@pytest.fixture(scope="module")
def seat(settings):
    shared = Seat(settings)
    yield shared
    shared.leave()


@pytest.fixture
def env(seat, twin):
    """The environment, mended and recovered."""
    twin.line.mend()
    deadline = time.monotonic() + 10.0
    while True:
        try:
            seat.take().unwrapped.backend.recover()
            return seat.take()
        except DeviceError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def still(env, count):
    """Steps that ask for nothing."""
    for _ in range(count):
        result = env.step(env.unwrapped.servo.commanded.astype(np.float32))
    return result


def stands(twin, within_s=3.0):
    """The robot comes to rest and stays there."""
    deadline, before = time.monotonic() + within_s, twin.line.status()
    while time.monotonic() < deadline:
        time.sleep(0.2)
        after = twin.line.status()
        if np.abs(after.q - before.q).max() < 1e-3 and np.abs(after.hand - before.hand).max() < 5e-3 and after.mode != "MOVE":
            return True
        before = after
    return False


def gentle(count, seed=0):
    """Slow targets for every joint that stay in the free space around home."""
    rng = np.random.default_rng(seed)
    rate, phase = rng.uniform(0.1, 0.2, 19), rng.uniform(0, 0.3, 19)
    reach = np.concatenate([np.full(7, 0.08), np.full(12, 0.25)])
    low, high = robot.LOW.astype(np.float32), robot.HIGH.astype(np.float32)
    for k in range(1, count + 1):
        yield np.clip(robot.HOME + reach * np.sin(rate * k) * (1 + phase), low, high).astype(np.float32)


def drive(env, seed, steps):
    """Observations and infos of an episode of gentle targets."""
    observation, info = env.reset(seed=seed)
    rows, infos = [observation], [info]
    for action in gentle(steps):
        observation, _, _, _, info = env.step(action)
        rows.append(observation)
        infos.append(info)
    return rows, infos


# ---- the same as in simulation -----------------------------------------------------------------------------------------------------


def test_spaces_info_and_scene_are_those_of_the_simulation(env):
    sim = c.make_randomised(ENV_IDS[0], image_size=SIZE)
    assert env.observation_space == sim.observation_space
    assert env.action_space == sim.action_space
    assert env.unwrapped.task.metric_names == sim.unwrapped.task.metric_names
    rows, infos = drive(env, 7, 20)
    simulated, sim_infos = drive(sim, 7, 3)
    c.assert_info_complete(env, infos)
    c.assert_info_complete(sim, sim_infos)
    assert [type(value) for value in infos[-1].values()] == [type(value) for value in sim_infos[-1].values()]
    assert set(infos[-1]["ages_s"]) == set(sim_infos[-1]["ages_s"]) == {"arm", "hand", "front", "wrist"}
    assert all(0.0 <= age < 2.0 for age in infos[-1]["ages_s"].values())
    assert c.no_shared_memory(rows)
    assert [name for name in c.constant_elements(rows) if "force" not in name] == []
    assert all(env.observation_space.contains(row) for row in rows)
    for key in ("arm_joint_pos", "hand_motor_pos", "ee_pose"):
        np.testing.assert_allclose(rows[0][key], simulated[0][key], atol=0.02, err_msg=key)
    for name in ("toy_x_m", "toy_y_m", "toy_yaw_rad"):
        assert infos[0][name] == pytest.approx(sim_infos[0][name], abs=5e-3), "the same seed lays the same scene"
    for name in ("front", "wrist"):
        difference = np.abs(rows[0][f"image_{name}"].astype(float) - simulated[0][f"image_{name}"]).mean()
        assert difference < 8.0, "it looks the same, but for noise and JPEG"


def test_it_moves_as_it_is_asked_and_on_time(env):
    observation, info = env.reset(seed=1)
    start, t0 = observation["arm_joint_pos"].copy(), info["t_obs_ns"]
    action = env.unwrapped.servo.commanded.astype(np.float32)
    steps = 20
    for k in range(steps):
        action[0], action[robot.HAND_MOTORS.index("ff_mcp") + 7] = 0.008 * (k + 1), 0.03 * (k + 1)
        observation, _, _, _, info = env.step(action)
    for _ in range(4):
        env.step(action)
    observation, _, _, _, info = still(env, 2)
    np.testing.assert_allclose(info["applied_action"], action, atol=1e-3)
    assert observation["arm_joint_pos"][0] - start[0] == pytest.approx(0.16, abs=0.02)
    assert observation["hand_motor_pos"][robot.HAND_MOTORS.index("ff_mcp")] == pytest.approx(0.6, abs=0.1)
    facts = env.unwrapped.backend.facts()
    assert (info["t_obs_ns"] - t0) * 1e-9 == pytest.approx(steps * robot.CONTROL_PERIOD_S, rel=0.5)
    assert 0.045 <= 1e-3 * facts["period_ms"]["p50"] < 0.1
    assert facts["steps"] == steps + 6


def test_a_wish_beyond_the_workspace_stops_at_its_border_and_the_record_says_so(env, twin):
    env.reset(seed=1)
    action = env.unwrapped.servo.commanded.astype(np.float32)
    backend = env.unwrapped.backend
    for _ in range(40):
        action[1], action[3] = min(action[1] + 0.03, 0.7), min(action[3] + 0.03, -1.2)
        observation, _, _, _, info = env.step(action)
    assert backend.facts()["held_by_workspace"].keys() == {"palm x above the workspace"}
    assert (observation["ee_pose"][:3] < np.array(backend.config.workspace.high) + 0.02).all()
    assert np.abs(info["applied_action"] - info["policy_action"]).max() > 0.1, "what was sent is recorded, not what was wanted"
    assert backend.safety.state is State.RUN


class Soon:
    """A rule by which the simulated human takes over after a moment."""

    def reset(self):
        pass

    def look(self, T_base_ee, hand, t_s):
        return "a test" if t_s > 0.2 else None


class Bad:
    """A policy that knows nothing of the toy: it waves."""

    def __init__(self):
        self.steps = 0

    def reset(self, seed=None):
        pass

    def act(self, observation, instruction):
        self.steps += 1
        return (robot.HOME + 0.05 * np.sin(0.3 * self.steps) * (np.arange(19) == 0)).astype(np.float32)


def test_a_person_takes_over_on_the_wire_and_succeeds_and_the_dataset_keeps_it(env, tmp_path):
    hil = HiLWrapper(env, ScriptedOperator(ScriptedConfig(give_up_s=0.0), risk=Soon()))
    for seed in range(4):
        try:
            episode = run_episode(hil, Bad(), seed, EpisodeRecorder("plush"))
        except RobotStopped as stop:  # the hand has knocked against the table: as in a lab, once more
            episode = stop.episode
            env.unwrapped.backend.recover()
        if episode.is_success:
            break
    env.unwrapped.servo.operator = None
    assert episode.is_success
    assert episode.intervention.any()
    assert not episode.intervention[0]
    assert set(episode.intervention_source.tolist()) <= {0, 3}
    store = EpisodeStore(tmp_path / "data")
    store.append(episode)
    back = EpisodeStore.open(tmp_path / "data").read(0)
    for name in episode.COLUMNS:
        np.testing.assert_array_equal(getattr(back, name), getattr(episode, name), err_msg=name)
    assert back.images["front"].shape == episode.images["front"].shape
    assert back.extra["robot"]["age_ms"]["front"]["max"] > 0.0
    assert any("READY -> RUN" in line for line in back.extra["robot"]["transitions"])


# ---- faults ------------------------------------------------------------------------------------------------------------------------

STOPS = {
    "reflex": (lambda line: line.reflex(ErrorBit.CARTESIAN_REFLEX), "arm: reflex of the arm: cartesian_reflex", State.FAULT, 0.5),
    "push": (lambda line: line.push([0, 0, 0, 85.0, 0, 0, 0]), "arm: reflex", State.FAULT, 0.7),
    "user stop": (lambda line: line.user_stop(True), "arm: user stop pressed", State.ESTOP, 0.5),
    "bad line": (lambda line: line.line(loss=0.3), "packets|communication_constraints", State.FAULT, 2.5),
    "board": (lambda line: line.mute("index"), "hand: board-stale index", State.FAULT, 1.0),
    "bus": (lambda line: line.bus_off(), "hand: bus-", State.FAULT, 1.0),
    "hot": (lambda line: line.heat("thumb", 70.0), "hand: (hot|overheated) thumb", State.FAULT, 1.0),
    "frozen camera": (lambda line: line.camera("front", freeze=True), "camera-frozen front", State.FAULT, 1.5 + HOLD_S),
    "silent camera": (lambda line: line.camera("wrist", drop=1.0), "camera-(stale|gone) wrist", State.FAULT, 2.0 + HOLD_S),
    "frozen arm": (lambda line: line.freeze(1.5), "arm: no news from the arm", State.FAULT, 1.2),
}
"""How to break it, what is told, which state follows, and after how long at most [s]; busy machines get time."""


@pytest.mark.parametrize("name", STOPS)
def test_every_fault_ends_in_a_standing_robot_until_a_person_recovers_it(env, twin, name):
    inject, text, state, within_s = STOPS[name]
    env.reset(seed=1)
    still(env, 14 if name == "bad line" else 4)
    inject(twin.line)
    begin = time.monotonic()
    with pytest.raises(RobotStopped, match=text) as caught:
        still(env, 200)
    assert time.monotonic() - begin < within_s
    assert caught.value.faults
    backend = env.unwrapped.backend
    assert backend.safety.state is state
    with pytest.raises(RobotStopped, match=text):
        still(env, 1)
    with pytest.raises(RobotStopped, match=text):
        env.reset(seed=1)
    if name == "frozen arm":
        time.sleep(max(0.0, 2.5 - (time.monotonic() - begin)))  # until it answers again
    assert stands(twin)
    if name == "reflex":
        backend.recover()
        with pytest.raises(RobotStopped, match=r"call reset\(\)"):
            still(env, 1)
        env.reset(seed=1)
        still(env, 2)
        assert backend.safety.state is State.RUN, "after recovery and reset it works again"
    if name == "user stop":
        with pytest.raises(DeviceError, match="release the user stop"):
            backend.recover()
        twin.line.user_stop(False)
        time.sleep(0.2)
        assert backend.safety.state is State.ESTOP, "releasing the button alone clears nothing"


def test_a_short_lack_of_pictures_is_waited_for(env, twin):
    env.reset(seed=1)
    still(env, 2)
    twin.line.camera("front", freeze=True)
    time.sleep(0.45)
    resumed = time.monotonic()

    import threading

    threading.Timer(0.2, lambda: twin.line.camera("front", freeze=False)).start()
    still(env, 3)
    assert time.monotonic() - resumed > 0.15, "the robot stood and waited"
    facts = env.unwrapped.backend.facts()
    assert facts["holds"] >= 1
    assert any("RUN -> HOLD" in line for line in facts["transitions"])
    assert any("HOLD -> RUN" in line for line in facts["transitions"])


def test_a_program_that_pauses_ends_the_episode_and_not_the_day(env, twin):
    env.reset(seed=1)
    still(env, 2)
    time.sleep(2.2)
    assert stands(twin)
    with pytest.raises(RobotStopped, match=r"no step for .* call reset\(\)"):
        still(env, 1)
    env.reset(seed=1)
    still(env, 1)


def test_a_stop_from_another_thread_is_seen_by_step(env, twin):
    env.reset(seed=1)
    still(env, 2)
    env.unwrapped.backend.estop("space bar pressed")
    with pytest.raises(RobotStopped, match=r"stopped by a person.*space bar"):
        still(env, 1)
    assert stands(twin)


def test_an_interrupted_episode_is_kept(env, twin):
    class Breaks(Bad):
        def act(self, observation, instruction):
            if self.steps == 6:
                twin.line.reflex(ErrorBit.JOINT_REFLEX)
            return super().act(observation, instruction)

    with pytest.raises(RobotStopped) as caught:
        run_episode(env, Breaks(), 3, EpisodeRecorder("plush"))
    episode = caught.value.episode
    assert 4 <= len(episode) <= 12
    assert episode.truncated.tolist() == [False] * (len(episode) - 1) + [True]
    assert "joint_reflex" in episode.extra["interrupted"]
    assert any("RUN -> FAULT" in line for line in episode.extra["robot"]["transitions"])


def test_a_bad_action_harms_nothing(env):
    env.reset(seed=1)
    with pytest.raises(ActionError, match="finite"):
        env.step(np.full(19, np.nan, np.float32))
    still(env, 2)


def test_an_arm_that_was_moved_since_the_reset_is_not_pulled_back(env):
    env.reset(seed=1)
    env.unwrapped.servo.limiter.reset(robot.HOME + 0.2 * (np.arange(19) == 2))
    with pytest.raises(RobotStopped, match=r"fr3_joint3 is 0.2.* from where it is"):
        still(env, 1)


# ---- leaving -----------------------------------------------------------------------------------------------------------------------

CLIENT = """
import sys, time, numpy as np
from dexhil_env import make_env
env = make_env("DexHiL-PlushReal-v0", config=sys.argv[1], cameras=())
env.reset(seed=1)
action = env.unwrapped.servo.commanded.astype(np.float32)
for k in range(10_000):
    action[0] += 0.005 if k < 60 else 0.0
    action[11] = min(0.02 * k, 0.8)
    env.step(action)
    if k == 12:
        print("moving", flush=True)
        if sys.argv[2] == "exception":
            raise ValueError("a mistake in the program")
"""


@pytest.mark.parametrize("way", ["exception", "SIGTERM", "SIGKILL"])
def test_however_a_program_ends_the_arm_holds_and_the_hand_is_safe(seat, settings, twin, tmp_path, way):
    seat.leave()
    twin.line.mend()
    write_config(settings, tmp_path / "robot.toml")
    try:
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, tmp_path / "robot.toml", way], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert client.stdout.readline() == b"moving\n"
        if way != "exception":
            client.send_signal(getattr(signal, way))
        client.wait(10.0)
        deadline = time.monotonic() + 5.0
        while twin.line.status().mode == "MOVE":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        status = twin.line.status()
        assert stands(twin)
        if way == "SIGKILL":
            assert status.mode == "REFLEX", "the arm misses its packets and brakes by itself"
        else:
            assert (status.mode, status.events[-1][1]) == ("IDLE", "finished"), "stopped gently, not dropped"
    finally:
        client.kill()
        client.wait()


# ---- making one --------------------------------------------------------------------------------------------------------------------


def test_an_emulated_robot_starts_and_ends_with_its_environment():
    env = make_env(REAL_IDS[1], emulate=True, cameras=())
    sim = make_env(ENV_IDS[1], cameras=())
    assert (env.observation_space, env.action_space) == (sim.observation_space, sim.action_space)
    _, info = env.reset(seed=3)
    _, sim_info = sim.reset(seed=3)
    assert set(info) == set(sim_info)
    assert info["pack_x_m"] == pytest.approx(sim_info["pack_x_m"], abs=1e-3)
    assert env.unwrapped.instruction == sim.unwrapped.instruction
    still(env, 2)
    path = env.unwrapped.backend.config.emulator
    env.close()
    env.close()
    with pytest.raises(DeviceError, match="no emulated robot listens"):
        make_real_env("tissue", config=replace(emulated_lab(), session=replace(emulated_lab().session, emulator=path)))


def emulated_lab() -> RealConfig:
    from real.fr3_config import FR3Config

    return RealConfig(FR3Config(free_address()))


class Presses:
    def __init__(self, *keys):
        self.keys = list(keys)

    def poll(self):
        return self.keys.pop(0) if self.keys else ""


def test_in_a_lab_a_person_lays_the_scene_and_judges(seat, settings, twin):
    """The drivers see a robot without a control line: a lab."""
    seat.leave()
    twin.line.mend()
    asked = []
    lab = make_real_env(
        "plush",
        config=replace(settings, session=replace(settings.session, emulator="")),
        cameras=(),
        ask=lambda prompt: asked.append(prompt) or "",
        keys=Presses("s", "", "", "", "d"),  # the first is pressed before the episode and does not count
    )
    try:
        assert lab.backend.twin is None
        lab.backend.recover()  # the arm may still be in the reflex of a program that was killed
        _, info = lab.reset(seed=0)
        assert len(asked) == 1
        assert "Grab that yellow plushie" in asked[0]
        assert set(info) == c.INFO_KEYS | set(lab.task.metric_names)
        assert np.isnan(info["toy_height_m"])
        _, _, terminated, truncated, info = still(lab, 1)
        assert (terminated, truncated, info["verdict"]) == (False, False, "none")
        _, reward, terminated, truncated, info = still(lab, 2)
        assert info["verdict"] == "discard"
        assert (reward, terminated, truncated) == (0.0, False, True)
        with pytest.raises(ActionError, match="over"):
            still(lab, 1)
        with pytest.raises(ConfigError, match="sees the simulator's state"):
            ScriptedOperator().reset(lab, np.random.default_rng(0))
    finally:
        lab.close()


def test_a_wrong_address_is_told_within_three_seconds():
    begin = time.monotonic()
    with pytest.raises((DeviceError, DeviceTimeout), match="FCI is activated"):
        make_env(REAL_IDS[0], config=emulated_lab(), cameras=())
    assert time.monotonic() - begin < 3.0


def test_wrong_words_are_explained(monkeypatch, tmp_path):
    for bad, message in (
        ({}, "emulate=True"),
        ({"emulate": True, "config": "lab.toml"}, "not both"),
        ({"config": tmp_path / "none.toml"}, "lab.toml"),
        ({"config": emulated_lab(), "randomise_physics": True}, "only an emulated robot"),
        ({"config": emulated_lab(), "colour": "red"}, "allowed"),
        ({"config": emulated_lab(), "image_size": 3}, "image_size"),
        ({"config": emulated_lab(), "cameras": ("left",)}, "unknown camera 'left'"),
        ({"config": emulated_lab(), "reward_type": "big"}, "reward_type"),
        ({"config": emulated_lab(), "render_mode": "human"}, "viewer"),
        ({"emulate": True, "cameras": ("left",)}, "unknown camera"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_env(REAL_IDS[0], **bad)
    monkeypatch.setitem(sys.modules, "franky", None)
    with pytest.raises(ConfigError, match=r"pip install 'dexhil\[real\]'"):
        make_env(REAL_IDS[0], config=emulated_lab())
