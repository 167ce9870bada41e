"""Logs of motions: files, episodes, and what the verbs write about them."""

import json

import numpy as np
import pytest

from dexhil_env import make_env, robot
from dexhil_env.errors import ConfigError, DatasetError
from dexhil_env.recorder import EpisodeRecorder
from dexhil_env.registration import ENV_IDS
from dexhil_env.rollout import run_episode
from dexhil_env.sim.tuning import RobotTuning
from dexhil_env.store import EpisodeStore
from real.sysid import cli
from real.sysid.compare import compare
from real.sysid.episode import episode_log, read_episode
from real.sysid.identify import identify
from real.sysid.log import LONGEST_GAP_S, MotionLog
from real.sysid.replay import measured, replay
from real.sysid.smooth import STEP_S
from tests.unit.helpers import make_episode
from tests.unit.sysid_rig import perturbed_log


@pytest.fixture(scope="module")
def log():
    return perturbed_log()


# ---- logs --------------------------------------------------------------------------------------------------------------------------


def test_a_log_comes_back_from_its_file(log, tmp_path):
    log.save(tmp_path / "a.npz")
    back = MotionLog.load(tmp_path / "a.npz")
    for name in ("time_s", "target", "state_s", "arm_pos", "arm_torque", "hand_pos"):
        np.testing.assert_array_equal(getattr(back, name), getattr(log, name))
    assert back.duration_s == pytest.approx(len(log) * STEP_S, rel=0.01)


def test_what_is_no_log_is_refused(log, tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(DatasetError, match="cannot read"):
        MotionLog.load(path)
    path.write_text("nonsense")
    with pytest.raises(DatasetError, match="cannot read"):
        MotionLog.load(path)
    np.savez(path, time_s=np.zeros(3))
    with pytest.raises(DatasetError, match="target"):
        MotionLog.load(path)
    log.save(path)
    for change, message in (
        ({"facts": np.array(json.dumps({"version": 7, "joints": robot.ACTION_NAMES}))}, "version 7"),
        ({"facts": np.array(json.dumps({"version": 1, "joints": ["a"]}))}, "another robot"),
        ({"arm_pos": np.zeros((5, 7))}, "arm_pos .* must have shape"),
        ({"target": np.where(np.arange(19) == 3, np.nan, log.target)}, "target .* must be finite"),
        ({"time_s": log.time_s[::-1]}, "must increase"),
    ):
        with np.load(path) as file:
            content = {**file, **change}
        bad = tmp_path / "bad.npz"
        np.savez(bad, **content)
        with pytest.raises(DatasetError, match=message):
            MotionLog.load(bad)


def test_an_episode_is_a_log_without_torques(tmp_path):
    episode = make_episode(40)
    episode.state[:, :19] = robot.HOME
    ramp = np.linspace(0.0, 0.1, 40)
    episode.action[:] = robot.HOME
    episode.action[:, 0] += ramp
    read = episode_log(episode)
    assert len(read) == 40 * 10
    assert read.time_s[1] - read.time_s[0] == pytest.approx(STEP_S)
    for row in (5, 20, 39):
        at = np.searchsorted(read.time_s, (row + 1) / 20 - 1.5 * STEP_S)
        np.testing.assert_allclose(read.target[at], episode.action[row], atol=1e-6)
    with pytest.raises(DatasetError, match="no torques"):
        identify(read)
    store = EpisodeStore(tmp_path / "data")
    store.append(episode)
    assert "episode 0" in read_episode(tmp_path / "data", 0).facts["source"]
    with pytest.raises(DatasetError, match="episodes 0 to 0"):
        read_episode(tmp_path / "data", 1)
    cli.gap(dataset=tmp_path / "data", out=tmp_path / "gap.html")
    assert "fr3_joint1" in (tmp_path / "gap.html").read_text()


class Waves:
    """A policy that moves every joint a little."""

    def __init__(self):
        self.steps = 0

    def reset(self, seed=None):
        pass

    def act(self, observation, instruction):
        self.steps += 1
        reach = np.concatenate([np.full(7, 0.06), np.full(12, 0.15)])
        return (robot.HOME + reach * (1 - np.cos(0.2 * self.steps))).astype(np.float32)


def test_an_episode_of_the_twin_itself_has_no_gap():
    env = make_env(ENV_IDS[0], cameras=(), max_episode_steps=50)
    log = episode_log(run_episode(env, Waves(), 0, EpisodeRecorder("plush")))
    apart = compare(measured(log), replay(log), log.mount)
    assert apart.rms.max() < 3e-3, "between two observations the motion is drawn straight"
    assert np.nanmax(np.abs(apart.delay_s)) < 4e-3
    assert apart.palm_m.max() < 5e-3


def test_a_log_that_tells_nothing_is_refused(log):
    still = MotionLog(**{**vars(log), "target": np.tile(robot.HOME, (len(log), 1))})
    with pytest.raises(DatasetError, match="nothing moves"):
        identify(still)
    away = MotionLog(**{**vars(log), "target": log.target + 0.3})
    with pytest.raises(DatasetError, match="begin at home"):
        replay(away)


# ---- verbs -------------------------------------------------------------------------------------------------------------------------


def test_identify_and_gap_write_what_they_found(log, tmp_path, capsys):
    log.save(tmp_path / "a.npz")
    cli.identify(tmp_path / "a.npz", tmp_path / "t.toml")
    cli.gap(tmp_path / "a.npz", tuning=tmp_path / "t.toml", out=tmp_path / "gap.html")
    assert RobotTuning.load(tmp_path / "t.toml").arm_friction is not None
    page, gap = ((tmp_path / name).read_text() for name in ("t.html", "gap.html"))
    for joint in robot.ARM_JOINTS:
        assert joint in page
        assert joint in gap
    assert page.count("<svg") == 14
    assert "nan" not in gap.replace("nance", "")
    assert "palm, robot against tuned twin" in capsys.readouterr().out
    for wrong in ({}, {"log": tmp_path / "a.npz", "dataset": tmp_path}):
        with pytest.raises(ConfigError, match="either"):
            cli.gap(**wrong)
    with pytest.raises(ConfigError, match=r"end in \.html"):
        cli.gap(tmp_path / "a.npz", out=tmp_path / "gap.txt")


def test_a_disturbed_recording_is_told(log, tmp_path, capsys):
    assert log.longest_gap_s < LONGEST_GAP_S
    heard = (log.state_s < 3.0) | (log.state_s > 3.045)
    arm = {name: getattr(log, name)[heard] for name in ("state_s", "arm_pos", "arm_vel", "arm_torque", "arm_external")}
    gappy = MotionLog(**{**vars(log), **arm})
    assert 0.04 < gappy.longest_gap_s < 0.06
    for each, said in ((log, False), (gappy, True)):
        each.save(tmp_path / "a.npz")
        cli.identify(tmp_path / "a.npz", tmp_path / "t.toml")
        assert ("not heard" in " ".join(capsys.readouterr().out.split())) is said


def test_measured_and_replayed_motions_stand_on_the_same_grid(log):
    robot_track, twin = measured(log), replay(log)
    np.testing.assert_array_equal(robot_track.time_s, twin.time_s)
    assert robot_track.pos.shape == twin.pos.shape == (len(twin.time_s), 19)
