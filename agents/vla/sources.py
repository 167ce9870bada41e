"""Real weights for the backbone: from a folder or the hub, checked name by name before any of them is used."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from agents.vla.backbone_config import BackboneConfig
from agents.vla.config import LargeVLAConfig, VLAConfig
from agents.vla.keymaps import BEINGH, INTERNVL, SMOLVLM, KeyMap
from dexhil_env.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)

_FILES: Final = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]
_TABLE: Final = "vision.tower.embeddings.position_embeddings"


def find(source: str) -> Path:
    """Return the folder of a source; a hub id is downloaded, or found among earlier downloads."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(source, allow_patterns=_FILES))
    except (OSError, ValueError, HFValidationError) as error:
        raise ConfigError(f"{source!r} is no folder and cannot be had from the hub ({error}); copy the checkpoint to a folder") from error


def with_backbone(config: VLAConfig, source: str) -> LargeVLAConfig:
    """Return a large configuration in the sizes of a checkpoint, which will bring weights and tokenizer."""
    if not isinstance(config, LargeVLAConfig):
        raise ConfigError(f"preset {config.preset!r} has no backbone to load; use hf-tiny, smolvlm-*, internvl-1b, base or being-h05")
    path = find(source) / "config.json"
    try:
        stored = json.loads(path.read_text())
        kind = stored["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is missing or does not say its model_type ({error})") from error
    readers = {"internvl": _internvl, "smolvlm": _smolvlm, "beingh": _beingh}
    if kind not in readers:
        raise CheckpointError(f"{source} holds a {kind!r}; known are {sorted(readers)} (for InternVL the checkpoints named '-HF')")
    if (kind == "beingh") != (config.vlm.layout == "beingh"):
        raise ConfigError(f"{source} holds a {kind!r}, preset {config.preset!r} wants another kind; use being-h05 for 'beingh', else base")
    sizes, parts = readers[kind](stored)
    vlm: BackboneConfig = replace(config.vlm, **parts, source=source, tokenizer="")
    return replace(config, image_tokens=vlm.tokens(config.image_size), vlm=vlm, **sizes)


def _internvl(stored: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sizes of an InternVL ``-HF`` checkpoint: fields of the policy and of its backbone."""
    from transformers import InternVLConfig

    whole = InternVLConfig.from_dict(stored)
    vision: Any = whole.vision_config
    parts = {"family": "internvl", "patch_px": vision.patch_size[0], "table_px": vision.image_size[0]}
    return _sizes(whole.text_config, vision, parts | {"shuffle": round(1 / whole.downsample_ratio)})


def _smolvlm(stored: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sizes of a SmolVLM checkpoint."""
    from transformers import SmolVLMConfig

    whole = SmolVLMConfig.from_dict(stored)
    vision: Any = whole.vision_config
    parts = {"family": "smolvlm", "patch_px": vision.patch_size, "table_px": vision.image_size, "shuffle": whole.scale_factor}
    return _sizes(whole.text_config, vision, parts)


def _beingh(stored: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sizes of a Being-H0.5 checkpoint, action expert included."""
    from transformers import InternVLConfig, Qwen3Config

    text, vision = stored["llm_config"], stored["vit_config"]
    known = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size", "patch_size")
    tower: Any = InternVLConfig(vision_config={key: vision[key] for key in known}).vision_config
    parts = {"family": "internvl", "layout": "beingh", "patch_px": vision["patch_size"], "table_px": vision["image_size"]}
    parts |= {"shuffle": round(1 / stored.get("downsample_ratio", 0.5)), "act_ffn": text["expert_config"]["intermediate_size"]}
    sizes, parts = _sizes(Qwen3Config.from_dict({key: value for key, value in text.items() if key != "expert_config"}), tower, parts)
    own = {"act_width": text["expert_config"]["hidden_size"], "chunk": stored["action_chunk_length"]}
    return sizes | own, parts


def _sizes(text: Any, vision: Any, parts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lay out the sizes that all families share."""
    sizes = {
        "und_width": text.hidden_size, "layers": text.num_hidden_layers, "heads": text.num_attention_heads,
        "kv_heads": text.num_key_value_heads, "head_dim": getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
    }  # fmt: skip
    parts |= {
        "vocabulary": text.vocab_size, "und_ffn": text.intermediate_size, "norm_eps": text.rms_norm_eps,
        "rope_theta": float(text.rope_parameters["rope_theta"]), "vision_width": vision.hidden_size,
        "vision_layers": vision.num_hidden_layers, "vision_heads": vision.num_attention_heads, "vision_ffn": vision.intermediate_size,
    }  # fmt: skip
    return sizes, parts


def load_backbone(model: nn.Module, config: LargeVLAConfig) -> None:
    """Fill a network from the checkpoint that its configuration names."""
    if config.vlm.layout == "beingh":
        load_beingh05(model, find(config.vlm.source))
    else:
        load_weights(model, find(config.vlm.source), INTERNVL if config.vlm.family == "internvl" else SMOLVLM)


def load_beingh05(model: nn.Module, folder: Path) -> None:
    """Fill a network of layout ``beingh`` from the folder of a Being-H0.5 checkpoint, in one file or several."""
    load_weights(model, folder, BEINGH)


def load_weights(model: nn.Module, folder: Path, keys: KeyMap) -> None:
    """Copy a checkpoint's weights into a network; refuse a checkpoint that does not fit, with the list of differences.

    Raises:
        CheckpointError: a weight is missing, unknown or of another shape; the network is then unchanged.
    """
    wanted = {name: value for name, value in model.state_dict().items() if keys.wants(name)}
    layers = 1 + max(int(match[1]) for name in wanted if (match := re.match(r"mot\.layers\.(\d+)\.", name)))
    plan, lines = _plan(folder, keys, wanted, layers)
    lines += [
        f"missing {name} {tuple(wanted[name].shape)}" for name in sorted(set(wanted) - {ours for names, *_ in plan for ours in names})
    ]
    if lines:
        shown = "\n  ".join(lines[:20] + ([f"and {len(lines) - 20} more"] if len(lines) > 20 else []))
        raise CheckpointError(f"{folder} does not fit this network in {len(lines)} places:\n  {shown}")
    for path in sorted({path for _, path, _ in plan}):
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for names, origin, name in plan:
                if origin == path:
                    pieces = file.get_tensor(name).chunk(len(names))
                    for ours, piece in zip(names, pieces, strict=True):
                        wanted[ours].copy_(_fitted(ours, piece, wanted[ours]))
    logger.info("%s: %d weights read", folder, len(plan))


def _plan(folder: Path, keys: KeyMap, wanted: dict[str, Tensor], layers: int) -> tuple[list[tuple[tuple[str, ...], Path, str]], list[str]]:
    """Return which published weight becomes which of ours, and what does not fit."""
    plan: list[tuple[tuple[str, ...], Path, str]] = []
    lines: list[str] = []
    for path in _shards(folder):
        try:
            with safe_open(path, framework="pt") as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); copy it again") from error
        for name, shape in sorted(shapes.items()):
            ours = keys.translate(name)
            if ours is None or any(target not in wanted and not _spare(target, layers) for target in ours):
                lines.append(f"unknown {name} {shape}")
            elif ours and all(target in wanted for target in ours):
                have = (shape[0] // len(ours), *shape[1:])
                wrong = [tuple(wanted[target].shape) for target in ours if not _fits(target, have, tuple(wanted[target].shape))]
                lines += [f"{name} has shape {shape}, wanted {len(ours)} x {wrong[0]}"] if wrong else []
                plan.append((ours, path, name))
    return plan, lines


def _shards(folder: Path) -> list[Path]:
    """Return the weight files of a checkpoint: those of its index, or the single one."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        names = [path.name for path in sorted(folder.glob("*.safetensors"))]
    missing = [name for name in names if not (folder / name).exists()]
    if not names or missing:
        raise CheckpointError(f"{folder} lacks its weights ({missing or 'no .safetensors file'}); copy the whole checkpoint")
    return [folder / name for name in names]


def _spare(name: str, layers: int) -> bool:
    """Whether a weight belongs to a part of the understanding expert that this network leaves out."""
    match = re.match(r"mot\.layers\.(\d+)\.und\.(.+)", name)
    if match is None:
        return False
    unused = re.match(r"self_attn\.(q_proj|q_norm|o_proj)\.|mlp\.|post_attention_layernorm\.", match[2])
    return int(match[1]) >= layers or (int(match[1]) == layers - 1 and unused is not None)


def _fits(name: str, have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    """Whether a weight can be used; a square table of positions may be made for images of another size."""
    if name != _TABLE or len(have) != 3:
        return have == want
    return have[2] == want[2] and round((have[1] - 1) ** 0.5) ** 2 == have[1] - 1


def _fitted(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """Return the tensor, its table of positions resampled where it was made for images of another size."""
    if name != _TABLE or tensor.shape == like.shape:
        return tensor
    own, wanted = (round((table.shape[1] - 1) ** 0.5) for table in (tensor, like))
    grid = tensor[:, 1:].float().unflatten(1, (own, own)).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(wanted, wanted), mode="bicubic", align_corners=False)
    return torch.cat([tensor[:, :1].float(), grid.flatten(2).transpose(1, 2)], 1)
