"""Memory and time of a training step and of one chunk, measured on this machine with random weights and made-up images."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agents.parallel.config import ScaleConfig
from agents.parallel.memory import GIB, made_up_batch, unit_normalizer
from agents.parallel.spread import computing
from agents.parallel.tuning import prepare
from agents.policy import Batch, VLAPolicy
from agents.vla.config import VLAConfig


@dataclass(frozen=True)
class Measured:
    """What one process took.

    Attributes:
        step_s: median time of a training step [s].
        chunk_ms: median time of inferring one chunk for one observation [ms].
        peak_gib: most memory allocated on the GPU [GiB]; None on a CPU.
    """

    step_s: float
    chunk_ms: float
    peak_gib: float | None


def measure(config: VLAConfig, scale: ScaleConfig, *, batch: int, device: str, repeats: int = 5) -> Measured:
    """Train a few steps with AdamW and averaged weights, then infer a few chunks."""
    place = torch.device(device)
    with place:
        policy = VLAPolicy(config, unit_normalizer(config), pretrained=False)
    prepare(policy.to(place), scale).train()
    learning: list[Tensor] = [value for value in policy.parameters() if value.requires_grad]
    average = [value.detach().clone() for value in learning]
    optimizer = torch.optim.AdamW(learning, 1e-4, fused=True)
    inputs = made_up_batch(config, batch, device)

    def step() -> None:
        with computing(scale, place):
            loss, _ = policy(inputs, generator=torch.Generator().manual_seed(0))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for mean, value in zip(average, learning, strict=True):
                mean.lerp_(value, 0.01)

    step_s = _median(step, place, repeats)
    peak = torch.cuda.max_memory_allocated() / GIB if place.type == "cuda" else None
    return Measured(step_s, 1e3 * chunk_time(policy, made_up_batch(config, 1, device), scale, repeats), peak)


def chunk_time(policy: VLAPolicy, one: Batch, scale: ScaleConfig, repeats: int = 5) -> float:
    """Return the median time of one chunk [s]; the network computes in the precision of ``scale``."""
    place = next(policy.parameters()).device

    def infer() -> None:
        with computing(scale, place):
            policy.predict_action_chunk(one)

    return _median(infer, place, repeats)


def _median(work: Any, place: torch.device, repeats: int) -> float:
    """Return the median time of some calls after one that warms up [s]."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if place.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]
