"""Half of every batch from demonstrations, half from the learner's own experience (HIL-SERL; RLPD, Ball et al. 2023)."""

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from agents.rl.demos import Transitions


class HalfDemonstrations(ReplayBuffer):
    """A replay buffer with a second one that only demonstrations are in."""

    demonstrations: ReplayBuffer | None = None

    def demonstrate(self, steps: Transitions) -> None:
        """Take note of demonstrations; from now on they are half of every batch."""
        held = ReplayBuffer(len(steps), self.observation_space, self.action_space, self.device, handle_timeout_termination=False)
        for row in zip(steps.seen, steps.next_seen, steps.action, steps.reward, steps.over, strict=True):
            seen, following, action, reward, over = (np.asarray(value)[None] for value in row)
            held.add(seen, following, action, reward, over, [{}])
        self.demonstrations = held

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch."""
        if self.demonstrations is None:
            return super().sample(batch_size, env)
        if self.size() == 0:
            return self.demonstrations.sample(batch_size, env)
        half = batch_size // 2
        parts = self.demonstrations.sample(half, env), super().sample(batch_size - half, env)
        return ReplayBufferSamples(*(_joined(one, other) for one, other in zip(*parts, strict=True)))


def _joined(one: Any, other: Any) -> Any:
    return None if one is None or other is None else torch.cat([one, other])
