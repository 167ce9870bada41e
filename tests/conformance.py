"""What every registered environment must do, simulated or emulated; parametrised over all ids by tests/physics/test_conformance.py."""

import itertools

import numpy as np

from dexhil_env.registration import make_env

INFO_KEYS = {
    "instruction", "is_success", "is_failure", "progress", "applied_action", "policy_action", "is_intervention", "intervention_source",
    "intervention_id", "is_handover", "handovers", "verdict", "t_obs_ns", "t_arm_ns", "t_hand_ns", "ages_s",
}  # fmt: skip


def smooth_actions(env, count, seed):
    """Random but smooth targets around the present pose, so that everything moves and nothing is saturated all the time."""
    rng = np.random.default_rng(seed)
    low, high = env.action_space.low, env.action_space.high
    from dexhil_env import robot

    action = robot.HOME.copy()
    velocity = np.zeros(19)
    for _ in range(count):
        velocity = 0.8 * velocity + rng.normal(0, 0.02, 19) * np.where(np.arange(19) < 7, 1.0, 2.5)
        action = np.clip(action + velocity, low, high)
        yield action.astype(np.float32)


def trajectory(env, seed, steps=50):
    """Observations, rewards and metrics of an episode."""
    observation, info = env.reset(seed=seed)
    rows = [observation]
    infos = [info]
    for action in smooth_actions(env, steps, seed):
        observation, reward, terminated, truncated, info = env.step(action)
        rows.append({**observation, "reward": np.array(reward)})
        infos.append(info)
        if terminated or truncated:
            break
    return rows, infos


def equal(a, b):
    """Whether two trajectories agree bit for bit."""
    return len(a) == len(b) and all(np.array_equal(x[key], y[key]) for x, y in zip(a, b, strict=True) for key in x)


def assert_info_complete(env, infos):
    names = INFO_KEYS | set(env.unwrapped.task.metric_names)
    for info in infos:
        assert set(info) - {"TimeLimit.truncated", "episode"} == names
        for name in env.unwrapped.task.metric_names:
            assert np.isfinite(info[name])


def constant_elements(rows):
    """Observation elements that never change (images are judged as a whole)."""
    constant = []
    for key in rows[0]:
        values = np.stack([row[key] for row in rows])
        if key.startswith("image_"):
            if np.abs(np.diff(values.astype(int), axis=0)).max() == 0:
                constant.append(key)
        else:
            constant += [f"{key}[{i}]" for i in np.flatnonzero(np.ptp(values, axis=0) == 0)]
    return constant


def no_shared_memory(rows):
    return not any(np.shares_memory(a[key], b[key]) for a, b in itertools.pairwise(rows) for key in a)


def make_randomised(env_id, **kwargs):
    return make_env(env_id, randomise_physics=True, randomise_visuals=True, **kwargs)
