"""Small things that several unit tests need."""

import numpy as np

from dexhil_env.episode import Episode


def make_episode(length=30, task="plush", seed=0, human=slice(10, 20), size=32, round_index=0, success=True):
    """An episode with smooth images and one intervention."""
    rng = np.random.default_rng(seed)
    rows = np.arange(length)
    intervention = np.zeros(length, bool)
    intervention[human] = True
    ramp = np.add.outer(np.arange(size), np.arange(size)) * (100 / size)
    drift = (ramp[None, :, :, None] + rows[:, None, None, None] + rng.integers(0, 60, (1, 1, 1, 3))).astype(np.uint8)
    return Episode(
        instruction=f"do {task}",
        task=task,
        fps=20,
        state=rng.normal(size=(length, 38)).astype(np.float32),
        images={"front": drift, "wrist": drift[:, ::-1].copy()},
        action=rng.normal(size=(length, 19)).astype(np.float32),
        policy_action=rng.normal(size=(length, 19)).astype(np.float32),
        intervention=intervention,
        intervention_source=intervention * 3,
        intervention_id=intervention * 1,
        handover=np.zeros(length, bool),
        reward=(rows == length - 1).astype(np.float32) * success,
        done=rows == length - 1,
        truncated=np.zeros(length, bool),
        success=(rows == length - 1) & success,
        t_obs_ns=rows * 50_000_000,
        t_arm_ns=intervention * rows,
        t_hand_ns=intervention * rows,
        round=round_index,
        extra={"seed": seed},
    )
