"""The pretrained part of a large policy: which vision-language model, of what size, from where."""

from dataclasses import dataclass
from typing import Final

from dexhil_env.errors import ConfigError

FAMILIES: Final = ("internvl", "smolvlm")
LAYOUTS: Final = ("plain", "chat", "beingh")
BYTES: Final = "bytes"
"""Name of the tokenizer that needs no file."""


@dataclass(frozen=True)
class BackboneConfig:
    """A vision-language model of ``transformers`` as eyes and understanding expert.

    Width, layers and heads of the language layers are those of ``VLAConfig`` (``und_width``, ``layers``, ``heads``, ...).

    Attributes:
        family: ``"internvl"`` (InternViT and Qwen3 layers) or ``"smolvlm"`` (SigLIP and Llama layers).
        layout: ``"plain"`` (image tokens, then the instruction), ``"chat"`` (the family's chat turn around both) or ``"beingh"``
            (Being-H0.5's order, with the state token between images and instruction and 200-wide state and action vectors).
        source: folder or hub id of the weights; empty for random ones.
        tokenizer: ``"bytes"``, or folder or hub id of a tokenizer.
        vocabulary: rows of the token embedding.
        text_tokens: longest instruction kept [tokens].
        und_ffn: hidden width of the understanding expert's feed-forward network.
        act_ffn: hidden width of the action expert's.
        rope_theta: base of the rotary positions, common to both experts.
        norm_eps: of the language layers' RMS norms.
        vision_width: width of the vision transformer.
        vision_layers: its layers.
        vision_heads: its heads.
        vision_ffn: hidden width of its feed-forward networks.
        patch_px: side of one image patch [px].
        table_px: side of the square image that its table of positions was made for [px].
        shuffle: s x s neighbouring patches become one token.
    """

    family: str = "internvl"
    layout: str = "plain"
    source: str = ""
    tokenizer: str = BYTES
    vocabulary: int = 257
    text_tokens: int = 64
    und_ffn: int = 344
    act_ffn: int = 256
    rope_theta: float = 1e6
    norm_eps: float = 1e-6
    vision_width: int = 64
    vision_layers: int = 2
    vision_heads: int = 2
    vision_ffn: int = 256
    patch_px: int = 14
    table_px: int = 112
    shuffle: int = 2

    def __post_init__(self) -> None:
        """Refuse what no family has."""
        if self.family not in FAMILIES or self.layout not in LAYOUTS:
            raise ConfigError(f"family must be one of {FAMILIES} and layout one of {LAYOUTS}; got {self.family!r}, {self.layout!r}")
        if self.layout == "beingh" and self.family != "internvl":
            raise ConfigError("layout 'beingh' belongs to family 'internvl'; use 'chat' or 'plain' with 'smolvlm'")
        if self.table_px % self.patch_px and self.family == "internvl":
            raise ConfigError(f"table_px ({self.table_px}) must be a multiple of patch_px ({self.patch_px})")
        if min(self.vocabulary, self.text_tokens, self.vision_layers, self.shuffle) < 1:
            raise ConfigError("vocabulary, text_tokens, vision_layers and shuffle must be at least 1")

    def tokens(self, image_px: int) -> int:
        """Return the tokens of one square image; refuse a side that does not divide."""
        step = self.patch_px * self.shuffle
        if image_px % step:
            nearest = max(round(image_px / step), 1) * step
            raise ConfigError(f"image_size must be a multiple of {step} px for this backbone; got {image_px}, try {nearest}")
        return (image_px // step) ** 2
