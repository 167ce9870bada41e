"""Policies on InternVL and SmolVLM classes: random and small here, with the weights' names and the arithmetic of the real ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from agents.data import ChunkDataset
from agents.parallel.config import ScaleConfig
from agents.parallel.tuning import part_of
from agents.policy import VLAPolicy, load_policy
from agents.trainer import TrainConfig, train
from agents.vla.config import LargeVLAConfig, VLAConfig, preset
from agents.vla.large import LargeVLAModel
from dexhil_env.errors import ConfigError
from tests.unit.agents_fixture import TASKS, demos

TINY = replace(
    preset("hf-tiny"), image_size=56, image_tokens=4, layers=2, noise_samples=1, und_width=48, act_width=32, heads=2, kv_heads=1,
    vlm=replace(preset("hf-tiny").vlm, vision_width=32, vision_layers=2, vision_heads=2, vision_ffn=64, und_ffn=96, act_ffn=64),
)  # fmt: skip
SMOL = replace(TINY, image_size=32, image_tokens=4, vlm=replace(TINY.vlm, family="smolvlm", layout="chat", patch_px=8, table_px=32))
BEING = replace(
    TINY, prefix_attention="causal", action_attention="causal", precondition=False, state_keys=("arm_joint_pos", "hand_motor_pos"),
    vlm=replace(TINY.vlm, layout="beingh"),
)  # fmt: skip
KINDS = {"internvl": TINY, "smolvlm": SMOL, "beingh": BEING}
FAST = TrainConfig(steps=3, batch_size=4, warmup=1, log_every=5, save_every=0, tensorboard=False, progress=False)


@pytest.fixture(scope="module", params=KINDS)
def config(request) -> LargeVLAConfig:
    return KINDS[request.param]


def model(config, seed=0, **changes):
    torch.manual_seed(seed)
    return LargeVLAModel(replace(config, **changes))


def inputs(config, batch=3, texts=None):
    g = torch.Generator().manual_seed(5)
    images = [torch.randint(0, 255, (batch, config.image_size, config.image_size, 3), dtype=torch.uint8, generator=g) for _ in range(2)]
    state = torch.randn(batch, config.state_dim, generator=g)
    noisy, time = torch.randn(2 * batch, config.chunk, 19, generator=g), torch.linspace(0.1, 0.9, 2 * batch)
    return images, texts or [TASKS[i % 2] for i in range(batch)], state, noisy, time


def velocity(net, images, texts, state, noisy, time, *, cached=False):
    prefix, valid, _ = net.embed_prefix(images, texts)
    token = net.embed_state(state)
    cache = net.fill_cache(prefix, valid, token) if cached else None
    return net(None if cached else prefix, valid, token, noisy, time, cache=cache)


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_cached_prefix_equals_the_full_run(config, attention):
    if config is BEING and attention == "full":
        pytest.skip("Being-H0.5 is causal")
    net = model(config, prefix_attention=attention, action_attention=attention).eval()
    whole, kept = (velocity(net, *inputs(config), cached=cached) for cached in (False, True))
    assert (whole - kept).abs().max() < 1e-5
    assert whole.std() > 1e-3


def test_every_input_counts_and_padding_does_not(config):
    net = model(config).eval()
    images, texts, state, noisy, time = inputs(config)
    base = velocity(net, images, texts, state, noisy, time)
    changed = {
        "image": velocity(net, [images[0].flip(1), images[1]], texts, state, noisy, time),
        "text": velocity(net, images, texts[::-1][1:] + texts[:1], state, noisy, time),
        "state": velocity(net, images, texts, state + 1, noisy, time),
        "action": velocity(net, images, texts, state, noisy + 1, time),
        "time": velocity(net, images, texts, state, noisy, time.flip(0)),
    }
    for name, other in changed.items():
        assert (other - base).abs().max() > 1e-5, name
    longer = velocity(net, images, [*texts[:2], "Do something that takes many more words to say"], state, noisy, time)
    assert torch.allclose(longer[:4], base[:4], atol=1e-5)


def test_recomputing_layers_changes_neither_loss_nor_gradients(config):
    results = []
    for recompute in (False, True):
        net = model(config, grad_checkpoint=recompute).train()
        torch.manual_seed(1)  # state noise
        loss = velocity(net, *inputs(config)).square().mean()
        loss.backward()
        results.append((loss, {name: value.grad for name, value in net.named_parameters()}))
    (loss, grads), (again, others) = results
    assert torch.equal(loss, again)
    for name, grad in grads.items():
        assert torch.allclose(grad, others[name], atol=1e-7), name


def test_insulation_keeps_the_gradient_out_of_the_understanding_expert(config):
    for insulate in (False, True):
        net = model(config, insulate=insulate).train()
        velocity(net, *inputs(config)).square().mean().backward()
        reached = {part_of(f"model.{name}") for name, value in net.named_parameters() if value.grad is not None and bool(value.grad.any())}
        assert reached == ({"expert"} if insulate else {"vision", "words", "und", "expert"})


def test_trains_predicts_saves_and_loads(config, tmp_path):
    data = ChunkDataset(demos(2), config)
    policy = train(config, data, FAST, tmp_path)
    batch, noise = data.batch(np.arange(3)), torch.randn(3, config.chunk, 19)
    chunk = policy.predict_action_chunk(batch, noise)
    assert chunk.shape == (3, config.chunk, 19)
    again = load_policy(tmp_path / "policy")
    assert isinstance(again.config, LargeVLAConfig)
    assert again.config == config
    assert torch.equal(again.predict_action_chunk(batch, noise), chunk)


@pytest.mark.parametrize(("scale", "learns"), [
    (ScaleConfig(tune="expert"), {"expert"}),
    (ScaleConfig(freeze=("vision",)), {"words", "und", "expert"}),
    (ScaleConfig(freeze=("vision", "words")), {"und", "expert"}),
])  # fmt: skip
def test_frozen_parts_do_not_change(tmp_path, scale, learns):
    data = ChunkDataset(demos(1), TINY)
    torch.manual_seed(0)
    start = VLAPolicy(TINY, data.statistics())
    end = train(start, data, replace(FAST, steps=2, ema=0.0), tmp_path, scale=scale)
    changed = {part_of(name) for name, value in end.state_dict().items() if not torch.equal(value, start.state_dict()[name])}
    assert changed == learns


def test_configuration_of_the_first_version_is_still_read():
    first = {"preset": "tiny", "cameras": ["front", "wrist"], "image_size": 96, "und_width": 128}
    assert type(VLAConfig.from_dict(first)) is VLAConfig
    assert "vlm" not in preset("tiny").to_json()
    assert VLAConfig.from_json(preset("base").to_json()) == preset("base")


@pytest.mark.parametrize("change", [
    {"image_size": 60}, {"image_tokens": 9}, {"aux_weight": 0.3}, {"vlm": replace(TINY.vlm, layout="beingh")},
])  # fmt: skip
def test_sizes_that_no_backbone_gives_are_refused(change):
    with pytest.raises(ConfigError):
        replace(TINY, **change)


def test_words_without_a_tokenizer_are_explained():
    config = replace(TINY, vlm=replace(TINY.vlm, tokenizer=""))
    with pytest.raises(ConfigError, match="--backbone"):
        LargeVLAModel(config).embed_prefix(*inputs(config)[:2])


def test_the_tokenizer_travels_with_the_policy(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    plain = Tokenizer(models.BPE(vocab=letters, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    marks = ["<|im_start|>", "<|im_end|>", "<img>", "</img>"]
    PreTrainedTokenizerFast(tokenizer_object=plain, additional_special_tokens=marks).save_pretrained(tmp_path / "tokenizer")
    config = replace(TINY, vlm=replace(TINY.vlm, layout="chat", tokenizer=str(tmp_path / "tokenizer"), vocabulary=300))
    data = ChunkDataset(demos(1), config)
    policy = train(config, data, replace(FAST, steps=1), tmp_path / "run")
    assert policy.model.prompt.before[0] == [256, *policy.model.tokenizer.encode("user\n")]  # marks are single tokens
    assert policy.model.prompt.before[1:3] == [[258], 0]  # <img>, then the first camera
    batch, noise = data.batch(np.arange(2)), torch.randn(2, 16, 19)
    (tmp_path / "tokenizer").rename(tmp_path / "gone")
    again = load_policy(tmp_path / "run" / "policy")
    assert torch.equal(again.predict_action_chunk(batch, noise), policy.predict_action_chunk(batch, noise))


def test_llama_layers_have_no_norm_of_queries():
    assert isinstance(model(SMOL).mot.layers[0].act.self_attn.q_norm, nn.Identity)
    assert not isinstance(model(TINY).mot.layers[0].act.self_attn.q_norm, nn.Identity)
