"""Which weights learn: everything, all but some parts, the action expert, or the expert and adapters in the understanding expert."""

import re
from typing import Final

from torch import nn

from agents.parallel.config import FREEZABLE, ScaleConfig
from agents.parallel.lora import adapt, is_adapter
from agents.policy import VLAPolicy
from dexhil_env.errors import ConfigError

_NAMES: Final = (
    (r"model\.(stems\.|place$|vision\.)", "vision"),
    (r"model\.(text|words)\.", "words"),
    (r"model\.mot\.layers\.\d+\.und\.", "und"),
)
PARTS: Final[tuple[str, ...]] = (*FREEZABLE, "expert")
"""All parts of a policy."""


def part_of(name: str) -> str:
    """Return the part that a policy's parameter belongs to."""
    return next((part for pattern, part in _NAMES if re.match(pattern, name)), "expert")


def prepare(policy: VLAPolicy, scale: ScaleConfig) -> VLAPolicy:
    """Make the chosen weights learn and the others stay; what is frozen already stays frozen."""
    if scale.tune == "lora" and policy.config.insulate:
        raise ConfigError("an insulated understanding expert gets no gradient, so adapters in it learn nothing; use tune='expert'")
    learning = {name for name, value in policy.named_parameters() if value.requires_grad}
    kept = set(scale.freeze) if scale.tune == "all" else set(FREEZABLE)
    if scale.tune == "lora":
        linear = [name for name, module in policy.named_modules() if isinstance(module, nn.Linear) and part_of(f"{name}.") == "und"]
        adapt(policy, linear, scale.lora_rank, scale.lora_factor)
    for name, value in policy.named_parameters():
        value.requires_grad_(is_adapter(name) or (name in learning and part_of(name) not in kept))
    return policy
