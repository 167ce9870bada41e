"""How a training is spread and which weights it changes."""

from dataclasses import dataclass
from typing import Final, Literal

from dexhil_env.errors import ConfigError

FREEZABLE: Final = ("vision", "words", "und")
"""Parts that can be kept as they are: image encoder with its projector, token embedding, understanding expert."""


@dataclass(frozen=True)
class ScaleConfig:
    """What a large model needs beside ``TrainConfig``.

    Attributes:
        parallel: ``none``, ``ddp`` (a copy of the model per process) or ``fsdp2`` (each process holds a share); start with torchrun.
        precision: ``bf16`` computes in bfloat16; weights, gradients and moments stay float32.
        accumulate: batches of ``TrainConfig.batch_size`` per process and step. One process with 8 sees what 8 processes with 1 see.
        tune: ``all`` weights, the action ``expert`` only, or the expert and ``lora`` adapters in the understanding expert.
        freeze: parts of ``FREEZABLE`` that stay as they are (with ``tune="all"``).
        lora_rank: rank of the adapters.
        lora_alpha: adapters count ``lora_alpha / lora_rank``.
    """

    parallel: Literal["none", "ddp", "fsdp2"] = "none"
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulate: int = 1
    tune: Literal["all", "expert", "lora"] = "all"
    freeze: tuple[str, ...] = ()
    lora_rank: int = 16
    lora_alpha: int = 32

    @property
    def lora_factor(self) -> float:
        """What the adapters' outputs are multiplied by."""
        return self.lora_alpha / self.lora_rank

    def __post_init__(self) -> None:
        """Refuse what cannot be spread or tuned."""
        unknown = sorted(set(self.freeze) - set(FREEZABLE))
        if unknown:
            raise ConfigError(f"freeze: unknown parts {unknown}; choose from {FREEZABLE}")
        if self.freeze and self.tune != "all":
            raise ConfigError(f"freeze goes with tune='all'; tune={self.tune!r} already keeps {FREEZABLE} as they are")
        if min(self.accumulate, self.lora_rank, self.lora_alpha) < 1:
            raise ConfigError("accumulate, lora_rank and lora_alpha must be at least 1")
