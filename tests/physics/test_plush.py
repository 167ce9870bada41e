"""The plush task in the twin: what counts as lifted, exact resets, a grasp by contact only, an expert that works from any state."""

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from dexhil_env import robot
from dexhil_env.errors import ConfigError
from dexhil_env.hil.expert import Goal
from dexhil_env.hil.experts.plush import CLOSED, OPEN, PlushExpert
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.motion import HumanMotion, MotionConfig
from dexhil_env.hil.sim_experts import ExpertPolicy
from dexhil_env.sim.backend import SimBackend
from dexhil_env.sim.plush import HOLD_STEPS, MASS_KG, PlushConfig, PlushTask
from dexhil_env.transforms import from_rotvec


class Scene:
    """The task in its scene, without the control loop."""

    def __init__(self, **config):
        self.task = PlushTask(PlushConfig(**config))
        self.backend = SimBackend(self.task)
        self.model, self.data = self.backend.model, self.backend.data

    def reset(self, seed, **options):
        rng = np.random.default_rng(seed)
        self.backend.reset(rng)
        self.task.reset(rng, options)
        return self.data.qpos.copy()

    def move_toy(self, rotation, shift):
        """Rigidly move the toy where it stands (nodes slide along the world's axes)."""
        nodes = self.data.xpos[self.task._bodies]
        centre = nodes.mean(axis=0)
        self.data.qpos[self.task._qpos] = (nodes - centre) @ rotation.T + centre + shift - self.task._rest
        mujoco.mj_forward(self.model, self.data)


@pytest.fixture(scope="module")
def scene():
    return Scene()


@pytest.fixture(scope="module")
def env():
    return gym.make("DexHiL-PlushSim-v0", cameras=())


def test_the_toy_lies_where_it_is_told_and_weighs_what_it_should(scene):
    scene.reset(0, toy_pose=(0.5, 0.05, 0.7))
    pose = scene.task.toy_pose()
    np.testing.assert_allclose(pose[:2, 3], [0.5, 0.05], atol=0.003)
    assert np.arctan2(pose[1, 0], pose[0, 0]) == pytest.approx(0.7, abs=0.02)
    assert scene.model.body_mass[scene.task._bodies].sum() == pytest.approx(MASS_KG, rel=1e-6)
    assert -0.002 < scene.task.lowest_point() < 0.004
    assert np.abs(scene.data.qvel[scene.task._dofs]).max() < 0.05


def test_pose_fit_recovers_a_rigid_motion(scene):
    scene.reset(1)
    before = scene.task.toy_pose()
    turn, shift = from_rotvec(np.array([0.2, -0.4, 0.9])), np.array([0.03, -0.02, 0.2])
    scene.move_toy(turn, shift)
    after = scene.task.toy_pose()
    np.testing.assert_allclose(after[:3, :3], turn @ before[:3, :3], atol=1e-9)
    np.testing.assert_allclose(after[:3, 3], before[:3, 3] + shift, atol=1e-9)


def test_success_needs_every_vertex_up_for_half_a_second(scene):
    scene.reset(2)
    tilt = from_rotvec(np.array([0.0, 0.7, 0.0]))
    scene.move_toy(tilt, np.array([0, 0, 0.06]))
    low = scene.task.lowest_point()
    scene.move_toy(np.eye(3), np.array([0, 0, 0.004 - low]))
    assert not any(scene.task.evaluate().success for _ in range(2 * HOLD_STEPS))  # the centre is high, one corner is not
    scene.move_toy(np.eye(3), np.array([0, 0, 0.002]))
    results = [scene.task.evaluate().success for _ in range(HOLD_STEPS)]
    assert results == [False] * (HOLD_STEPS - 1) + [True]
    scene.data.qvel[scene.task._dofs] = [0.0, 0.0, 1.0]
    assert not any(scene.task.evaluate().success for _ in range(2 * HOLD_STEPS))  # a toy in flight is not held
    scene.move_toy(np.eye(3), np.array([0, 0, -0.004]))
    scene.task.evaluate()
    scene.move_toy(np.eye(3), np.array([0, 0, 0.004]))
    assert not scene.task.evaluate().success  # touching the table starts the clock anew


def test_out_of_reach_is_a_failure_and_progress_grows_towards_the_goal(scene):
    scene.reset(3, toy_pose=(0.55, 0.0, 0.0))
    start = scene.task.evaluate()
    assert not start.failure
    scene.move_toy(np.eye(3), np.array([0, 0, 0.03]))
    higher = scene.task.evaluate()
    scene.move_toy(np.eye(3), np.array([0, 0, 0.10]))
    lifted = scene.task.evaluate()
    assert 0 <= start.progress < higher.progress < lifted.progress <= 1
    scene.move_toy(np.eye(3), np.array([0, 0.45, 0]))
    assert scene.task.evaluate().failure


def test_nothing_but_contact_can_hold_the_toy(scene):
    model = scene.model
    kinds = set(model.eq_type.tolist())
    assert kinds == {int(mujoco.mjtEq.mjEQ_JOINT)}  # the hand's couplings, nothing else
    own = {int(j) for j in np.flatnonzero(np.isin(model.jnt_bodyid, scene.task._bodies))}
    assert not own & set(model.eq_obj1id.tolist() + model.eq_obj2id.tolist())
    assert not own & set(model.actuator_trnid[:, 0].tolist())


def test_resets_do_not_depend_on_history():
    scene = Scene(randomise_physics=True)
    first, second = scene.reset(4), scene.reset(5)
    stiffness = scene.model.flex_stiffness.copy()
    assert not np.array_equal(first, second)
    scene.reset(4)
    assert not np.array_equal(scene.model.flex_stiffness, stiffness)
    np.testing.assert_array_equal(scene.reset(5), second)
    np.testing.assert_array_equal(scene.model.flex_stiffness, stiffness)
    np.testing.assert_array_equal(Scene(randomise_physics=True).reset(5), second)


def test_material_travels_with_the_saved_state():
    scene = Scene(randomise_physics=True)
    scene.reset(6)
    mass, friction, state = scene.model.body_mass.copy(), scene.model.flex_friction.copy(), scene.task.extra_state()
    scene.reset(7)
    assert not np.array_equal(scene.model.body_mass, mass)
    scene.task.set_extra_state(state)
    np.testing.assert_array_equal(scene.model.body_mass, mass)
    np.testing.assert_array_equal(scene.model.flex_friction, friction)


@pytest.mark.parametrize("wrong", [{"toy_x_m": (0.2, 0.6)}, {"toy_y_m": (0.1, -0.1)}, {"timestep_s": 0.004}, {"mass_scale": (0.0, 1.0)}])
def test_wrong_configurations_are_refused(wrong):
    with pytest.raises(ConfigError):
        PlushConfig(**wrong)


def run(env, policy, seed, steps=240):
    observation, info = env.reset(seed=seed)
    policy.reset(seed)
    for _ in range(steps):
        observation, _, over, late, info = env.step(policy.act(observation, ""))
        if over or late:
            break
    return info


def test_the_expert_lifts_the_toy_and_the_physics_stays_sound(env):
    policy = ExpertPolicy(env.unwrapped)
    assert [run(env, policy, seed)["is_success"] for seed in range(6)] == [True] * 6
    assert sum(warning.number for warning in env.unwrapped.backend.data.warning) == 0


def test_a_hand_that_never_closes_never_lifts(env):
    policy = ExpertPolicy(env.unwrapped, never_close=True)
    assert not any(run(env, policy, seed, steps=120)["is_success"] for seed in range(2))


def spoiled(kind, goal, t_s):
    """What a bad policy does instead of the expert's goal."""
    T, hand = goal.T_base_ee.copy(), goal.hand.copy()
    if kind == "beside":
        T[:2, 3] += [0.05, -0.08]
    if kind in ("early", "fist") and t_s > 0.6:
        hand = CLOSED.copy()
    if kind == "turned":
        T[:3, :3] = from_rotvec(np.array([0, 0, 0.9])) @ T[:3, :3]
    if kind == "dropped" and t_s > 1.8:
        hand = OPEN.copy()
    if kind == "fist":
        T[:2, 3] += [-0.06, 0.03]
    return Goal(T, hand, goal.phase, goal.speed)


@pytest.mark.parametrize("kind", ["beside", "early", "fist", "turned", "dropped"])
def test_the_expert_recovers_from_anothers_mistake(env, kind):
    policy = ExpertPolicy(env.unwrapped)
    expert = policy._expert
    plan = PlushExpert.goal
    for seed in (10, 11):
        observation, _ = env.reset(seed=seed)
        policy.reset(seed)
        expert.goal = lambda T, hand, t_s: spoiled(kind, plan(expert, T, hand, t_s), t_s)
        for _ in range(42):
            observation, _, over, _, info = env.step(policy.act(observation, ""))
            assert not over
        del expert.goal
        policy.reset()
        expert._clock = None
        for _ in range(150):
            observation, _, over, _, info = env.step(policy.act(observation, ""))
            if over:
                break
        assert info["is_success"], (kind, seed)


@pytest.mark.parametrize(("phase", "goes_on_with"), [("close", "close"), ("lift", "lift")])
def test_taking_over_in_the_middle_of_a_grasp_goes_on_with_it(env, phase, goes_on_with):
    policy = ExpertPolicy(env.unwrapped)
    expert, observation = policy._expert, env.reset(seed=12)[0]
    policy.reset(12)
    count = 0
    while count < 12:
        count += expert.phase == phase
        observation, _, over, late, _ = env.step(policy.act(observation, ""))
        assert not over
        assert not late
    policy.reset()
    expert._clock = None
    policy.act(observation, "")
    assert expert.phase == goes_on_with


def test_arm_posture_at_the_grasp_is_smooth_in_the_toys_pose(scene):
    """Elbow branches would flip q1 and q3 by more than a radian; imitation needs one branch."""
    ik = ArmIK(scene.model)
    expert = PlushExpert(scene.task, scene.model, scene.data)
    grasps = []
    for seed in range(60):
        scene.reset(seed)
        rng = np.random.default_rng(seed)
        expert.reset(rng)
        motion = HumanMotion(MotionConfig(), robot.CONTROL_PERIOD_S)
        motion.reset(ik.forward(robot.ARM_HOME), robot.HAND_HOME, rng)
        q, hand = robot.ARM_HOME, robot.HAND_HOME
        for step in range(80):
            palm, hand = motion.step(expert.goal(ik.forward(q), hand, 0.05 * step))
            q = ik.solve(q, palm, max_step_rad=robot.ARM_MAX_VELOCITY * robot.CONTROL_PERIOD_S)
            if expert.phase == "close":
                break
        assert expert.phase == "close", seed
        grasps.append(q)
    q = np.array(grasps)
    assert q[:, [0, 2]].std(axis=0).max() < 0.3
    assert (np.minimum(q - robot.ARM_LOW, robot.ARM_HIGH - q) > 0.2).all()
