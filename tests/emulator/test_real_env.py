"""The environment on an emulated robot: the same as in simulation to whoever uses it, and made in one line."""

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
from real.config import RealConfig
from real.make import make_real_env
from real.safety import State
from tests import conformance as c
from tests.emulator.arm_fixtures import free_address
from tests.emulator.seat import SIZE, Bad, drive, still

pytest.importorskip("franky")


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


def test_a_slow_robot_is_led_on_its_own_clock():
    """An emulated robot with half of the real pace: in its own time everything is as usual, nothing is late."""
    pace, steps = 0.5, 12
    env = make_env(REAL_IDS[0], emulate=True, cameras=(), pace=pace)
    try:
        observation, info = env.reset(seed=1)
        start, t0, wall = observation["arm_joint_pos"], info["t_obs_ns"], time.monotonic()
        action = env.unwrapped.servo.commanded.astype(np.float32)
        for _ in range(steps):
            action[0] += 0.01
            observation, _, _, _, info = env.step(action)
        wall, robot_s = time.monotonic() - wall, (info["t_obs_ns"] - t0) * 1e-9
        backend = env.unwrapped.backend
        facts = backend.facts()
        assert backend.safety.state is State.RUN
        assert facts["holds"] == 0
        assert 0.045 <= 1e-3 * facts["period_ms"]["p50"] < 0.08, "of the robot's time"
        assert 0.1 < robot_s / wall < 1.2 * pace, "of the wall's time it needs more"
        assert observation["arm_joint_pos"][0] - start[0] == pytest.approx(0.01 * steps, abs=0.04)
    finally:
        env.close()


def test_a_wish_beyond_the_workspace_stops_at_its_border_and_the_record_says_so(env, twin):
    env.reset(seed=1)
    action = env.unwrapped.servo.commanded.astype(np.float32)
    backend = env.unwrapped.backend
    for _ in range(28):
        action[1], action[3] = min(action[1] + 0.05, 0.7), min(action[3] + 0.05, -1.2)
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
