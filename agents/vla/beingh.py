"""Being-H0.5's state and action vectors, their encoders and its order of tokens (arXiv 2601.12993; names as in its checkpoints).

One 200-wide vector holds the state, or one action, of every embodiment; a robot fills its slots and leaves zeros elsewhere. Loss and output
look at the robot's slots only.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.flow import per_action
from agents.vla.config import VLAConfig

SLOTS: Final = 200
"""Width of the unified state and action vectors."""
ARM_SLOTS: Final = slice(50, 57)
"""``arm_joint``: seven joint angles."""
HAND_SLOTS: Final = slice(20, 32)
"""``dexhand`` (20 to 26) and its reserved extension (26 to 32): twelve motors."""
TIME_BUCKETS: Final = 1000
"""Flow times become integers below this; a known action's time becomes this."""
_KEYS: Final = {"arm_joint_pos": ARM_SLOTS, "hand_motor_pos": HAND_SLOTS}


def state_slots(keys: tuple[str, ...]) -> list[int]:
    """Return the slot of each element of the state vector."""
    return [slot for key in keys for slot in range(_KEYS[key].start, _KEYS[key].stop)]


def action_slots() -> list[int]:
    """Return the slot of each element of an action: seven arm joints, twelve hand motors."""
    return [*range(ARM_SLOTS.start, ARM_SLOTS.stop), *range(HAND_SLOTS.start, HAND_SLOTS.stop)]


def spread(values: Tensor, slots: Tensor) -> Tensor:
    """Put (..., D) values into their slots of zeros (..., 200)."""
    return values.new_zeros((*values.shape[:-1], SLOTS)).index_copy(-1, slots, values)


class BeingHState(nn.Module):
    """``proprio_encoder_robot``: 200 slots to one token."""

    slots: Tensor

    def __init__(self, config: VLAConfig) -> None:
        """Build the two layers."""
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(SLOTS, config.act_width), nn.Linear(config.act_width, config.act_width)
        self.register_buffer("slots", torch.tensor(state_slots(config.state_keys)), persistent=False)

    def forward(self, state: Tensor) -> Tensor:
        """Map (B, S) to (B, act_width)."""
        return self.layer2(functional.relu(self.layer1(spread(state, self.slots))))


class BeingHAction(nn.Module):
    """``action_encoder``: noisy actions and the flow time, one token per step."""

    slots: Tensor

    def __init__(self, width: int) -> None:
        """Build the three layers."""
        super().__init__()
        self.W1, self.W2, self.W3 = nn.Linear(SLOTS, width), nn.Linear(2 * width, width), nn.Linear(width, width)
        self.register_buffer("slots", torch.tensor(action_slots()), persistent=False)

    def forward(self, noisy: Tensor, time: Tensor) -> Tensor:
        """Map (N, T, 19) at time (N,) or (N, T) to (N, T, act_width)."""
        action = self.W1(spread(noisy, self.slots))
        half = self.W1.out_features // 2
        frequency = torch.exp(-math.log(10_000.0) / half * torch.arange(half, device=time.device))
        angle = (per_action(time, noisy)[..., 0] * TIME_BUCKETS).long()[..., None].float() * frequency
        moment = torch.cat([angle.sin(), angle.cos()], -1).expand(-1, noisy.shape[1], -1)
        return self.W3(functional.silu(self.W2(torch.cat([action, moment.to(action.dtype)], -1))))


class BeingHVelocity(nn.Module):
    """``action_decoder``: features to the velocity of 200 slots, of which the robot's are returned."""

    slots: Tensor

    def __init__(self, width: int) -> None:
        """Build the two layers."""
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(width, width), nn.Linear(width, SLOTS)
        self.register_buffer("slots", torch.tensor(action_slots()), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, T, act_width) to (N, T, 19)."""
        return self.layer2(functional.relu(self.layer1(features)))[..., self.slots]
