"""Demonstrations in the learner's own words: the scripted expert, driven through the seven numbers."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from agents.rl.palm import PalmControl
from dexhil_env.errors import DatasetError
from dexhil_env.hil.ik import ArmIK
from dexhil_env.hil.sim_experts import ExpertPolicy, sim_backend
from dexhil_env.types import ARM, F32, HAND


@dataclass(frozen=True)
class Transitions:
    """Steps of successful episodes.

    Attributes:
        seen, next_seen: (N, D).
        action: (N, 7).
        reward: (N,).
        over: (N,) the episode ended here, not by its time limit.
        episodes, tries: how many succeeded, of how many.
    """

    seen: F32
    action: F32
    reward: F32
    next_seen: F32
    over: np.ndarray
    episodes: int
    tries: int

    def __len__(self) -> int:
        """Count the steps."""
        return len(self.reward)


def demonstrate(env: PalmControl, episodes: int, seed: int, *, progress: bool = True) -> Transitions:
    """Let the expert succeed so many times.

    Raises:
        DatasetError: the expert hardly ever succeeds through this action space.
    """
    expert, ik = ExpertPolicy(env.twin), ArmIK(sim_backend(env.twin).model)
    rows: list[tuple[F32, F32, float, F32, bool]] = []
    won = tries = 0
    bar = tqdm(total=episodes, desc="demonstrations", unit="ep", disable=not progress)
    while won < episodes:
        if tries >= 4 * episodes + 4:
            raise DatasetError(f"the expert succeeded in {won} of {tries} attempts through this action space; it is too slow or too coarse")
        seen, _ = env.reset(seed=seed + tries)
        expert.reset(seed + tries)
        tries += 1
        mine: list[tuple[F32, F32, float, F32, bool]] = []
        over = truncated = False
        info: dict[str, object] = {}
        while not (over or truncated):
            actions: list[F32] = []

            def choose(said: list[F32] = actions) -> F32:
                wish = expert.act({}, "")
                said.append(env.action_towards(ik.forward(wish[ARM].astype(float)), wish[HAND].astype(float)))
                return said[-1]

            following, reward, over, truncated, info = env.run(choose)
            mine.append((seen, np.stack(actions).mean(0), reward, following, over))
            seen = following
        if info["is_success"]:
            rows, won = rows + mine, won + 1
            bar.update()
    bar.close()
    seen_, action_, reward_, next_, over_ = (np.array(column) for column in zip(*rows, strict=True))
    return Transitions(seen_, action_, reward_.astype(np.float32), next_, over_, won, tries)
