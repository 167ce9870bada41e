"""Computed memory and operations of a training step, and the shapes of the large presets, without their weights."""

from dataclasses import replace

import pytest

from agents.cli.memory import plan_memory, trial
from agents.parallel.config import ScaleConfig
from agents.parallel.memory import GIB, step_cost, unit_normalizer
from agents.policy import VLAPolicy
from agents.vla.config import preset
from tests.unit.test_backbones import TINY

LORA = ScaleConfig(tune="lora", lora_rank=4, lora_alpha=8)


def test_computed_cost_counts_what_a_real_step_has():
    kept, recomputed = (step_cost(replace(TINY, grad_checkpoint=on), ScaleConfig(), batch=4) for on in (False, True))
    net = VLAPolicy(TINY, unit_normalizer(TINY))
    assert kept.total == kept.learning == sum(value.numel() for value in net.parameters())
    assert kept.state_bytes == 20 * kept.total  # weight, gradient, two moments, average
    assert recomputed.activation_bytes < 0.8 * kept.activation_bytes
    assert recomputed.operations > 1.2 * kept.operations
    lora = step_cost(TINY, LORA, batch=4)
    adapters = lora.learning - lora.parameters["expert"]
    assert 0 < adapters < lora.parameters["und"] / 5
    assert lora.state_bytes == 4 * (lora.total + adapters) + 16 * lora.learning
    assert lora.operations < kept.operations


def test_base_has_the_shapes_of_a_two_billion_policy():
    """Forward and backward of the whole preset on tensors without data; published counts within a percent."""
    cost = step_cost(trial(preset("base")), ScaleConfig(tune="lora", precision="bf16"), batch=2)
    published = {"vision": 316.6e6, "words": 311.2e6, "expert": 440e6}  # InternViT and projector, Qwen3's embedding, Qwen3-0.6B's layers
    for part, count in published.items():
        assert cost.parameters[part] == pytest.approx(count, rel=0.02)
    assert cost.total == pytest.approx(2.44e9, rel=0.01)
    assert cost.peak_gib < 24e9 / GIB


def test_the_command_prints_what_it_computed(capsys):
    plan_memory("hf-tiny", ("expert",), batch=1, measure=True, device="cpu")
    out = capsys.readouterr().out
    assert "(computed)" in out
    assert "measured on cpu" in out
