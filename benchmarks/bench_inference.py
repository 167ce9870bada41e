"""Single-thread CPU time of one chunk inference and one training step per preset: ``python benchmarks/bench_inference.py [PRESET ...]``."""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from agents.normalize import Normalizer, VectorStats
from agents.policy import Batch, VLAPolicy
from agents.vla.config import VLAConfig, preset

BATCH = 32
LIMITS_MS = {"tiny": (25.0, 250.0)}
"""What a preset must keep: (one chunk inference, one training step of 32 observations)."""


def make_policy(config: VLAConfig) -> VLAPolicy:
    unit = [VectorStats(np.zeros(n, np.float32), np.ones(n, np.float32)) for n in (config.state_dim, config.action_dim)]
    return VLAPolicy(config, Normalizer(unit[0], unit[1]))


def make_batch(config: VLAConfig, size: int) -> Batch:
    shape = (size, config.image_size, config.image_size, 3)
    batch: Batch = {f"observation.images.{name}": torch.randint(0, 255, shape, dtype=torch.uint8) for name in config.cameras}
    return batch | {
        "observation.state": torch.randn(size, config.state_dim),
        "action": torch.randn(size, config.chunk, config.action_dim),
        "action_is_pad": torch.zeros(size, config.chunk, dtype=torch.bool),
        "task": [("Grab that yellow plushie", "Pull out a napkin")[i % 2] for i in range(size)],
        "closing": torch.randn(size, 7),
        "closing_valid": torch.ones(size),
    }


def cpu_ms(work: Callable[[], object], calls: int, repeats: int = 5) -> float:
    """Return the least CPU time of one call [ms]."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(calls):
            work()
        times.append((time.process_time() - start) / calls)
    return 1e3 * min(times)


def measure(name: str) -> tuple[float, float]:
    config = preset(name)
    policy, one, many = make_policy(config), make_batch(config, 1), make_batch(config, BATCH)
    optimizer = torch.optim.AdamW(policy.get_optim_params(), fused=True)

    def step() -> None:
        loss, _ = policy(many)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.get_optim_params(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    inference = cpu_ms(lambda: policy.predict_action_chunk(one), 10)
    policy.train()
    training = cpu_ms(step, 2)
    size = sum(p.numel() for p in policy.parameters()) / 1e6
    print(f"{name:<10} {size:6.2f} M parameters   chunk {inference:6.1f} ms   training step (B={BATCH}) {training:6.0f} ms")
    return inference, training


def main() -> int:
    torch.set_num_threads(1)
    slow = []
    for name in sys.argv[1:] or ["debug", "tiny"]:
        measured = measure(name)
        slow += [name for got, limit in zip(measured, LIMITS_MS.get(name, (1e9, 1e9)), strict=True) if got > limit]
    if slow:
        print(f"over the limit: {slow}")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main())
