"""SAC that also imitates its demonstrations where they are better than what it would do itself (Nair et al., 2018)."""

from typing import Any

import torch
from stable_baselines3 import SAC
from torch.nn import functional

from agents.rl.buffer import HalfDemonstrations


class ImitatingSAC(SAC):
    """After every update the actor takes a step towards the demonstrated actions that its critics prefer to its own.

    Without it the actor forgets within thousands of steps how to reach what is only ever rewarded at the end of a long way.
    """

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update critics and actor, then imitate."""
        super().train(gradient_steps, batch_size)
        buffer = self.replay_buffer
        if isinstance(buffer, HalfDemonstrations) and buffer.demonstrations is not None:
            for _ in range(gradient_steps):
                self._imitate(buffer.demonstrations.sample(batch_size // 2))

    def _imitate(self, shown: Any) -> None:
        own = self.actor(shown.observations, deterministic=True)
        with torch.no_grad():
            better = self._value(shown.observations, shown.actions) > self._value(shown.observations, own)
        loss = (better * functional.mse_loss(own, shown.actions, reduction="none")).mean()
        self.actor.optimizer.zero_grad()
        loss.backward()
        self.actor.optimizer.step()

    def _value(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.critic(observations, actions), dim=1).min(dim=1, keepdim=True).values
