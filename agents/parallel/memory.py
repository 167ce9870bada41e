"""What a training will take, computed without weights: parameters, states, activations and operations of one step.

The step runs forward and backward on tensors that have shapes but no data, so it also proves that the shapes of a preset fit. Figures are
computed, not measured: they leave out the allocator's fragments, the libraries' workspaces (1 to 2 GB on a GPU) and, with several
processes, the layer that is gathered.
"""

import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from agents.normalize import Normalizer, VectorStats
from agents.parallel.config import ScaleConfig
from agents.parallel.spread import computing
from agents.parallel.tuning import PARTS, part_of, prepare
from agents.policy import Batch, VLAPolicy
from agents.vla.config import VLAConfig

GIB: Final = 2.0**30
STATE_BYTES: Final = 16
"""float32 weight, gradient and AdamW's two moments, per learning weight."""
AVERAGE_BYTES: Final = 4
"""The averaged weight (``TrainConfig.ema`` > 0), per learning weight."""


@dataclass(frozen=True)
class StepCost:
    """One training step of one process, computed.

    Attributes:
        parameters: weights of each part: vision, words, und, expert.
        learning: weights that learn, adapters included.
        batch: observations.
        state_bytes: weights, gradients, moments and averages.
        activation_bytes: most that is alive beside them at any moment of the step, bfloat16 copies of weights included.
        operations: floating-point operations of forward and backward.
    """

    parameters: dict[str, int]
    learning: int
    batch: int
    state_bytes: int
    activation_bytes: int
    operations: float

    @property
    def total(self) -> int:
        """All weights."""
        return sum(self.parameters.values())

    @property
    def peak_gib(self) -> float:
        """Memory of the step [GiB]."""
        return (self.state_bytes + self.activation_bytes) / GIB

    def seconds(self, tflops: float) -> float:
        """Return the time of a step on a processor that keeps up this many 10^12 operations per second [s]."""
        return self.operations / (tflops * 1e12)


class _Ledger(TorchDispatchMode):
    """Counts operations, and the bytes of tensors made inside it as they come and go.

    ``FlopCounterMode`` beside it would hold on to recomputed tensors, which an ordinary run lets go.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.operations = 0.0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations += count(*args, **kwargs, out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def made_up_batch(config: VLAConfig, size: int, device: str = "cpu") -> Batch:
    """Return a batch of zeros and one long instruction."""
    shape = (size, config.image_size, config.image_size, 3)
    batch: Batch = {f"observation.images.{name}": torch.zeros(shape, dtype=torch.uint8, device=device) for name in config.cameras}
    return batch | {
        "observation.state": torch.zeros(size, config.state_dim, device=device),
        "action": torch.zeros(size, config.chunk, config.action_dim, device=device),
        "action_is_pad": torch.zeros(size, config.chunk, dtype=torch.bool, device=device),
        "task": ["Grab that yellow plushie"] * size,
    }


def unit_normalizer(config: VLAConfig) -> Normalizer:
    """Return statistics that change nothing."""
    state, action = (VectorStats(np.zeros(n, np.float32), np.ones(n, np.float32)) for n in (config.state_dim, config.action_dim))
    return Normalizer(state, action)


def count(model: nn.Module) -> dict[str, int]:
    """Return the weights of each part of a policy."""
    counts: dict[str, int] = dict.fromkeys(PARTS, 0)
    for name, value in model.named_parameters():
        counts[part_of(name)] += value.numel()
    return counts


def step_cost(config: VLAConfig, scale: ScaleConfig, *, batch: int, ema: bool = True) -> StepCost:
    """Compute one step of a configuration; nothing of its size is allocated.

    Args:
        config: the policy; its backbone's weights are not read.
        scale: what learns and in which precision. Figures are those of one process with the whole model (``parallel="none"``).
        batch: observations per step.
        ema: averaged weights are kept.
    """
    # the small presets fit everywhere and their layout change cannot be faked
    with FakeTensorMode(allow_non_fake_inputs=True) if config.backbone is not None else nullcontext():
        policy = VLAPolicy(config, unit_normalizer(config), pretrained=False)
        parameters = count(policy)
        prepare(policy, scale).train()
        learning = sum(value.numel() for value in policy.parameters() if value.requires_grad)
        held = sum(value.numel() * value.element_size() for value in policy.parameters())
        inputs = made_up_batch(config, batch)
        with _Ledger() as ledger:
            with computing(scale, torch.device("cpu")):
                loss, _ = policy(inputs)
            loss.backward()
    gradients = 4 * learning  # part of the states below, and alive at the end of the step
    states = held + (STATE_BYTES - 4 + AVERAGE_BYTES * ema) * learning
    return StepCost(parameters, learning, batch, states, max(ledger.most - gradients, 0), ledger.operations)
