"""The networks in torch, for training; parameters carry the names and shapes of :mod:`dexhil_env.hil.retarget.network`."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from agents.retarget.kinematics import Posed
from dexhil_env.hil.retarget.features import DECIMETRE
from dexhil_env.hil.retarget.network import CORRECTION_RAD, ERROR_GAIN, HIGH, MOTOR_FINGER, PARTS, SHARED, SQUASH, STAGE_ONE, THUMB_BASE_M
from dexhil_env.types import F32


class Bank(nn.Module):
    """``count`` perceptrons side by side, SiLU between layers.

    Args:
        count: how many.
        sizes: of the layers.
        zero: start with an output of zero.
    """

    def __init__(self, count: int, sizes: tuple[int, ...], *, zero: bool = False) -> None:
        super().__init__()
        self.layers = len(sizes) - 1
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            scale = 0.0 if zero and layer == self.layers - 1 else inputs**-0.5
            self.register_parameter(f"w{layer}", nn.Parameter(torch.randn(count, inputs, outputs) * scale))
            self.register_parameter(f"b{layer}", nn.Parameter(torch.zeros(count, 1, outputs)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return outputs (count, B, outputs) of inputs (count, B, inputs)."""
        for layer in range(self.layers):
            x = torch.baddbmm(getattr(self, f"b{layer}"), x, getattr(self, f"w{layer}"))
            if layer < self.layers - 1:
                x = nn.functional.silu(x)
        return x


def squash(raw: torch.Tensor) -> torch.Tensor:
    """Map any number to a share of a motor's range; see the numpy version."""
    return torch.clamp(0.5 + 0.5 * SQUASH * torch.tanh(raw), 0.0, 1.0)


class HandNetwork(nn.Module):
    """Motor angles from features: stage 1 fingers, stage 2 thumb residual, stage 3 gated correction."""

    def __init__(self) -> None:
        super().__init__()
        self.finger, self.spread, self.thumb = (Bank(*PARTS[part]) for part in STAGE_ONE)
        self.residual, self.correct = (Bank(*PARTS[part], zero=True) for part in ("residual", "correct"))
        self.high = torch.as_tensor(HIGH)
        self._base = torch.as_tensor(THUMB_BASE_M, dtype=torch.float32)
        self._finger_of = torch.as_tensor(MOTOR_FINGER)

    def fingers(self, reach: torch.Tensor) -> torch.Tensor:
        """Stage 1: shares (B, 9) of spread and the four fingers' motors."""
        count = len(reach)
        bends = squash(self.finger(reach[:, 1:].transpose(0, 1)))
        spread = squash(self.spread(reach[None, :, 1:].reshape(1, count, 12)))[0]
        return torch.cat([spread, bends.transpose(0, 1).reshape(count, 8)], dim=1)

    def base(self, reach: torch.Tensor) -> torch.Tensor:
        """Stage 1 for all five fingers: motors (B, 12) [rad], the thumb without its residual."""
        thumb = squash(self.thumb(reach[None, :, 0]))[0]
        return torch.cat([thumb, self.fingers(reach)], dim=1) * self.high

    def forward(
        self, reach: torch.Tensor, approach: torch.Tensor, near: torch.Tensor, gate: torch.Tensor, *, correct: bool = True
    ) -> torch.Tensor:
        """Return motors (B, 12) [rad]; arguments as in the numpy network."""
        fingers = self.fingers(reach)
        still = torch.cat([torch.zeros_like(fingers[:, :3]), fingers], dim=1) * self.high
        wanted = Posed(still).tips[:, 1:] - approach * DECIMETRE
        goal = ((near[..., None] * wanted).sum(1) / near.sum(1, keepdim=True) - self._base) / DECIMETRE
        x = torch.cat([reach[:, 0], approach.reshape(-1, 12), fingers, goal], dim=1)
        thumb = squash(self.thumb(reach[None, :, 0]) + self.residual(x[None]))[0]
        motors = torch.cat([thumb, fingers], dim=1) * self.high
        if not correct:
            return motors
        error = (Posed(motors).tips[:, 0] - self._base) / DECIMETRE - goal
        x = torch.cat([x, thumb, ERROR_GAIN * error], dim=1)
        step = CORRECTION_RAD * torch.tanh(self.correct(x[None])[0])
        allowed = torch.cat([gate.amax(1, keepdim=True).expand(-1, SHARED), gate[:, self._finger_of]], dim=1)
        return torch.minimum(torch.clamp(motors + step * allowed, min=0.0), self.high)

    def part_parameters(self, parts: Iterable[str]) -> list[nn.Parameter]:
        """Return the parameters of some parts."""
        return [parameter for part in parts for parameter in self.get_submodule(part).parameters()]

    def arrays(self, parts: Iterable[str] = tuple(PARTS)) -> dict[str, F32]:
        """Return the weights of some parts by name."""
        return {name: value.detach().numpy().copy() for name, value in self.named_parameters() if name.split(".")[0] in parts}

    def take(self, weights: Mapping[str, F32]) -> None:
        """Set the weights that are given by name."""
        known = dict(self.named_parameters())
        with torch.no_grad():
            for name, value in weights.items():
                known[name].copy_(torch.as_tensor(np.asarray(value)))
