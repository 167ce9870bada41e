"""``dexhil plan-memory``: will it fit, and how long does a step take?"""

from dataclasses import replace
from typing import Literal

from agents.parallel.config import ScaleConfig
from agents.parallel.measure import measure as run_measurement
from agents.parallel.memory import GIB, StepCost, step_cost
from agents.vla.backbone_config import BYTES
from agents.vla.config import LargeVLAConfig, VLAConfig
from agents.vla.config import preset as find_preset

Tune = Literal["all", "expert", "lora"]


def plan_memory(
    preset: str = "base",
    tune: tuple[Tune, ...] = ("all", "expert", "lora"),
    batch: int = 32,
    precision: Literal["fp32", "bf16"] = "bf16",
    recompute: bool | None = None,
    tflops: float = 400.0,
    measure: bool = False,
    device: str = "cuda",
) -> None:
    """Print memory and time of one training step on one processor: computed, or measured with random weights.

    Args:
        preset: size of the policy.
        tune: what learns: all, expert, lora.
        batch: observations per step.
        precision: of the computation; the states are float32.
        recompute: recompute layers in the backward pass; by default as in the preset.
        tflops: operations per second the processor keeps up, for the computed time [10^12 / s].
        measure: train a few steps on this machine as well.
        device: where to measure.
    """
    config = trial(find_preset(preset))
    if recompute is not None:
        config = replace(config, grad_checkpoint=recompute)
    print(f"{preset}, {batch} observations per step, {precision}, {'recomputing' if config.grad_checkpoint else 'keeping'} activations")
    for index, mode in enumerate(tune):
        scale = ScaleConfig(tune=mode, precision=precision)
        cost = step_cost(config, scale, batch=batch)
        if not index:
            print("weights [M]: " + ", ".join(f"{name} {value / 1e6:.1f}" for name, value in cost.parameters.items()))
        print(row(mode, cost, tflops))
        if measure:
            got = run_measurement(config, scale, batch=batch, device=device)
            memory = "" if got.peak_gib is None else f"peak {got.peak_gib:.1f} GiB, "
            print(f"        measured on {device}: {memory}step {got.step_s:.3f} s, chunk {got.chunk_ms:.1f} ms")


def row(mode: str, cost: StepCost, tflops: float) -> str:
    """Return one computed line."""
    return (
        f"{mode:<7} learning {cost.learning / 1e6:8.1f} M   states {cost.state_bytes / GIB:6.1f} + activations "
        f"{cost.activation_bytes / GIB:5.1f} = {cost.peak_gib:6.1f} GiB   {cost.operations / 1e12:7.1f} TFLOP   "
        f"{cost.seconds(tflops):6.2f} s at {tflops:.0f} TFLOP/s   (computed)"
    )


def trial(config: VLAConfig) -> VLAConfig:
    """Return a configuration that runs without files: bytes for a tokenizer, random weights."""
    return replace(config, vlm=replace(config.vlm, tokenizer=BYTES)) if isinstance(config, LargeVLAConfig) else config
