"""Reinforcement learning with demonstrations: the reward, the seven numbers, the batch, the exported actor."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
from stable_baselines3 import SAC

from agents.checkpoint import is_actor
from agents.rl.buffer import HalfDemonstrations
from agents.rl.critic import NormedPolicy
from agents.rl.curve import draw_curve
from agents.rl.demos import Transitions, demonstrate
from agents.rl.imitate import ImitatingSAC
from agents.rl.palm import HOLD, STEP, PalmControl, Shaping
from agents.rl.policy import Actor, RLExpert, RLPolicy, save_actor
from agents.rl.train import DEMO_SEED, RLConfig, make_control, read_curve, train_rl
from agents.runner import make_policy
from dexhil_env import make_env
from dexhil_env.errors import CheckpointError, ConfigError, DatasetError
from dexhil_env.hil.scripted import ScriptedOperator
from dexhil_env.hil.wrapper import HiLWrapper
from dexhil_env.robot import HIGH, LOW
from dexhil_env.transforms import from_rotvec, rotvec

PLUSH = "DexHiL-PlushSim-v0"


@pytest.fixture(scope="module")
def env() -> PalmControl:
    return PalmControl(make_env(PLUSH, cameras=(), max_episode_steps=160))


def test_shaping_only_moves_reward_in_time() -> None:
    """Along any way from progress p0 to a success, the discounted sum depends on p0, the length and the success alone."""
    shaping, rng = Shaping(per_step=0.0), np.random.default_rng(0)
    sums = []
    for _ in range(3):
        way = [0.2, *rng.uniform(0, 1, 7)]
        steps = [shaping(a, b, success=i == 6, over=i == 6) for i, (a, b) in enumerate(pairwise(way))]
        sums.append(sum(shaping.gamma**i * reward for i, reward in enumerate(steps)))
    np.testing.assert_allclose(sums, shaping.gamma**6 * shaping.success - shaping.scale * 0.2)


def test_hovering_just_below_success_does_not_pay() -> None:
    shaping = Shaping()
    hover = sum(shaping.gamma**i * shaping(0.9, 0.9, success=False, over=False) for i in range(200))
    finish = shaping(0.9, 1.0, success=True, over=True)
    assert finish > hover


def test_an_action_moves_palm_and_hand_for_as_long_as_it_lasts(env: PalmControl) -> None:
    env.reset(seed=0)
    before, closed = env.palm, env._closed
    env.step(np.array([1, -1, 0.5, 0, 0, 0.5, 1], np.float32))
    np.testing.assert_allclose(env.palm[:3, 3] - before[:3, 3], HOLD * STEP[:3] * [1, -1, 0.5], atol=2e-3)
    np.testing.assert_allclose(rotvec(env.palm[:3, :3] @ before[:3, :3].T), [0, 0, HOLD * 0.5 * STEP[5]], atol=5e-3)
    assert env._closed == pytest.approx(min(closed + HOLD * STEP[6], 1.0))


def test_what_is_asked_for_towards_a_pose_goes_there(env: PalmControl) -> None:
    env.reset(seed=1)
    goal = env.palm
    goal[:3, 3] += [0.02, 0.03, -0.04]
    goal[:3, :3] = from_rotvec(np.array([0.0, 0.1, 0.15])) @ goal[:3, :3]
    for _ in range(8):
        action = env.action_towards(goal, env._open + 0.4 * env._way)
        assert np.abs(action).max() <= 1.0
        targets = env.targets(action)
        assert (targets >= LOW.astype(np.float32)).all()
        assert (targets <= HIGH.astype(np.float32)).all()
    np.testing.assert_allclose(env.palm, goal, atol=2e-3)
    assert env._closed == pytest.approx(0.4)


def test_the_object_is_seen_from_the_palm(env: PalmControl) -> None:
    _, info = env.reset(seed=3)
    seen, *_, info = env.step(np.array([0.5, 0, -0.5, 0.2, 0.1, 0.4, 0], np.float32))
    offset, heading = seen[-7:-4].astype(float), seen[-4:-1].astype(float)
    place = [info[name] for name in ("toy_x_m", "toy_y_m", "toy_centre_height_m")]
    np.testing.assert_allclose(env.palm[:3, :3] @ offset + env.palm[:3, 3], place, atol=1e-5)
    turned = env.palm[:3, :3] @ heading
    assert np.arctan2(turned[1], turned[0]) == pytest.approx(info["toy_yaw_rad"], abs=1e-5)


def test_the_palm_is_not_turned_upwards(env: PalmControl) -> None:
    env.reset(seed=2)
    for _ in range(60):
        env.targets(np.array([0, 0, 0, 1, 0, 0, 0], np.float32))
    assert env.palm[2, 2] < -0.5, "its z axis points down"


def test_the_palm_stays_in_the_workspace(env: PalmControl) -> None:
    env.reset(seed=2)
    for _ in range(60):
        env.targets(np.array([0, 0, -1, 0, 0, 0, 0], np.float32))
    assert env.palm[2, 3] > 0.01


def test_the_expert_succeeds_through_seven_numbers(env: PalmControl) -> None:
    steps = demonstrate(env, 2, 6_000_000, progress=False)
    assert steps.tries <= 3
    assert steps.over.sum() == 2
    assert len(steps.seen) == len(steps.next_seen) == len(steps.action)
    np.testing.assert_array_equal(steps.seen[1:][~steps.over[:-1]], steps.next_seen[:-1][~steps.over[:-1]])


def made_up(count: int, value: float, env: PalmControl) -> Transitions:
    seen = np.full((count, env.observation_space.shape[0]), value, np.float32)
    return Transitions(seen, np.zeros((count, 7), np.float32), np.full(count, value, np.float32), seen, np.zeros(count, bool), 1, 1)


def test_half_of_every_batch_is_demonstrations(env: PalmControl) -> None:
    buffer = HalfDemonstrations(50, env.observation_space, env.action_space, "cpu")
    buffer.demonstrate(made_up(10, 1.0, env))
    assert (buffer.sample(8).rewards == 1.0).all(), "before there is experience"
    own = made_up(20, -1.0, env)
    for i in range(20):
        buffer.add(own.seen[i], own.next_seen[i], own.action[i], own.reward[i : i + 1], np.zeros(1), [{}])
    batch = buffer.sample(8)
    assert batch.rewards.flatten().tolist() == [1.0] * 4 + [-1.0] * 4
    assert batch.observations.shape == (8, env.observation_space.shape[0])


def test_critics_say_nothing_wild_of_what_nobody_tried(env: PalmControl) -> None:
    torch.manual_seed(0)
    seen, action = torch.randn(64, env.observation_space.shape[0]), torch.zeros(64, 7)
    grown = []
    for policy in (NormedPolicy, "MlpPolicy"):
        critic = SAC(policy, env, buffer_size=10, device="cpu").critic
        with torch.no_grad():
            grown.append(torch.cat(critic(1e3 * seen, action)).std() / torch.cat(critic(seen, action)).std())
    normed, plain = grown
    assert normed < 3
    assert plain > 300


def test_a_run_is_resumed_and_its_actor_is_the_learners(tmp_path) -> None:
    config = RLConfig(steps=40, eval_every=20, eval_episodes=1, demos=1, start=10, batch_size=8, widths=(16,), max_episode_steps=90)
    first = train_rl(PLUSH, config, tmp_path, progress=False)
    assert [row["steps"] for row in first] == [20, 40]
    longer = train_rl(PLUSH, RLConfig(**{**vars(config), "steps": 60}), tmp_path, progress=False)
    assert [row["steps"] for row in longer] == [20, 40, 60]
    assert read_curve(tmp_path) == longer
    assert draw_curve(longer, "SAC").count("<title>") == 3, "a mark for every evaluation"
    assert len((tmp_path / "curve.jsonl").read_text().splitlines()) == 3, "nothing was learnt twice"
    with pytest.raises(ConfigError, match="other settings"):
        train_rl(PLUSH, RLConfig(**{**vars(config), "lr": 1e-3}), tmp_path, progress=False)
    control = make_control(PLUSH, config)
    shown = demonstrate(control, 1, DEMO_SEED, progress=False)
    policy = make_policy(str(tmp_path / "policy"), control.env)
    assert isinstance(policy, RLPolicy)
    np.testing.assert_allclose(policy._actor.mean.numpy(), shown.seen.mean(0), rtol=1e-5)
    control.mean, control.scale = policy._actor.mean.numpy(), policy._actor.scale.numpy()
    theirs = SAC.load(tmp_path / "resume.zip", device="cpu")
    seen, _ = control.reset(seed=3)
    wanted, _ = theirs.predict(seen, deterministic=True)
    np.testing.assert_allclose(policy._think(), wanted, atol=1e-4)


def test_an_actor_plans_for_a_simulated_human(tmp_path, monkeypatch) -> None:
    env = make_env(PLUSH, cameras=(), max_episode_steps=30)
    torch.manual_seed(0)
    save_actor(Actor(PalmControl(env).observation_space.shape[0], (8,)), PLUSH, tmp_path, {})
    assert is_actor(tmp_path)
    asked = []
    goal = RLExpert.goal
    monkeypatch.setattr(RLExpert, "goal", lambda self, *args: asked.append(1) or goal(self, *args))
    watched = HiLWrapper(env, ScriptedOperator(expert=lambda twin: RLExpert(tmp_path, twin)))
    observation, info = watched.reset(seed=0)
    wild = np.clip(np.concatenate([observation["arm_joint_pos"], np.full(12, 1.0)]), LOW, HIGH).astype(np.float32)
    helped = False
    for _ in range(30):
        *_, truncated, info = watched.step(wild)
        helped |= info["is_intervention"]
        if truncated:
            break
    assert helped
    assert asked


def test_failures_are_no_demonstrations() -> None:
    with pytest.raises(DatasetError, match="0 of 8 attempts"):
        demonstrate(PalmControl(make_env(PLUSH, cameras=(), max_episode_steps=5)), 1, 0, progress=False)


def test_an_actor_of_another_task_is_refused(tmp_path) -> None:
    save_actor(Actor(12, (8,)), "DexHiL-TissueSim-v0", tmp_path, {})
    with pytest.raises(CheckpointError, match="sees 12 numbers"):
        RLPolicy(tmp_path, make_env(PLUSH, cameras=()).unwrapped)
    assert not is_actor(tmp_path / "nothing")


def test_an_actor_decides_as_often_as_it_learnt(tmp_path, monkeypatch) -> None:
    env = make_env(PLUSH, cameras=(), max_episode_steps=30)
    save_actor(Actor(PalmControl(env).observation_space.shape[0], (8,)), PLUSH, tmp_path, {})
    policy, decided = RLPolicy(tmp_path, env.unwrapped), []
    looks = policy.control.see_now
    monkeypatch.setattr(policy.control, "see_now", lambda: decided.append(1) or looks())
    env.reset(seed=0)
    policy.reset(0)
    for _ in range(2 * HOLD):
        policy.act({}, "")
    assert len(decided) == 2
    policy.act({}, "")
    policy.reset()  # a person drives
    policy.act({}, "")
    assert len(decided) == 4


def better(critic_says: float) -> float:
    """How far a step of imitation moves an actor towards what was shown, where critics value that by so much more than its own."""
    torch.manual_seed(0)
    env = PalmControl(make_env(PLUSH, cameras=(), max_episode_steps=30))
    learner = ImitatingSAC(NormedPolicy, env, buffer_size=10, device="cpu", learning_rate=1e-2)
    shown = SimpleNamespace(observations=torch.randn(16, env.observation_space.shape[0]), actions=torch.full((16, 7), 0.5))
    learner._value = lambda seen, actions: critic_says * (actions == 0.5).all(1, keepdim=True)

    def distance() -> float:
        return float((learner.actor(shown.observations, deterministic=True) - 0.5).abs().mean().detach())

    before = distance()
    for _ in range(20):
        learner._imitate(shown)
    return before - distance()


def test_what_was_shown_is_imitated_only_where_it_is_better() -> None:
    assert better(1.0) > 0.2
    assert better(-1.0) == pytest.approx(0.0)


def test_settings_that_cannot_learn_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        RLConfig(steps=0)
