import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check

from dexhil_env.errors import ActionError, ConfigError, DexHiLError
from dexhil_env.registration import ENV_IDS, make_env
from tests import conformance as c

pytestmark = pytest.mark.parametrize("env_id", ENV_IDS)


def test_check_env_of_gymnasium_and_sb3_finds_nothing(env_id):
    from stable_baselines3.common.env_checker import check_env as sb3_check

    env = c.make_randomised(env_id, image_size=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*recommend.*symmetric and normalized.*")  # absolute joint targets are the design
        warnings.filterwarnings("ignore", message=".*render_mode.*|.*spec.*")
        gymnasium_check(env.unwrapped, skip_render_check=True)
        sb3_check(env, warn=True, skip_render_check=True)


def test_same_seed_same_trajectory_and_another_seed_differs(env_id):
    env, twin = (c.make_randomised(env_id, image_size=64) for _ in range(2))
    first, infos = c.trajectory(env, 7)
    c.trajectory(env, 3, steps=20)  # history must not matter
    again, _ = c.trajectory(env, 7)
    other_env, _ = c.trajectory(twin, 7)
    assert c.equal(first, again)
    assert c.equal(first, other_env)
    assert not c.equal(first, c.trajectory(env, 8)[0])
    c.assert_info_complete(env, infos)
    assert c.no_shared_memory(first)


def test_no_observation_element_is_dead(env_id):
    rows, _ = c.trajectory(c.make_randomised(env_id, image_size=64), 1)
    # nothing touches the fingertips in free space; they are exercised by the expert's grasp
    assert [
        name for name in c.constant_elements([{k: v for k, v in row.items() if k != "reward"} for row in rows]) if "force" not in name
    ] == []


SCRIPT = """
import hashlib, sys
from tests import conformance as c
rows, _ = c.trajectory(c.make_randomised(sys.argv[1], image_size=32), 11, 30)
print(hashlib.sha256(b"".join(row[key].tobytes() for row in rows for key in sorted(row))).hexdigest())
"""


def test_same_bits_in_another_process(env_id):
    hashes = {subprocess.run([sys.executable, "-c", SCRIPT, env_id], capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(hashes) == 1


def test_save_and_restore_continue_bit_for_bit(env_id):
    env = c.make_randomised(env_id, cameras=())
    env.reset(seed=5)
    actions = list(c.smooth_actions(env, 40, 2))
    for action in actions[:20]:
        env.step(action)
    state = env.unwrapped.save_state()
    there = [env.step(action) for action in actions[20:]]
    env.reset(seed=6)
    env.unwrapped.restore_state(state)
    back = [env.unwrapped.step(action) for action in actions[20:]]
    for (a, r1, *_, i1), (b, r2, *_, i2) in zip(there, back, strict=True):
        assert r1 == r2
        assert all(np.array_equal(a[key], b[key]) for key in a)
        assert all(i1[name] == i2[name] for name in env.unwrapped.task.metric_names)


def test_the_action_is_left_alone_and_applied_within_limits(env_id):
    env = make_env(env_id, cameras=())
    env.reset(seed=0)
    action = env.action_space.high.copy()
    copy = action.copy()
    _, _, _, _, info = env.step(action)
    assert np.array_equal(action, copy)
    assert np.array_equal(info["policy_action"], copy)
    assert (np.abs(info["applied_action"] - copy) > 0.1).any()  # one period is too short to get there


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda a: a[:18], "shape"),
        (lambda a: np.where(np.arange(19) == 3, np.nan, a), "fr3_joint4"),
        (lambda a: a + np.inf, "finite"),
        (lambda a: a + 10, "outside"),
        (lambda a: np.array(["x"] * 19), "type"),
        (lambda a: None, "shape"),
    ],
)
def test_a_bad_action_is_refused_and_harms_nothing(env_id, bad, message):
    env = make_env(env_id, cameras=()).unwrapped
    env.reset(seed=0)
    good = env.servo.commanded.astype(np.float32).copy()
    with pytest.raises(ActionError, match=message):
        env.step(bad(good))
    env.step(good)


def test_step_before_reset_and_unknown_words_are_explained(env_id):
    with pytest.raises(ConfigError, match="unknown camera 'left'"):
        make_env(env_id, cameras=("left",))
    with pytest.raises(ConfigError, match="image_size"):
        make_env(env_id, image_size=3)
    with pytest.raises(ConfigError, match="allowed"):
        make_env(env_id, colour="red")
    with pytest.raises(ConfigError, match="reward_type"):
        make_env(env_id, reward_type="big")
    with pytest.raises(ConfigError, match="DexHiL has"):
        make_env(env_id.replace("Sim", "Moon"))
    with pytest.raises(ActionError, match="reset"):
        make_env(env_id, cameras=()).unwrapped.step(np.zeros(19, np.float32))
    assert issubclass(ConfigError, DexHiLError)


def test_rewards(env_id):
    sparse, dense = (make_env(env_id, cameras=(), reward_type=kind) for kind in ("sparse", "dense"))
    for env, kind in ((sparse, "sparse"), (dense, "dense")):
        env.reset(seed=0)
        _, reward, *_, info = env.step(env.unwrapped.servo.commanded.astype(np.float32))
        assert reward == (0.0 if kind == "sparse" else info["progress"])
        assert 0 <= info["progress"] < 1


def test_pictures_and_state_only(env_id):
    env = make_env(env_id, cameras=(), render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (480, 640, 3)
    assert picture.std() > 10
    assert not any(key.startswith("image") for key in env.observation_space.spaces)


def test_vector_environments_agree_with_single_ones(env_id):
    from dexhil_env.sim.vector import ThreadVectorEnv

    vector = ThreadVectorEnv(env_id, 2, image_size=32)
    single = make_env(env_id, image_size=32)
    observations, _ = vector.reset(seed=[3, 4])
    expected, _ = single.reset(seed=4)
    actions = list(c.smooth_actions(single, 10, 0))
    for action in actions:
        assert all(np.array_equal(observations[key][1], expected[key]) for key in expected)
        observations, rewards, *_ = vector.step(np.stack([action, action]))
        expected, reward, *_ = single.step(action)
        assert rewards[1] == reward
    sync = gym.make_vec(env_id, num_envs=2, vectorization_mode="sync", cameras=())
    sync.reset(seed=0)
    sync.step(np.stack([actions[0]] * 2))
    vector.close()
    sync.close()
