"""Policy folders: safetensors weights, ``config.json`` and ``normalizer.json``, each renamed into place; never pickle."""

import json
import os
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from agents.normalize import Normalizer
from agents.policy import VLAPolicy
from agents.vla.backbone_config import BYTES
from agents.vla.config import VLAConfig
from agents.vla.large import LargeVLAModel
from agents.vla.prompt import HFTokenizer
from dexhil_env.errors import CheckpointError, ConfigError

FORMAT: Final = 1
ACTOR_KIND: Final = "rl-actor"
WEIGHTS, CONFIG, NORMALIZER = "model.safetensors", "config.json", "normalizer.json"
TOKENIZER: Final = "tokenizer"
"""Folder of the tokenizer, for policies on a backbone that has one."""


def write_text(path: Path, text: str) -> None:
    """Write text beside and rename it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors beside and rename them into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata=metadata)
    temporary.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read safetensors and their metadata; a missing or damaged file is a CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged ({error}); copy it again or train again") from error


def is_actor(folder: Path) -> bool:
    """Whether a folder holds an actor of ``dexhil rl``."""
    try:
        return bool(json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("kind") == ACTOR_KIND)
    except (OSError, ValueError, AttributeError):
        return False


def save_policy(policy: VLAPolicy, folder: str | Path) -> Path:
    """Write a policy to a folder and return it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / NORMALIZER, policy.normalizer.to_json())
    write_text(folder / CONFIG, json.dumps(interface(policy.config) | {"policy": json.loads(policy.config.to_json())}, indent=2))
    if isinstance(policy.model, LargeVLAModel) and policy.model.config.vlm.tokenizer != BYTES:
        policy.model.tokenizer.save(str(folder / TOKENIZER))
    write_tensors(folder / WEIGHTS, policy.state_dict(), {"format": str(FORMAT), "statistics": policy.normalizer.digest()})
    return folder


def interface(config: VLAConfig) -> dict[str, Any]:
    """Return what must agree between a policy, its data and its robot."""
    return {
        "format": FORMAT,
        "action_names": config.action_names,
        "state_names": config.state_names,
        "cameras": list(config.cameras),
        "image_size": config.image_size,
    }


def read_policy(folder: str | Path, *, like: VLAConfig | None = None, normalizer: Normalizer | None = None, n_exec: int = 8) -> VLAPolicy:
    """Read a policy folder.

    Args:
        folder: made by ``save_policy``.
        like: refuse a policy whose actions, states or cameras differ from these.
        normalizer: refuse a policy that was trained under other statistics.
        n_exec: actions executed per chunk.
    """
    folder = Path(folder)
    stored = _read_json(folder / CONFIG)
    try:
        config = VLAConfig.from_dict(stored["policy"])
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{folder / CONFIG} does not describe a policy ({error}); use the version that wrote it") from error
    _compare(folder, stored, interface(config), "this version of the robot")
    if like is not None:
        _compare(folder, stored, interface(like), "what is asked for")
    statistics = _read_normalizer(folder, config)
    tensors, metadata = read_tensors(folder / WEIGHTS)
    _check_statistics(folder, statistics, metadata, normalizer)
    policy = VLAPolicy(config, statistics, n_exec=n_exec, pretrained=False)
    _check_weights(folder, tensors, policy.state_dict())
    policy.load_state_dict(tensors)
    if isinstance(policy.model, LargeVLAModel) and (folder / TOKENIZER).is_dir():
        policy.model.tokenizer = HFTokenizer(str(folder / TOKENIZER))
    return policy.eval()


def _read_json(path: Path) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged ({error}); a policy folder holds {CONFIG}, {NORMALIZER}, {WEIGHTS}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object; got {type(values).__name__}")
    return values


def _read_normalizer(folder: Path, config: VLAConfig) -> Normalizer:
    """Read the normaliser and check its widths."""
    try:
        statistics = Normalizer.from_json((folder / NORMALIZER).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / NORMALIZER} is missing or damaged ({error}); copy the whole policy folder") from error
    got = (len(statistics.state.centre), len(statistics.action.centre))
    if got != (config.state_dim, config.action_dim):
        raise CheckpointError(f"{folder}: statistics of widths {got}, but the policy has {(config.state_dim, config.action_dim)}")
    return statistics


def _compare(folder: Path, stored: dict[str, Any], wanted: dict[str, Any], owner: str) -> None:
    """Refuse a stored interface that differs, and say where."""
    lines = []
    for key, want in wanted.items():
        have = stored.get(key)
        if have == want:
            continue
        if isinstance(have, list) and isinstance(want, list) and set(have) != set(want):
            lines.append(f"{key}: only in checkpoint {sorted(set(have) - set(want))}, only wanted {sorted(set(want) - set(have))}")
        else:
            lines.append(f"{key}: checkpoint {have}, wanted {want}")
    if lines:
        raise CheckpointError(f"{folder} does not fit {owner}:\n  " + "\n  ".join(lines))


def _check_statistics(folder: Path, statistics: Normalizer, metadata: dict[str, str], wanted: Normalizer | None) -> None:
    """Refuse statistics other than those of training."""
    trained = metadata.get("statistics")
    if trained != statistics.digest():
        raise CheckpointError(f"{folder}: weights were trained under statistics {trained}, {NORMALIZER} holds {statistics.digest()}")
    if wanted is not None and wanted.digest() != trained:
        raise CheckpointError(f"{folder}: statistics are {trained}, wanted {wanted.digest()}; keep the warm-up statistics in every round")


def _check_weights(folder: Path, tensors: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Refuse missing, unknown or misshapen weights."""
    lines = [f"missing {name}" for name in sorted(set(wanted) - set(tensors))]
    lines += [f"unknown {name}" for name in sorted(set(tensors) - set(wanted))]
    shapes = {name: (tuple(tensors[name].shape), tuple(wanted[name].shape)) for name in set(tensors) & set(wanted)}
    lines += [f"{name} has shape {have}, wanted {want}" for name, (have, want) in sorted(shapes.items()) if have != want]
    if lines:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit its configuration:\n  " + "\n  ".join(lines[:10]))
