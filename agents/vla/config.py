"""What a vision-language-action model is made of: one frozen dataclass, its presets and its JSON form."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from agents.vla.backbone_config import BackboneConfig
from dexhil_env.episode import STATE_DIMS
from dexhil_env.errors import ConfigError
from dexhil_env.robot import ACTION_DIM, ACTION_NAMES

_LATER: Final = {"rtc_max_delay": 0}
"""Fields that earlier versions did not have, and the value that means as before."""
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
        rtc_max_delay: training-time real-time chunking: each training sample is given its first 0 to this many actions free of noise and
            learns the rest, so that a rollout can plan on while it executes; 0 is off.
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
    rtc_max_delay: int = 0
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
        _require(0 <= self.rtc_max_delay < self.chunk, f"rtc_max_delay must lie in 0..{self.chunk - 1}; got {self.rtc_max_delay}")
        relative = not self.relative_arm or "arm_joint_pos" in self.state_keys
        _require(relative, "relative_arm needs 'arm_joint_pos' in state_keys; add it or set relative_arm=False")

    @property
    def backbone(self) -> BackboneConfig | None:
        """The vision-language model this policy stands on; None for the small presets, which have encoders of their own."""
        return None

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

    def to_dict(self) -> dict[str, Any]:
        """Return every field; what came later (``_LATER``) only where it is in use, so that older files and versions compare equal."""
        return {name: value for name, value in asdict(self).items() if name not in _LATER or value != _LATER[name]}

    def to_json(self) -> str:
        """Write the fields as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "VLAConfig":
        """Rebuild a configuration from parsed JSON; unknown keys are an error."""
        kind = LargeVLAConfig if "vlm" in values else cls
        known = {field.name for field in fields(kind)}
        _require(set(values) <= known, f"unknown configuration keys {sorted(set(values) - known)}; this version knows {sorted(known)}")
        fixed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        if "vlm" in values:
            fixed["vlm"] = BackboneConfig(**values["vlm"])
        return kind(**fixed)

    @classmethod
    def from_json(cls, text: str) -> "VLAConfig":
        """Rebuild a configuration from ``to_json`` text."""
        return cls.from_dict(json.loads(text))


@dataclass(frozen=True)
class LargeVLAConfig(VLAConfig):
    """A policy on a pretrained vision-language model; ``stem*``, ``share_stem``, ``text_bytes`` and ``ffn_mult`` do not apply.

    A class of its own, so that the configurations of small policies read and write as ever.

    Attributes:
        vlm: the vision-language model.
    """

    vlm: BackboneConfig = field(default_factory=BackboneConfig)

    def __post_init__(self) -> None:
        """Refuse sizes that the backbone does not give."""
        super().__post_init__()
        tokens = self.vlm.tokens(self.image_size)
        _require(self.image_tokens == tokens, f"images of {self.image_size} px give {tokens} tokens; got image_tokens={self.image_tokens}")
        _require(self.aux_weight == 0.0, f"the auxiliary loss belongs to the small presets; set aux_weight=0, got {self.aux_weight}")
        if self.vlm.family == "smolvlm":
            fits = self.und_width % self.heads == self.act_width % self.heads == 0
            _require(fits, f"Llama layers want widths that are multiples of heads ({self.heads}); got {self.und_width}, {self.act_width}")
        if self.vlm.layout == "beingh":
            causal = self.prefix_attention == self.action_attention == "causal"
            _require(causal and not self.precondition, "layout 'beingh' is causal throughout and has no preconditioning")
            known = {"arm_joint_pos", "hand_motor_pos"}
            _require(set(self.state_keys) <= known, f"layout 'beingh' has slots for {sorted(known)} only; got {self.state_keys}")

    @property
    def backbone(self) -> BackboneConfig | None:
        """The vision-language model this policy stands on."""
        return self.vlm


def _require(condition: bool, message: str) -> None:
    """Raise ConfigError with this message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


_TINY: Final = VLAConfig()
_HF_TINY: Final = LargeVLAConfig(
    preset="hf-tiny", image_size=112, image_tokens=16, aux_weight=0.0, vlm=BackboneConfig(vision_width=96, vision_layers=3, vision_heads=4),
)  # fmt: skip
_INTERNVL: Final = BackboneConfig(
    family="internvl", layout="chat", tokenizer="", vocabulary=151_936, text_tokens=64, und_ffn=6144, act_ffn=3072, rope_theta=1e6,
    vision_width=1024, vision_layers=24, vision_heads=16, vision_ffn=4096, patch_px=14, table_px=448, shuffle=2,
)  # fmt: skip
_SMOL: Final = BackboneConfig(
    family="smolvlm", layout="chat", tokenizer="", vocabulary=49_280, text_tokens=64, und_ffn=1536, act_ffn=1152, rope_theta=1e5,
    norm_eps=1e-5, vision_width=768, vision_layers=12, vision_heads=12, vision_ffn=3072, patch_px=16, table_px=512, shuffle=4,
)  # fmt: skip
_BASE: Final = replace(
    _HF_TINY, preset="base", image_size=224, image_tokens=64, und_width=2048, act_width=1024, layers=28, heads=16, kv_heads=8,
    head_dim=128, grad_checkpoint=True, prefix_attention="causal", vlm=_INTERNVL,
)  # fmt: skip
_SMOL_256M: Final = replace(
    _HF_TINY, preset="smolvlm-256m", image_size=256, image_tokens=16, und_width=576, act_width=432, layers=30, heads=9, kv_heads=3,
    head_dim=64, prefix_attention="causal", vlm=_SMOL,
)  # fmt: skip
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
    "hf-tiny": _HF_TINY,
    "smolvlm-256m": _SMOL_256M,
    "smolvlm-500m": replace(
        _SMOL_256M, preset="smolvlm-500m", und_width=960, act_width=720, layers=32, heads=15, kv_heads=5,
        vlm=replace(_SMOL, und_ffn=2560, act_ffn=1920),
    ),
    "smolvlm-2b": replace(
        _SMOL_256M, preset="smolvlm-2b", image_size=378, image_tokens=81, und_width=2048, act_width=768, layers=24, heads=32, kv_heads=32,
        grad_checkpoint=True,
        vlm=replace(
            _SMOL, und_ffn=8192, act_ffn=2048, rope_theta=273_768.0, vision_width=1152, vision_layers=27, vision_heads=16, vision_ffn=4304,
            patch_px=14, table_px=384, shuffle=3,
        ),
    ),
    "internvl-1b": replace(_BASE, preset="internvl-1b", und_width=1024, act_width=768, vlm=replace(_INTERNVL, und_ffn=3072, act_ffn=2048)),
    "base": _BASE,
    "being-h05": replace(
        _BASE, preset="being-h05", state_keys=("arm_joint_pos", "hand_motor_pos"), action_attention="causal", precondition=False,
        state_dropout=0.0, vlm=replace(_INTERNVL, layout="beingh"),
    ),
}  # fmt: skip
"""Ready-made sizes; change a field with ``dataclasses.replace``."""


def preset(name: str) -> VLAConfig:
    """Return a preset by name."""
    _require(name in PRESETS, f"preset {name!r} is unknown; choose from {sorted(PRESETS)}")
    return PRESETS[name]
