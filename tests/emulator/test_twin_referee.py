"""The emulated robot's scene without the wires: laid as in simulation bit for bit, judged by the task, and a hand that feels it."""

import gymnasium as gym
import numpy as np
import pytest

import dexhil_env  # noqa: F401  (registers the environments)
from dexhil_env import robot
from dexhil_env.errors import ConfigError, DeviceError, SimulationError
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.make import make_task
from dexhil_env.sim.randomise import LooksConfig
from real.emulator.arm_body import MujocoArm
from real.emulator.control_messages import decode, encode, unpack_judgement
from real.emulator.emulator_config import EmulatorConfig, RealityConfig
from real.emulator.hand_body import MotorTargets
from real.emulator.twin_hand import TwinHand
from real.emulator.twin_referee import TwinReferee, generator_of
from real.emulator.twin_scene import TwinScene

STILL = np.zeros(7)
ALL_ON = np.ones(12, dtype=bool)
NO_LIMIT = np.zeros(12)


def make_referee(task="plush", looks=None, **options):
    scene = TwinScene(SimBackend(make_task(task, **options), looks=looks))
    return TwinReferee(scene, MujocoArm(scene=scene))


@pytest.fixture(scope="module")
def plush():
    referee = make_referee()
    referee.lay_with(np.random.default_rng(0), {})
    return referee


@pytest.fixture
def referee(plush):
    yield plush
    plush._arm.data.qpos[plush._arm._qpos] = robot.ARM_HOME
    plush.scene.problem = ""


def seeded(seed):
    return gym.utils.seeding.np_random(seed)[0]


def objects(backend):
    """Coordinates that are not the robot's."""
    mine = {int(backend.model.joint(name).qposadr[0]) for name in (*robot.ARM_JOINTS, *robot.HAND_JOINTS)}
    return backend.data.qpos[[i for i in range(backend.model.nq) if i not in mine]]


@pytest.mark.parametrize("task", ["plush", "tissue"])
@pytest.mark.parametrize("varied", [False, True])
def test_a_seed_lays_the_scene_of_the_simulated_environment_bit_for_bit(task, varied):
    env = gym.make(
        f"DexHiL-{task.capitalize()}Sim-v0", cameras=(), randomise_visuals=varied, randomise_physics=varied, disable_env_checker=True
    ).unwrapped
    referee = make_referee(task, LooksConfig() if varied else None, randomise_physics=varied)
    away = np.array([1, -1, 1, -1, 1, -1, 1]) * 0.01
    referee._arm.data.qpos[referee._arm._qpos] = robot.ARM_HOME + away
    for seed in (7, 8):  # twice: nothing may be left over from the scene before
        _, info = env.reset(seed=seed)
        rng = seeded(seed)
        rng.bit_generator.state = referee.lay(rng.bit_generator.state, {})["rng_state"]
        assert rng.uniform() == env.np_random.uniform()
        np.testing.assert_array_equal(objects(referee.backend), objects(env.backend))
        sim, twin = env.backend.save_state(), referee.backend.save_state()
        np.testing.assert_array_equal(twin.task, sim.task)
        np.testing.assert_array_equal(twin.looks, sim.looks)
        np.testing.assert_allclose(referee.backend.state().arm_joint_pos, robot.ARM_HOME + away, atol=1e-12)
        assert referee.lag < 1e-12
        metrics = referee.judge()["evaluation"]["metrics"]
        robot_free = [name for name in metrics if "palm" not in name and "tip" not in name]
        assert {name: metrics[name] for name in robot_free} == {name: info[name] for name in robot_free}


def test_options_lay_a_chosen_scene(referee):
    referee.lay(seeded(0).bit_generator.state, decode(encode({"toy_pose": (0.5, 0.05, 1.0)})))
    metrics = referee.judge()["evaluation"]["metrics"]
    assert [metrics[name] for name in ("toy_x_m", "toy_y_m", "toy_yaw_rad")] == pytest.approx([0.5, 0.05, 1.0], abs=0.02)


def test_the_mirror_of_a_judgement_is_the_twin(referee):
    referee.lay(seeded(3).bit_generator.state, {})
    judgement = unpack_judgement(decode(encode(referee.judge())))
    mirror = SimBackend(make_task("plush"))
    mirror.restore_state(judgement.physics)
    assert mirror.data.time == judgement.time_s == referee.backend.data.time
    np.testing.assert_array_equal(mirror.data.qpos, referee.backend.data.qpos)
    np.testing.assert_array_equal(mirror.state().ee_pose, referee.backend.state().ee_pose)
    assert mirror.task.evaluate() == judgement.evaluation


def test_judging_counts_and_peeking_does_not(referee, monkeypatch):
    calls = []
    evaluate = referee.backend.task.evaluate
    monkeypatch.setattr(referee.backend.task, "evaluate", lambda: calls.append(1) or evaluate())
    first = referee.judge()
    for _ in range(3):
        assert referee.peek()["evaluation"] == first["evaluation"]
    assert len(calls) == 1


def test_nothing_is_laid_under_an_arm_or_hand_that_is_away(referee):
    laid, state = referee.laid, seeded(0).bit_generator.state
    referee._arm.data.qpos[referee._arm._qpos[3]] += 0.03
    with pytest.raises(DeviceError, match=r"fr3_joint4 is 0.030 rad away, allowed 0.02: home the arm"):
        referee.lay(state, {})
    referee._arm.data.qpos[referee._arm._qpos[3]] -= 0.03
    finger = referee.backend.model.joint("r_f_joint3_2").qposadr[0]
    referee.backend.data.qpos[finger] = 0.5
    with pytest.raises(DeviceError, match=r"mf_mcp stands at 0.500 rad.*open the hand"):
        referee.lay(state, {})
    referee.backend.data.qpos[finger] = 0.0
    assert referee.laid == laid


@pytest.mark.parametrize("state", [{}, {"bit_generator": "os"}, {"bit_generator": "PCG64", "state": 3}])
def test_what_is_no_generator(state):
    with pytest.raises(ConfigError, match="rng"):
        generator_of(state)


def test_a_scene_that_diverges_stops_alone_and_is_mended_by_laying(referee):
    referee.backend.data.qvel[:] = 1e30
    assert not referee.scene.follow(robot.ARM_HOME, STILL, robot.HAND_HOME).any()
    with pytest.raises(SimulationError, match="diverged"):
        referee.judge()
    for _ in range(10):
        referee._arm.step(None, robot.ARM_HOME)  # the arm goes on
    referee.backend.data.qpos[referee._hand_qpos] = 0.0
    referee.lay(seeded(0).bit_generator.state, {})
    referee.scene.follow(robot.ARM_HOME, STILL, robot.HAND_HOME)
    assert np.isfinite(referee.judge()["evaluation"]["progress"])


def press(referee, ticks=2500):
    """Press the open hand on the table with an impedance law like the tracker's; return torques felt (T, 7), and the largest speed."""
    arm, felt, speed = referee._arm, [], []
    stiffness = np.array([600, 600, 600, 600, 250, 150, 50.0])
    goal = robot.ARM_HOME + np.array([0, 1.2, 0, 0, 0, 0, 0])
    for tick in range(ticks):
        reference = robot.ARM_HOME + min(tick / 1500, 1.0) * (goal - robot.ARM_HOME)
        error = np.clip(reference - arm.joint_pos, -0.05, 0.05)
        arm.step(stiffness * error - 2 * np.sqrt(stiffness) * arm.joint_vel, arm.joint_pos)
        felt.append(arm.read().tau_ext)
        speed.append(np.abs(arm.joint_vel).max())
    return np.array(felt), np.array(speed)


def test_the_table_is_felt_and_does_not_rattle():
    referee = make_referee()
    referee.lay_with(seeded(0), {"toy_pose": (0.4, 0.25, 0.0)})  # out of the way
    felt, speed = press(referee)
    assert referee.backend.data.ncon > 0
    assert referee._arm.data.ncon == 0, "the arm has no table of its own"
    assert np.abs(felt[:300]).max() < 0.01, "nothing touches on the way down"
    assert felt[-1, 1] < -10.0, "the table pushes the shoulder up"
    assert np.abs(felt[-300:, 1]).max() < 60.0, "and no harder than it is pushed"
    assert speed[-300:].max() < 0.05
    assert np.abs(np.diff(felt, axis=0)).max() < 5.0, "the touch is no blow [Nm/ms]"
    assert referee.lag < 0.02


def test_a_soft_object_is_felt():
    referee = make_referee()
    referee.lay_with(seeded(0), {})
    data, scene = referee.backend.data, referee.scene
    data.qpos[referee.backend.task._qpos] += referee.backend.state().ee_pose[:3] - data.flexvert_xpos.mean(axis=0) + [0.0, 0.0, 0.06]
    pulls = [np.abs(scene.follow(robot.ARM_HOME, STILL, robot.HAND_HOME)).max() for _ in range(20)]
    assert max(pulls) > 0.05, "the toy lies on the hand"


# ---- the hand --------------------------------------------------------------------------------------------------------------------


def drive(referee, hand, angle, seconds, powered=ALL_ON):
    target = np.broadcast_to(np.asarray(angle, dtype=float), 12)
    for _ in range(round(seconds / 0.005)):
        hand.drive(MotorTargets(target, powered, NO_LIMIT), 0.005)
        referee.scene.follow(robot.ARM_HOME, STILL, hand.target)
    return hand.read()


def test_motors_follow_and_a_blocked_one_pushes_with_all_it_has(referee):
    hand = TwinHand(referee.backend)
    goal = np.full(12, 0.3)
    goal[robot.HAND_MOTORS.index("ff_spr")] = 0.1
    np.testing.assert_allclose(drive(referee, hand, goal, 0.6).motor_pos, goal, atol=0.02)
    motor = robot.HAND_MOTORS.index("rf_mcp")
    hand.block("rf_mcp", 0.4)
    goal[motor] = 1.2
    blocked = drive(referee, hand, goal, 0.6)
    assert blocked.motor_pos[motor] == pytest.approx(0.4, abs=0.05)
    assert blocked.pushing[motor]
    assert blocked.pushing.sum() == 1
    assert blocked.current[motor] > 10 * np.median(blocked.current)
    hand.block("rf_mcp", None)
    assert drive(referee, hand, goal, 0.6).motor_pos[motor] == pytest.approx(1.2, abs=0.03)
    drive(referee, hand, 0.0, 0.6)
    with pytest.raises(ConfigError, match="rf_mcp"):
        hand.block("rf_mpc", 0.4)


def test_a_motor_without_power_stays_where_it_is(referee):
    hand = TwinHand(referee.backend)
    before = drive(referee, hand, 0.25, 0.6).motor_pos
    after = drive(referee, hand, 0.0, 0.3, np.zeros(12, dtype=bool))
    np.testing.assert_allclose(after.motor_pos, before, atol=0.02)
    assert not after.current.any()
    drive(referee, hand, 0.0, 0.6)


def test_latency_and_gain_of_the_hand(referee):
    model = referee.backend.model
    nominal = model.actuator_gainprm.copy(), model.actuator_biasprm.copy()
    late = TwinHand(referee.backend, latency_s=0.1)
    assert drive(referee, late, 0.3, 0.095).motor_pos.max() < 1e-3
    drive(referee, late, 0.0, 0.6)
    pressed = {}
    for gain in (1.0, 0.5):
        hand = TwinHand(referee.backend, gain=gain)
        hand.block("rf_mcp", 0.2)
        pressed[gain] = drive(referee, hand, np.where(np.arange(12) == 8, 0.5, 0.0), 0.6).current[8]
        hand.free()
        drive(referee, hand, 0.0, 0.6)
        model.actuator_gainprm[:], model.actuator_biasprm[:] = nominal
    assert pressed[0.5] == pytest.approx(0.5 * pressed[1.0], rel=0.15)


# ---- the arm, and configurations -------------------------------------------------------------------------------------------------


def test_friction_torque_and_noise_of_the_arm():
    def turned(**changes):
        arm = MujocoArm(reality=RealityConfig(**changes))
        for _ in range(100):
            arm.step(np.array([0, 0, 0, 0, 0, 0, 1.0]), robot.ARM_HOME)
        return arm

    nominal = turned().joint_vel[6]
    assert turned(arm_friction=3.0).joint_vel[6] < 0.5 * nominal
    assert turned(arm_damping=10.0).joint_vel[6] < 0.95 * nominal
    assert turned(arm_torque=0.8).joint_vel[6] < 0.9 * nominal
    noisy = turned(encoder_noise=1e-3)
    assert noisy.joint_vel[6] == nominal, "the noise is in the sensors"
    readings = np.array([noisy.read().q - noisy.joint_pos for _ in range(300)])
    assert readings.std() == pytest.approx(1e-3, rel=0.1)
    assert MujocoArm().read().q.tolist() == robot.ARM_HOME.tolist(), "no noise by default"


@pytest.mark.parametrize(
    "wrong",
    [
        {"pace": 0.0},
        {"pace": 1.5},
        {"image_size": 8},
        {"cameras": ("top",)},
        {"can_path": "/tmp/" + "x" * 120},
        {"control_path": "/nowhere/at/all"},
        {"hand_stall_s": 0.0},
    ],
)
def test_configurations_that_make_no_sense(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong)).removesuffix("s")):
        EmulatorConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"arm_friction": -1.0}, {"camera_delay_s": 9.0}, {"hand_gain": 0.0}, {"encoder_noise": 1.0}])
def test_realities_that_make_no_sense(wrong):
    with pytest.raises(ConfigError, match=f"RealityConfig.{next(iter(wrong))}"):
        RealityConfig(**wrong)


def test_a_camera_has_no_address_before_it_runs():
    with pytest.raises(ConfigError, match="not started"):
        EmulatorConfig().camera_url("front")
