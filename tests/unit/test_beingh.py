"""Checkpoints of others, Being-H0.5, InternVL and SmolVLM: published names and structure, small widths, made-up weights."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import InternVLConfig, InternVLForConditionalGeneration, SmolVLMConfig, SmolVLMForConditionalGeneration
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

from agents.vla import sources
from agents.vla.beingh import action_slots, spread, state_slots
from agents.vla.config import preset
from agents.vla.keymaps import BEINGH, INTERNVL, SMOLVLM
from agents.vla.large import LargeVLAModel
from agents.vla.prompt import BEINGH_INSTRUCTION, INTERNVL_SYSTEM
from agents.vla.sources import load_beingh05, load_weights, with_backbone
from dexhil_env.errors import CheckpointError, ConfigError

TEXT = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 28, "patch_size": 14}
QWEN = {**TEXT, "head_dim": 16, "vocab_size": 300, "rope_theta": 1e6, "rms_norm_eps": 1e-6}
EXPERT = {**QWEN, "hidden_size": 40, "intermediate_size": 80}
BEINGH_JSON = {
    "model_type": "beingh", "llm_config": {**QWEN, "expert_config": EXPERT}, "vit_config": VISION, "downsample_ratio": 0.5,
    "action_chunk_length": 16,
}  # fmt: skip


def beingh_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Being-H0.5 checkpoint (github BeingBeyond/Being-H, BeingH/model), in the widths above."""
    d, a, h, v, q, kv = 48, 40, 16, 32, 64, 32
    shapes: dict[str, tuple[int, ...]] = {
        "vit_model.embeddings.class_embedding": (1, 1, v), "vit_model.embeddings.position_embedding": (1, 5, v),
        "vit_model.embeddings.patch_embedding.weight": (v, 3, 14, 14), "vit_model.embeddings.patch_embedding.bias": (v,),
        "connector.mlp1.0.weight": (4 * v,), "connector.mlp1.0.bias": (4 * v,), "connector.mlp1.1.weight": (d, 4 * v),
        "connector.mlp1.1.bias": (d,), "connector.mlp1.3.weight": (d, d), "connector.mlp1.3.bias": (d,),
        "language_model.model.embed_tokens.weight": (300, d), "language_model.model.norm.weight": (d,),
        "language_model.model.norm_mot_gen.weight": (a,), "language_model.lm_head.weight": (300, d),
    }  # fmt: skip
    for n in range(2):
        at = f"vit_model.encoder.layers.{n}."
        shapes |= {at + f"{norm}.{part}": (v,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
        shapes |= {at + "ls1": (v,), at + "ls2": (v,), at + "attn.qkv.weight": (3 * v, v), at + "attn.qkv.bias": (3 * v,)}
        shapes |= {at + "attn.proj.weight": (v, v), at + "attn.proj.bias": (v,), at + "mlp.fc1.weight": (64, v), at + "mlp.fc1.bias": (64,)}
        shapes |= {at + "mlp.fc2.weight": (v, 64), at + "mlp.fc2.bias": (v,)}
    for n in range(3):
        for suffix, width, ffn in (("", d, 96), ("_mot_gen", a, 80)):
            at = f"language_model.model.layers.{n}."
            shapes |= {at + f"self_attn.{name}{suffix}.weight": (h,) for name in ("q_norm", "k_norm")}
            shapes |= {at + f"self_attn.q_proj{suffix}.weight": (q, width), at + f"self_attn.o_proj{suffix}.weight": (width, q)}
            shapes |= {at + f"self_attn.{name}{suffix}.weight": (kv, width) for name in ("k_proj", "v_proj")}
            shapes |= {at + f"mlp{suffix}.{name}.weight": (ffn, width) for name in ("gate_proj", "up_proj")}
            shapes |= {at + f"mlp{suffix}.down_proj.weight": (width, ffn)}
            shapes |= {at + f"{name}{suffix}.weight": (width,) for name in ("input_layernorm", "post_attention_layernorm")}
    for name, sizes in {
        "proprio_encoder_robot.layer1": (a, 200), "proprio_encoder_robot.layer2": (a, a), "action_encoder.W1": (a, 200),
        "action_encoder.W2": (a, 2 * a), "action_encoder.W3": (a, a), "action_decoder.layer1": (a, a), "action_decoder.layer2": (200, a),
        "action_to_vlm_proj": (d, a), "vlm_to_action_proj": (a, d), "mpg.obs_proj": (d, d), "mpg.action_proj": (d, a),
        "mpg.enhancement_proj": (d, d),
    }.items():  # fmt: skip
        shapes |= {f"{name}.weight": sizes, f"{name}.bias": sizes[:1]}
    return shapes


def beingh_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    scaled = {name: 0.2 * torch.randn(shape, generator=g) for name, shape in beingh_shapes().items()}
    return {name: value + 1.0 if "norm" in name and value.ndim == 1 else value for name, value in scaled.items()}


def write(folder, tensors, config=BEINGH_JSON, shards=1):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    names = sorted(tensors)
    files = [f"model-{n + 1:05d}-of-{shards:05d}.safetensors" for n in range(shards)] if shards > 1 else ["model.safetensors"]
    for n, file in enumerate(files):
        save_file({name: tensors[name] for name in names[n::shards]}, folder / file)
    if shards > 1:
        where = {name: files[n % shards] for n, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


def network(folder, name="being-h05", **changes):
    vlm = replace(preset(name).vlm, patch_px=14, shuffle=2)
    small = replace(preset(name), image_size=28, image_tokens=1, grad_checkpoint=False, vlm=vlm)
    config = with_backbone(small, str(folder))
    return LargeVLAModel(replace(config, vlm=replace(config.vlm, tokenizer="bytes", text_tokens=200), **changes)).eval()


@pytest.mark.parametrize("shards", [1, 3])
def test_beingh_checkpoint_fills_every_weight(tmp_path, shards):
    tensors = beingh_tensors()
    net = network(write(tmp_path / "being", tensors, shards=shards))
    own = net.state_dict()
    assert {name for name in own if not BEINGH.wants(name)} == {"no_state"}
    qkv = tensors["vit_model.encoder.layers.1.attn.qkv.weight"].chunk(3)
    for part, value in zip("qkv", qkv, strict=True):
        assert torch.equal(own[f"vision.tower.encoder.layer.1.attention.{part}_proj.weight"], value)
    at = "language_model.model.layers.0."
    assert torch.equal(own["mot.layers.0.act.self_attn.q_proj.weight"], tensors[at + "self_attn.q_proj_mot_gen.weight"])
    assert torch.equal(own["mot.layers.0.und.mlp.up_proj.weight"], tensors[at + "mlp.up_proj.weight"])
    assert torch.equal(own["velocity.layer2.bias"], tensors["action_decoder.layer2.bias"])
    assert torch.equal(own["mot.norm.weight"], tensors["language_model.model.norm_mot_gen.weight"])


@pytest.mark.parametrize(("change", "says"), [
    (lambda t: t.pop("action_encoder.W2.bias"), r"missing action\.W2\.bias"),
    (lambda t: t.update({"language_model.model.layers.0.surprise.weight": torch.zeros(2)}), "unknown language_model.*surprise"),
    (lambda t: t.update({"action_decoder.layer2.weight": torch.zeros(32, 40)}), r"action_decoder.layer2.weight has shape \(32, 40\)"),
    (lambda t: [t.pop(n) for n in list(t) if n.endswith("_mot_gen.weight") or "mlp_mot_gen" in n], r"missing mot\.layers\.0\.act"),
])  # fmt: skip
def test_wrong_checkpoint_is_refused_with_the_differences(tmp_path, change, says):
    net = network(write(tmp_path / "right", beingh_tensors()))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    tensors = beingh_tensors(seed=1)
    change(tensors)
    with pytest.raises(CheckpointError, match=says):
        load_beingh05(net, write(tmp_path / "wrong", tensors))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_damaged_or_foreign_folders_are_explained(tmp_path, monkeypatch):
    folder = write(tmp_path / "being", beingh_tensors(), shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks its weights"):
        network(folder)
    with pytest.raises(ConfigError, match="being-h05"):
        with_backbone(preset("base"), str(folder))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="llama"):
        with_backbone(preset("base"), str(folder))
    with pytest.raises(ConfigError, match="no backbone"):
        with_backbone(preset("tiny"), str(folder))

    def no_hub(source, **_):
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", no_hub)
    with pytest.raises(ConfigError, match="offline"):
        sources.find("someone/some-model")


def test_slots():
    assert state_slots(("hand_motor_pos", "arm_joint_pos")) == [*range(20, 32), *range(50, 57)]
    full = spread(torch.arange(1.0, 20.0)[None], torch.tensor(action_slots()))
    assert full.shape == (1, 200)
    assert full[0, 50:57].tolist() == list(range(1, 8))
    assert full[0, 20:32].tolist() == list(range(8, 20))
    assert int((full != 0).sum()) == 19


def test_position_table_of_other_images_is_resampled(tmp_path):
    tensors = beingh_tensors()
    name = "vit_model.embeddings.position_embedding"
    tensors[name] = torch.cat([torch.zeros(1, 1, 32), torch.ones(1, 16, 32)], 1)
    net = network(write(tmp_path / "being", tensors))
    table = net.vision.tower.embeddings.position_embeddings
    assert table.shape == (1, 5, 32)
    assert torch.allclose(table[:, 1:], torch.ones(1, 4, 32), atol=1e-6)


def test_beingh_equals_one_causal_sequence_in_its_order(tmp_path):
    """Reference: system and user turn, <img> .. </img> per view, the state between its marks, instruction, assistant turn, 16 actions."""
    tensors = beingh_tensors()
    net = network(write(tmp_path / "being", tensors))
    g = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 255, (1, 28, 28, 3), dtype=torch.uint8, generator=g) for _ in range(2)]
    state, noisy, time = torch.randn(1, 19, generator=g), torch.randn(1, 16, 19, generator=g), torch.tensor([0.25])
    task = "Pull out a napkin"
    views = [net.vision(image.permute(0, 3, 1, 2) / 127.5 - 1.0)[0] for image in images]
    words = lambda text: net.words(torch.tensor(list(text.encode())))  # noqa: E731
    start = f"<|im_start|>system\n{INTERNVL_SYSTEM}<|im_end|>\n<|im_start|>user\n"
    ask = BEINGH_INSTRUCTION.format(task=task, chunk=16) + "<|im_end|>\n<|im_start|>assistant\n"
    head = [words(start)]
    for view in views:
        head += [words("<img>"), view, words("</img>")]
    first, second = torch.cat([*head, words("<|state_start|>")]), torch.cat([words("<|state_end|>"), words(ask)])
    layout = "u" * len(first) + "a" + "u" * len(second) + "a" * 16
    linear = lambda x, name: functional.linear(x, tensors[name + ".weight"], tensors[name + ".bias"])  # noqa: E731
    slots = torch.zeros(1, 200)
    slots[:, 50:57], slots[:, 20:32] = state[:, :7], state[:, 7:]
    early = linear(linear(slots, "proprio_encoder_robot.layer1").relu(), "proprio_encoder_robot.layer2")
    act = torch.zeros(16, 200)
    act[:, 50:57], act[:, 20:32] = noisy[0, :, :7], noisy[0, :, 7:]
    angle = 250.0 * torch.exp(-torch.arange(20) * (torch.log(torch.tensor(10_000.0)) / 20))
    moment = torch.cat([angle.sin(), angle.cos()]).expand(16, -1)
    hidden = linear(torch.cat([linear(act, "action_encoder.W1"), moment], -1), "action_encoder.W2")
    late = linear(hidden * hidden.sigmoid(), "action_encoder.W3")
    expected = packed_causal(net, layout, torch.cat([first, second]), torch.cat([early, late]), tensors)
    prefix, valid, _ = net.embed_prefix(images, [task])
    token = net.embed_state(state)
    got = net(prefix, valid, token, noisy, time)[0]
    wanted = linear(linear(expected[1:], "action_decoder.layer1").relu(), "action_decoder.layer2")[:, action_slots()]
    assert torch.allclose(got, wanted, atol=2e-4)
    kept = net(None, valid, token, noisy, time, cache=net.fill_cache(prefix, valid, token))[0]
    assert torch.allclose(got, kept, atol=1e-5)


def packed_causal(net, layout, und, act, tensors):
    """Run all tokens in one row of one causal attention; return the normalised features of the action expert's tokens."""
    is_act = torch.tensor([letter == "a" for letter in layout])
    length = len(layout)
    cos, sin = net.mot.rotary(und[None], torch.arange(length)[None])
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    norm = lambda x, w: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * w  # noqa: E731

    for n in range(3):
        at = f"language_model.model.layers.{n}."
        parts = []
        for own, suffix in ((und, ""), (act, "_mot_gen")):
            w = lambda name, at=at, suffix=suffix: tensors[f"{at}{name}{suffix}.weight"]  # noqa: E731
            x = norm(own, w("input_layernorm"))
            q, k, v = ((x @ w(f"self_attn.{name}").T).unflatten(-1, (-1, 16)) for name in ("q_proj", "k_proj", "v_proj"))
            parts.append((norm(q, w("self_attn.q_norm")), norm(k, w("self_attn.k_norm")), v))
        row = []
        for u, a in zip(*parts, strict=True):
            whole = torch.zeros(length, *u.shape[1:])
            whole[~is_act], whole[is_act] = u, a
            row.append(whole.transpose(0, 1)[None])
        q, k = apply_rotary_pos_emb(row[0], row[1], cos, sin)
        k, v = (t.repeat_interleave(2, 1) for t in (k, row[2]))
        mixed = ((q @ k.mT / 4.0).masked_fill(~mask, -torch.inf).softmax(-1) @ v)[0].transpose(0, 1).flatten(1)
        results = []
        for own, suffix, rows in ((und, "", ~is_act), (act, "_mot_gen", is_act)):
            h = own + mixed[rows] @ tensors[f"{at}self_attn.o_proj{suffix}.weight"].T
            x = norm(h, tensors[f"{at}post_attention_layernorm{suffix}.weight"])
            gate, up, down = (tensors[f"{at}mlp{suffix}.{name}_proj.weight"] for name in ("gate", "up", "down"))
            results.append(h + (functional.silu(x @ gate.T) * (x @ up.T)) @ down.T)
        und, act = results
    return norm(act, tensors["language_model.model.norm_mot_gen.weight"])


def hf_checkpoint(kind, folder):
    """Write a small random checkpoint as transformers writes it."""
    torch.manual_seed(0)
    if kind == "internvl":
        text = {**QWEN, "model_type": "qwen3"}
        config = InternVLConfig(vision_config={**VISION, "attention_bias": True}, text_config=text)
        net = InternVLForConditionalGeneration(config)
    else:
        text = {**TEXT, "model_type": "llama", "head_dim": 12, "vocab_size": 300, "rms_norm_eps": 1e-5, "pad_token_id": 0}
        net = SmolVLMForConditionalGeneration(SmolVLMConfig(vision_config=VISION, text_config=text, scale_factor=2, pad_token_id=0))
    for value in net.parameters():  # nothing at its neutral value
        value.data.add_(0.05 * torch.randn(value.shape))
    net.save_pretrained(folder)
    return net.eval()


@pytest.mark.parametrize(("kind", "name"), [("internvl", "base"), ("smolvlm", "smolvlm-256m")])
def test_hf_checkpoint_gives_the_features_and_keys_of_hf_itself(tmp_path, kind, name):
    reference = hf_checkpoint(kind, tmp_path / "vlm")
    net = network(tmp_path / "vlm", name, act_width=40)
    assert net.config.layers == 3
    pixels = torch.rand(2, 3, 56, 56) * 2 - 1  # four image tokens: their order counts
    with torch.no_grad():
        if kind == "internvl":
            scaled = ((pixels + 1) / 2 - net.vision.mean) / net.vision.std
            image, text = reference.get_image_features(scaled).pooler_output, reference.model.language_model
        else:
            seen = reference.model.vision_model(pixel_values=pixels).last_hidden_state
            image, text = reference.model.connector(seen), reference.model.text_model
        assert torch.allclose(net.vision(pixels), image, atol=1e-5)
        ids = torch.randint(0, 300, (2, 7))
        assert torch.equal(net.words(ids), text.embed_tokens(ids))
        tokens = torch.cat([net.vision(pixels), net.words(ids)], 1)
        cache = text(inputs_embeds=tokens, use_cache=True).past_key_values
        _, own = net.mot(tokens, None, torch.ones(2, tokens.shape[1], dtype=torch.bool))
    for layer, (key, value) in zip(cache.layers, own, strict=True):
        assert torch.allclose(layer.keys, key, atol=1e-5)
        assert torch.allclose(layer.values, value, atol=1e-5)


@pytest.mark.parametrize("style", ["before 4.52", "since 4.52"])
def test_both_published_layouts_of_internvl_are_read(tmp_path, style):
    reference = hf_checkpoint("internvl", tmp_path / "vlm")
    net = network(tmp_path / "vlm", "base", act_width=40)
    names = {name: value for name, value in reference.state_dict().items() if name != "lm_head.weight"}
    if style == "before 4.52":
        names = {name.removeprefix("model.").replace("language_model.", "language_model.model."): value for name, value in names.items()}
    (tmp_path / "again").mkdir()
    save_file({name: value.contiguous() for name, value in names.items()}, tmp_path / "again" / "model.safetensors")
    load_weights(net, tmp_path / "again", INTERNVL)
    with pytest.raises(CheckpointError, match="unknown"):
        load_weights(net, tmp_path / "again", SMOLVLM)


def test_fewer_layers_than_the_checkpoint_has(tmp_path):
    hf_checkpoint("smolvlm", tmp_path / "vlm")
    net = network(tmp_path / "vlm", "smolvlm-256m", act_width=40, layers=2)
    assert len(net.mot.layers) == 2
