"""Adapters: they start as nothing, learn alone beside the action expert, and merge into the weights they adapt."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from agents.checkpoint import read_tensors
from agents.data import ChunkDataset
from agents.parallel.config import ScaleConfig
from agents.parallel.lora import Adapted, adapt, is_adapter, merged
from agents.parallel.measure import measure
from agents.parallel.tuning import part_of, prepare
from agents.policy import VLAPolicy, load_policy
from agents.trainer import STATE_FILE, TrainConfig, train
from agents.vla.config import preset
from dexhil_env.errors import CheckpointError, ConfigError
from tests.unit.agents_fixture import demos
from tests.unit.test_backbones import TINY

LORA = ScaleConfig(tune="lora", lora_rank=4, lora_alpha=8)
FAST = TrainConfig(steps=3, batch_size=4, warmup=1, lr=5e-3, save_every=0, ema=0.0, log_every=3, tensorboard=False, progress=False)


@pytest.fixture(scope="module")
def data():
    return ChunkDataset(demos(1), TINY)


def policy(data):
    torch.manual_seed(0)
    return VLAPolicy(TINY, data.statistics())


def test_a_new_adapter_changes_nothing_and_a_learnt_one_merges():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    x = torch.randn(4, 5)
    before = net(x)
    adapt(net, ["0", "2"], rank=2, factor=0.5)
    assert torch.equal(net(x), before)
    for module in net:
        if isinstance(module, Adapted):
            nn.init.normal_(module.lora_B.weight)
    learnt = net(x)
    assert not torch.allclose(learnt, before, atol=1e-2)
    plain = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    plain.load_state_dict(merged(net.state_dict(), 0.5))
    assert torch.allclose(plain(x), learnt, atol=1e-6)


def test_training_exports_a_plain_policy_whose_vision_and_words_stayed(data, tmp_path):
    start = policy(data)
    end = train(start, data, FAST, tmp_path, scale=LORA)
    assert not any(is_adapter(name) for name in end.state_dict())
    changed = {name for name, value in end.state_dict().items() if not torch.equal(value, start.state_dict()[name])}
    assert {part_of(name) for name in changed} == {"und", "expert"}
    assert all(name.endswith("_proj.weight") for name in changed if part_of(name) == "und")  # norms stay
    again = load_policy(tmp_path / "policy").state_dict()
    assert all(torch.equal(again[name], value) for name, value in end.state_dict().items())
    state, meta = read_tensors(tmp_path / STATE_FILE)
    rank = {tuple(value.shape) for name, value in state.items() if name.startswith("model.") and name.endswith("q_proj.lora_A.weight")}
    assert rank == {(4, TINY.und_width)}
    assert json.loads(meta["identity"])["scale"]["tune"] == "lora"


def test_a_run_goes_on_only_as_what_it_was(data, tmp_path):
    train(policy(data), data, FAST, tmp_path, scale=LORA)
    with pytest.raises(CheckpointError, match="another run"):
        train(policy(data), data, FAST, tmp_path, scale=replace(LORA, tune="expert"))


@pytest.mark.parametrize("change", [{"freeze": ("ears",)}, {"tune": "expert", "freeze": ("vision",)}, {"lora_rank": 0}, {"accumulate": 0}])
def test_what_cannot_be_tuned_is_refused(change):
    with pytest.raises(ConfigError):
        ScaleConfig(**change)


def test_adapters_in_an_insulated_expert_are_refused(data):
    with pytest.raises(ConfigError, match="insulated"):
        prepare(VLAPolicy(replace(TINY, insulate=True), data.statistics()), LORA)


def test_small_presets_can_keep_their_eyes():
    config = preset("debug")
    data = ChunkDataset(demos(1), config)
    net = prepare(VLAPolicy(config, data.statistics()), ScaleConfig(tune="expert"))
    assert {part_of(name) for name, value in net.named_parameters() if value.requires_grad} == {"expert"}
    assert {part_of(name) for name, _ in net.named_parameters()} == {"vision", "words", "und", "expert"}


def test_measuring_works_on_a_cpu():
    got = measure(TINY, LORA, batch=2, device="cpu", repeats=1)
    assert got.peak_gib is None
    assert got.step_s > 0
    assert got.chunk_ms > 0
