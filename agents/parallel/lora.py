"""Low-rank adapters (LoRA; Hu et al., 2021): ``W x + alpha / r * B A x`` with ``W`` frozen, ``A`` random and ``B`` zero at first."""

from typing import Final

import torch
from torch import Tensor, nn

_BASE: Final = ".base_layer."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


class Adapted(nn.Module):
    """A linear map with an adapter; parts are named as in the package peft."""

    def __init__(self, base: nn.Linear, rank: int, factor: float) -> None:
        """Wrap a map; at first the result is its own."""
        super().__init__()
        self.base_layer, self.factor = base, factor
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, device=base.weight.device)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, device=base.weight.device)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        return self.base_layer(x) + self.factor * self.lora_B(self.lora_A(x))


def is_adapter(name: str) -> bool:
    """Whether a parameter belongs to an adapter."""
    return name.endswith((_DOWN, _UP))


def adapt(model: nn.Module, names: list[str], rank: int, factor: float) -> None:
    """Put adapters on the linear maps of these names."""
    for name in names:
        parent, _, own = name.rpartition(".")
        owner = model.get_submodule(parent)
        base = getattr(owner, own)
        assert isinstance(base, nn.Linear)
        setattr(owner, own, Adapted(base, rank, factor))


@torch.no_grad()
def merged(tensors: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Add the adapters into the weights they adapt; the result has the names of a model without adapters."""
    plain: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if is_adapter(name):
            continue
        stem, _, tail = name.partition(_BASE)
        if tail == "weight":
            plain[f"{stem}.weight"] = value + factor * tensors[stem + _UP] @ tensors[stem + _DOWN]
        else:
            plain[name.replace(_BASE, ".")] = value
    return plain
