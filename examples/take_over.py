"""A policy that misses, a simulated human that takes over arm and hand, and the record of who did what."""

import numpy as np

from dexhil_env import make_env
from dexhil_env.hil.scripted import ScriptedOperator
from dexhil_env.hil.wrapper import HiLWrapper
from dexhil_env.robot import HIGH, LOW


def main() -> None:
    env = HiLWrapper(make_env("DexHiL-PlushSim-v0", cameras=()), ScriptedOperator())
    observation, info = env.reset(seed=0)
    human = 0
    over = False
    while not over:
        # a policy of yours goes here; this one holds still, so the human soon has enough of it
        action = np.concatenate([observation["arm_joint_pos"], observation["hand_motor_pos"]])
        action = np.clip(action, LOW, HIGH).astype(np.float32)
        observation, _, terminated, truncated, info = env.step(action)
        human += info["is_intervention"]
        over = terminated or truncated
    reason = env.operator.facts()["first_alarm"]
    print(f"success: {info['is_success']}, the person drove {human / 20:.1f} s, took over because of: {reason}")


if __name__ == "__main__":
    main()
