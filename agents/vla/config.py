"""What a vision-language-action model is made of: one frozen dataclass, its presets and its JSON form."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from agents.frames import STATE_DIMS
from dexhil_env.errors import ConfigError
from dexhil_env.robot import ACTION_DIM, ACTION_NAMES

STEMS: Final = ("conv", "spatial_softmax", "efficientnet")


@dataclass(frozen=True)
class VLAConfig:
    """Architecture, inputs, outputs and loss of the policy network.

    Attributes:
        preset: name of the preset this came from, for logs.
        cameras: names of the cameras, in token order; observation key ``image_<name>``.
        image_size: side of the square image the network sees [px]; frames are resized to it.
        state_keys: observation keys of the proprioceptive state, in order.
        chunk: actions per chunk T.
        stem: image encoder, one of ``STEMS``.
        share_stem: one encoder for all cameras instead of one per camera.
        stem_channels: channels of the three convolutions (conv and spatial_softmax).
        image_tokens: tokens per camera; a square number for conv and efficientnet.
        train_trunk: fine-tune the pretrained trunk (efficientnet) instead of freezing it.
        text_bytes: longest instruction kept [bytes].
        bytes_per_token: neighbouring bytes that make one language token.
        und_width: width of the understanding expert (image and language tokens).
        act_width: width of the action expert (state and action tokens).
        layers: decoder layers; each has one part per expert and one joint attention.
        heads: query heads, common to both experts.
        kv_heads: key-value heads (grouped-query attention).
        head_dim: width of one head.
        ffn_mult: hidden width of the gated feed-forward network over the expert's width.
        prefix_attention: ``"full"`` or ``"causal"`` among image and language tokens.
        action_attention: ``"full"`` or ``"causal"`` among state and action tokens.
        insulate: stop the action expert's gradient from entering the understanding expert (knowledge insulation).
        grad_checkpoint: recompute layers in the backward pass; saves memory, costs a third more time.
        precondition: the network learns what the best linear guess of the velocity leaves over, scaled to one size at every flow time.
        flow_steps: Euler steps of one inference.
        noise_samples: flow times and noises drawn per observation and training step; the images are encoded once.
        relative_arm: arm targets are learnt relative to the measured joints of the anchor frame.
        arm_loss_weight: loss weight of the 7 arm targets (the 12 hand targets have 1).
        state_dropout: probability of hiding the state token in training.
        state_noise: standard deviation of noise on the normalised state in training.
        shift_px: random image shift in training, at most this many pixels each way.
        brightness: random brightness and contrast change in training, at most this share.
        aux_weight: weight of the auxiliary loss (arm joints at the closing moment, from image and language tokens).
    """

    preset: str = "tiny"
    cameras: tuple[str, ...] = ("front", "wrist")
    image_size: int = 96
    state_keys: tuple[str, ...] = ("arm_joint_pos", "hand_motor_pos", "fingertip_force", "ee_pose")
    chunk: int = 16
    stem: str = "spatial_softmax"
    share_stem: bool = False
    stem_channels: tuple[int, int, int] = (16, 32, 64)
    image_tokens: int = 4
    train_trunk: bool = False
    text_bytes: int = 64
    bytes_per_token: int = 4
    und_width: int = 128
    act_width: int = 96
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    ffn_mult: float = 4.0
    prefix_attention: str = "full"
    action_attention: str = "full"
    insulate: bool = False
    grad_checkpoint: bool = False
    precondition: bool = True
    flow_steps: int = 4
    noise_samples: int = 2
    relative_arm: bool = True
    arm_loss_weight: float = 3.0
    state_dropout: float = 0.2
    state_noise: float = 0.05
    shift_px: int = 0
    brightness: float = 0.0
    aux_weight: float = 0.3

    def __post_init__(self) -> None:
        """Refuse values that cannot work together."""
        unknown = [key for key in self.state_keys if key not in STATE_DIMS]
        _require(not unknown, f"state_keys {unknown} are not recorded; choose from {sorted(STATE_DIMS)}")
        _require(bool(self.cameras) and len(set(self.cameras)) == len(self.cameras), f"cameras must differ; got {self.cameras}")
        _require(self.stem in STEMS, f"stem {self.stem!r} is unknown; choose from {STEMS}")
        _require(self.heads % self.kv_heads == 0, f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        for name in ("prefix_attention", "action_attention"):
            _require(getattr(self, name) in ("full", "causal"), f"{name} must be 'full' or 'causal'; got {getattr(self, name)!r}")
        for name in ("chunk", "layers", "flow_steps", "noise_samples", "image_tokens", "bytes_per_token"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1; got {getattr(self, name)}")
        square = round(self.image_tokens**0.5) ** 2 == self.image_tokens
        _require(square or self.stem == "spatial_softmax", f"image_tokens must be a square number; got {self.image_tokens}")
        relative = not self.relative_arm or "arm_joint_pos" in self.state_keys
        _require(relative, "relative_arm needs 'arm_joint_pos' in state_keys; add it or set relative_arm=False")

    @property
    def state_dim(self) -> int:
        """Width of the state vector."""
        return sum(STATE_DIMS[key] for key in self.state_keys)

    @property
    def action_dim(self) -> int:
        """Width of one action."""
        return ACTION_DIM

    @property
    def state_names(self) -> list[str]:
        """One name per element of the state vector."""
        return [f"{key}.{i}" for key in self.state_keys for i in range(STATE_DIMS[key])]

    @property
    def action_names(self) -> list[str]:
        """One name per element of an action."""
        return list(ACTION_NAMES)

    def to_json(self) -> str:
        """Write every field as JSON text."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "VLAConfig":
        """Rebuild a configuration from parsed JSON; unknown keys are an error."""
        known = {field.name for field in fields(cls)}
        _require(set(values) <= known, f"unknown configuration keys {sorted(set(values) - known)}; this version knows {sorted(known)}")
        fixed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return cls(**fixed)

    @classmethod
    def from_json(cls, text: str) -> "VLAConfig":
        """Rebuild a configuration from ``to_json`` text."""
        return cls.from_dict(json.loads(text))


def _require(condition: bool, message: str) -> None:
    """Raise ConfigError with this message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


_TINY: Final = VLAConfig()
PRESETS: Final[dict[str, VLAConfig]] = {
    "debug": replace(
        _TINY, preset="debug", image_size=32, stem_channels=(8, 16, 16), und_width=64, act_width=64, layers=2, heads=2, kv_heads=1,
        ffn_mult=2.0, noise_samples=1,
    ),
    "tiny": _TINY,
    "tiny-conv": replace(_TINY, preset="tiny-conv", stem="conv", image_tokens=16),
    "tiny-eff": replace(_TINY, preset="tiny-eff", stem="efficientnet", share_stem=True, image_tokens=9),
    "small": replace(
        _TINY, preset="small", image_size=128, und_width=192, act_width=128, layers=6, head_dim=48, stem_channels=(24, 48, 96),
    ),
}  # fmt: skip
"""Ready-made sizes; change a field with ``dataclasses.replace``."""


def preset(name: str) -> VLAConfig:
    """Return a preset by name."""
    _require(name in PRESETS, f"preset {name!r} is unknown; choose from {sorted(PRESETS)}")
    return PRESETS[name]
