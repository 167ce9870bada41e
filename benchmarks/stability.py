"""Random actions for many episodes: does the physics hold? ``python -m benchmarks.stability 200``."""

import sys
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from dexhil_env.env import DexHiLEnv
from dexhil_env.errors import SimulationError
from dexhil_env.registration import ENV_IDS, make_env
from dexhil_env.robot import HIGH, LOW
from dexhil_env.sim.backend import SimBackend

SEED = 5_000_000


@dataclass
class Findings:
    """What happened in the episodes of one task.

    Attributes:
        episodes: number of episodes.
        steps: number of control periods.
        successes: episodes that the task called a success.
        divergences: episodes that ended in a SimulationError.
        not_finite: observations with NaN or infinity.
        warnings: MuJoCo's warnings by name.
        arm_speed: largest arm joint speed [rad/s].
        any_speed: largest speed of any degree of freedom [rad/s or m/s].
    """

    episodes: int = 0
    steps: int = 0
    successes: int = 0
    divergences: int = 0
    not_finite: int = 0
    warnings: Counter[str] = field(default_factory=Counter[str])
    arm_speed: float = 0.0
    any_speed: float = 0.0


def random_episodes(env_id: str, episodes: int, max_steps: int, first_seed: int = SEED) -> Findings:
    """Act at random, all over the joint ranges; a target is held for 1 to 20 periods, so that the robot gets somewhere."""
    env = make_env(env_id, cameras=())
    assert isinstance(env.unwrapped, DexHiLEnv)
    backend = env.unwrapped.backend
    assert isinstance(backend, SimBackend)
    found = Findings()
    for seed in range(first_seed, first_seed + episodes):
        found.episodes += 1
        env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        hold, action = 0, np.zeros(0)
        for _ in range(max_steps):
            if hold == 0:
                hold, action = int(rng.integers(1, 21)), rng.uniform(LOW, HIGH)
            hold -= 1
            try:
                observation, _, terminated, truncated, info = env.step(action)
            except SimulationError:
                found.divergences += 1
                break
            found.steps += 1
            found.not_finite += not all(np.isfinite(value).all() for value in observation.values())
            found.arm_speed = max(found.arm_speed, float(np.abs(observation["arm_joint_vel"]).max()))
            found.any_speed = max(found.any_speed, float(np.abs(backend.data.qvel).max()))
            if terminated or truncated:
                found.successes += bool(info["is_success"])
                break
        for index, warning in enumerate(backend.data.warning):
            if warning.number:
                found.warnings[str(index)] += int(warning.number)
    env.close()
    return found


def main() -> None:
    episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for env_id in ENV_IDS:
        print(env_id, random_episodes(env_id, episodes, 10_000))


if __name__ == "__main__":
    main()
