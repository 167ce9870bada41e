"""Small made-up episodes for tests of learning."""

import numpy as np

from dexhil_env.episode import Episode
from dexhil_env.robot import HOME
from dexhil_env.types import Source

TASKS = ("Grab that yellow plushie", "Pull out a napkin")


def make_episode(drivers="p" * 20, *, seed=0, success=True, round_=1, size=16, task=0, instruction=None):
    """One episode; ``drivers`` has a letter per row: p policy, a arm, h hand, b both, o handover (policy and person blended)."""
    rng, length = np.random.default_rng(seed), len(drivers)
    source = np.array([{"p": 0, "o": 0, "a": 1, "h": 2, "b": 3}[letter] for letter in drivers], dtype=np.int64)
    human = source != Source.POLICY
    action = (HOME + np.cumsum(rng.uniform(0.0, 0.04, (length, 19)), axis=0)).astype(np.float32)
    state = np.concatenate([action - 0.01, rng.normal(size=(length, 19)) * 0.1], axis=1).astype(np.float32)
    starts = np.flatnonzero(np.diff(np.concatenate([[0], human.astype(int)])) == 1)
    identity = np.zeros(length, dtype=np.int64)
    for number, start in enumerate(starts, 1):
        identity[start:] = number
    done = np.zeros(length, dtype=bool)
    done[-1] = success
    zeros = np.zeros(length, dtype=np.int64)
    return Episode(
        instruction=instruction or TASKS[task], task=("plush", "tissue")[task], fps=20, state=state,
        images={name: rng.integers(0, 255, (length, size, size, 3), dtype=np.uint8) for name in ("front", "wrist")},
        action=action, policy_action=action.copy(), intervention=human, intervention_source=source,
        intervention_id=np.where(human, identity, 0), handover=np.array([letter == "o" for letter in drivers]),
        reward=done.astype(np.float32), done=done, truncated=np.zeros(length, dtype=bool), success=done,
        t_obs_ns=np.arange(length, dtype=np.int64) * 50_000_000, t_arm_ns=zeros, t_hand_ns=zeros, round=round_,
    )  # fmt: skip


def demos(count=3, length=24):
    """Demonstrations of both tasks."""
    return [make_episode("b" * length, seed=i, round_=0, task=i % 2) for i in range(count)]
