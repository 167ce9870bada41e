"""SAC whose critics cannot run away: layer normalisation, which bounds what they say of actions nobody has tried (Ball et al., 2023)."""

from typing import Any

from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.sac.policies import SACPolicy
from torch import nn


class NormedPolicy(SACPolicy):
    """Stable-baselines3's policy for SAC with ``LayerNorm`` behind every hidden layer of the critics."""

    def make_critic(self, features_extractor: Any = None) -> ContinuousCritic:
        """Make a critic."""
        critic = super().make_critic(features_extractor)
        critic.q_networks = [_normed(network) for network in critic.q_networks]
        for index, network in enumerate(critic.q_networks):
            setattr(critic, f"qf{index}", network)
        return critic.to(self.device)


def _normed(network: nn.Module) -> nn.Sequential:
    """Put a norm between every linear layer and its activation."""
    layers: list[nn.Module] = []
    for layer in network.children():
        layers.append(layer)
        if isinstance(layer, nn.Linear) and layer.out_features > 1:
            layers.append(nn.LayerNorm(layer.out_features))
    return nn.Sequential(*layers)
