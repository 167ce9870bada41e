"""The emulated robot with a task, in its own process: the same scene as in simulation, and every device and fault over its true wire."""

import os
import time

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("can")
pytest.importorskip("cv2")

import dexhil_env  # noqa: F401  (registers the environments)
from dexhil_env import robot
from dexhil_env.errors import ConfigError, DeviceError
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.make import make_task
from real.cameras import Camera, CameraConfig
from real.dexhand import DexHand, DexHandConfig
from real.emulator.emulator_config import EmulatorConfig
from real.emulator.fci_wire import ErrorBit
from real.emulator.twin_process import TwinProcess
from tests.emulator.waiting import until

SIZE = 96
PATIENT = {"board_timeout_s": 0.6, "bus_timeout_s": 0.5, "command_timeout_s": 1.0, "connect_timeout_s": 5.0}
"""Time-outs for a loaded machine."""


@pytest.fixture(scope="module")
def twin():
    with TwinProcess(EmulatorConfig(image_size=SIZE, hand_stall_s=0.2, patience_s=0.2)) as process:
        yield process


@pytest.fixture
def line(twin):
    twin.line.mend()
    yield twin.line
    twin.line.mend()


@pytest.fixture
def hand(twin, line):
    with DexHand(DexHandConfig("dexhil-unix", twin.config.can_path, **PATIENT)) as driver:
        driver.start()
        yield driver


def kinds(device):
    return {fault.split()[0].rstrip(":") for fault in device.faults()}


def robot_time_runs(line):
    before = line.status().time_s
    return until(lambda: line.status().time_s > before + 0.05, 3.0)


# ---- the scene -------------------------------------------------------------------------------------------------------------------


def test_it_says_what_it_is(twin, line):
    description = line.describe()
    assert (description.task, description.instruction) == ("plush", make_task("plush").instruction)
    assert description.metric_names == make_task("plush").metric_names
    assert (description.address, description.can_path) == (twin.config.address, twin.config.can_path)
    assert description.cameras == {name: twin.config.camera_url(name) for name in ("front", "wrist")}
    assert description.pid == twin.pid
    assert os.stat(os.path.dirname(twin.config.can_path)).st_mode & 0o077 == 0, "only this user may enter"


def test_a_seed_gives_the_scene_and_the_draws_of_the_simulated_environment(line):
    env = gym.make("DexHiL-PlushSim-v0", cameras=()).unwrapped
    _, info = env.reset(seed=7)
    rng, _ = gym.utils.seeding.np_random(7)
    rng.bit_generator.state = line.lay(rng.bit_generator.state)
    judgement = line.judge()
    assert rng.uniform() == env.np_random.uniform()
    mirror = SimBackend(make_task("plush"))
    mirror.restore_state(judgement.physics)
    np.testing.assert_allclose(mirror.task.toy_pose(), env.task.toy_pose(), atol=2e-3)
    np.testing.assert_allclose(mirror.state().arm_joint_pos, robot.ARM_HOME, atol=0.01)
    np.testing.assert_allclose(mirror.state().hand_motor_pos, robot.HAND_HOME, atol=0.02)
    assert judgement.evaluation.metrics == pytest.approx({name: info[name] for name in make_task("plush").metric_names}, abs=5e-3)
    assert line.judge().time_s > judgement.time_s, "the scene lives on"


def test_the_scene_follows_arm_and_hand_over_the_wires(twin, line, hand):
    pytest.importorskip("franky")
    from real.fr3 import FR3, FR3Config

    line.lay(np.random.default_rng(0).bit_generator.state)
    goal, lags = np.full(12, 0.25), []
    with FR3(FR3Config(twin.config.address, stale_hold_s=0.4, stale_fault_s=0.8, clock="robot")) as arm:
        arm.start()
        start, begin_s = arm.state().q, arm.state().robot_time_s
        while (t := arm.state().robot_time_s - begin_s) < 1.5:
            arm.command(start + 0.05 * (1 - np.cos(np.pi * min(t, 1.0))), time.monotonic_ns())
            hand.command(goal, time.monotonic_ns())
            lags.append(line.status().twin_lag)
            time.sleep(0.02)
        with pytest.raises(DeviceError, match="home the arm first"):
            line.lay(np.random.default_rng(0).bit_generator.state)
        mirror = SimBackend(make_task("plush"))
        mirror.restore_state(line.peek().physics)
        assert np.abs(mirror.state().arm_joint_pos - start).min() > 0.05
        np.testing.assert_allclose(mirror.state().arm_joint_pos, line.status().q, atol=5e-3)
        np.testing.assert_allclose(hand.state().motor_pos, goal, atol=0.03)
        np.testing.assert_allclose(mirror.state().hand_motor_pos, goal, atol=0.03)
        assert arm.faults() == hand.faults() == []
    assert max(lags) < 8e-3
    assert np.median(lags) < 3e-3


def test_the_cameras_show_the_scene(twin, line):
    image = {}
    for name in twin.config.cameras:
        with Camera(CameraConfig(name, "opencv", twin.config.camera_url(name), SIZE, SIZE, stale_s=1.0)) as camera:
            assert until(lambda: camera.frame().sequence >= 10)
            assert camera.faults() == []
            image[name] = camera.frame().image
    mirror = SimBackend(make_task("plush"), ("front", "wrist"), SIZE)
    mirror.restore_state(line.peek().physics)
    for name, drawn in mirror.images().items():
        assert np.abs(image[name].astype(float) - drawn).mean() < 8.0, "noise and JPEG apart, the picture of the mirror"
    assert np.abs(image["front"].astype(float) - image["wrist"]).mean() > 20.0


# ---- faults ----------------------------------------------------------------------------------------------------------------------


def test_reflex_and_user_stop(line):
    line.reflex(ErrorBit.JOINT_REFLEX)
    assert line.status().mode == "REFLEX"
    assert line.status().errors == ("joint_reflex",)
    line.user_stop(True)
    assert line.status().mode == "USER_STOPPED"
    line.user_stop(False)
    assert line.status().mode == "REFLEX", "the error is still there"
    assert [what for _, what in line.status().events][-3:] == ["joint_reflex", "user stop", "user stop released"]


def test_a_frozen_arm_leaves_the_hand_alive(line, hand):
    line.freeze(30.0)
    frozen = line.status().time_s
    time.sleep(0.3)
    assert line.status().time_s == frozen
    assert hand.faults() == []
    assert hand.state().age_s.max() < 0.3
    line.mend()
    assert robot_time_runs(line)


def test_a_push_moves_the_arm(line):
    before = line.status().q
    line.push([0, 0, 0, 0, 0, 0, 8.0])
    assert until(lambda: line.status().q[6] - before[6] > 1e-3)
    line.mend()
    assert until(lambda: abs(line.status().q[6] - before[6]) < 5e-4)


def test_mute_heat_and_bus_off(line, hand):
    line.mute("index")
    assert until(lambda: any("board-stale index" in fault for fault in hand.faults()))
    line.mute(2, False)
    line.heat("thumb", 60.0)
    assert until(lambda: any("thumb" in fault and "hot" in fault for fault in hand.faults()))
    line.heat(0, 30.0)
    line.bus_off()
    assert until(lambda: {"bus-off", "bus-gone"} & kinds(hand))
    line.bus_off(False)
    assert until(lambda: hand.state().age_s.max() < 0.2), "boards report again"


def test_a_blocked_motor_stalls_and_its_finger_backs_off(line, hand):
    motor = robot.HAND_MOTORS.index("lf_mcp")
    line.block("lf_mcp", 0.2)
    goal = np.zeros(12)
    goal[motor] = 1.2

    def stalled():
        hand.command(goal, time.monotonic_ns())
        return hand.state().stalled[motor]

    assert until(stalled)
    assert hand.state().motor_pos[motor] == pytest.approx(0.2, abs=0.06)

    def opened():
        hand.command(np.zeros(12), time.monotonic_ns())
        return hand.state().motor_pos[motor] < 0.05

    assert until(opened)


def test_faults_of_a_camera(twin, line):
    config = CameraConfig("front", "opencv", twin.config.camera_url("front"), SIZE, SIZE, stale_s=1.0, reconnect_s=0.1)
    with Camera(config) as camera:
        line.camera("front", freeze=True)
        assert until(lambda: "camera-frozen" in kinds(camera))
        line.camera("front", freeze=False, drop=1.0)
        assert until(lambda: "camera-stale" in kinds(camera))
        line.mend()
        assert until(lambda: not camera.faults())


def test_wrong_names_and_values_are_refused_and_do_no_harm(line):
    wrong = (
        (lambda: line.mute("pinky"), "thumb"),
        (lambda: line.mute(6), "index"),
        (lambda: line.heat("palm", 60.0), "finger"),
        (lambda: line.block("thumb", 0.1), "th_rot"),
        (lambda: line.camera("top", freeze=True), "front"),
        (lambda: line.reflex(41), "40"),
        (lambda: line.push([1.0, 2.0]), "7"),
        (lambda: line.push([np.nan] * 7), "finite"),
        (lambda: line.line(loss=2.0), "loss"),
    )
    for call, text in wrong:
        with pytest.raises(ConfigError, match=text):
            call()
    assert robot_time_runs(line)


@pytest.mark.parametrize("what", ["address", "can_path", "control_path"])
def test_what_is_taken_is_refused_and_the_first_lives_on(twin, line, what):
    same = EmulatorConfig(**{what: getattr(twin.config, what)}, cameras=(), patience_s=0.2)
    with pytest.raises(DeviceError, match=r"(another|choose)") as error, TwinProcess(same):
        pass
    assert str(getattr(twin.config, what)) in str(error.value)
    assert robot_time_runs(line)
