"""Vision towers of ``transformers``: pixels of all cameras to image tokens of the language model's width."""

from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AutoModel, InternVLConfig, Qwen3Config, SmolVLMConfig
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig
from transformers.models.internvl.modeling_internvl import InternVLMultiModalProjector
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMConnector

from agents.vla.config import LargeVLAConfig

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


def shuffle_pixels(patches: Tensor, factor: int) -> Tensor:
    """Join ``factor`` x ``factor`` neighbouring patches (B, H, W, D) into tokens (B, H / f * W / f, D * f * f), in InternVL's order."""
    batch, height, width, _ = patches.shape
    blocks = patches.unflatten(2, (width // factor, factor)).unflatten(1, (height // factor, factor))
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * width // factor**2, -1)


class InternVLVision(nn.Module):
    """InternViT and its projector (Chen et al., 2024)."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: LargeVLAConfig) -> None:
        """Build both with random weights."""
        super().__init__()
        vlm = config.vlm
        vision = InternVLVisionConfig(
            hidden_size=vlm.vision_width, num_hidden_layers=vlm.vision_layers, num_attention_heads=vlm.vision_heads,
            intermediate_size=vlm.vision_ffn, image_size=vlm.table_px, patch_size=vlm.patch_px, attention_bias=True,
        )  # fmt: skip
        text = Qwen3Config(hidden_size=config.und_width, num_hidden_layers=1, vocab_size=16)
        whole = InternVLConfig(vision_config=vision.to_dict(), text_config=text, downsample_ratio=1 / vlm.shuffle)
        self.tower: Any = AutoModel.from_config(vision)
        self.projector = InternVLMultiModalProjector(whole)
        self.factor = vlm.shuffle
        _recompute(self.tower, config.grad_checkpoint)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) in [-1, 1] to (N, tokens, und_width)."""
        patches = self.tower(pixel_values=((pixels + 1.0) / 2.0 - self.mean) / self.std).last_hidden_state[:, 1:]
        side = round(patches.shape[1] ** 0.5)
        return self.projector(shuffle_pixels(patches.unflatten(1, (side, side)), self.factor))


class SmolVLMVision(nn.Module):
    """SigLIP and SmolVLM's connector (Marafioti et al., 2025)."""

    def __init__(self, config: LargeVLAConfig) -> None:
        """Build both with random weights."""
        super().__init__()
        vlm = config.vlm
        vision = SmolVLMVisionConfig(
            hidden_size=vlm.vision_width, num_hidden_layers=vlm.vision_layers, num_attention_heads=vlm.vision_heads,
            intermediate_size=vlm.vision_ffn, image_size=vlm.table_px, patch_size=vlm.patch_px,
        )  # fmt: skip
        text = {"model_type": "llama", "hidden_size": config.und_width, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 16}
        self.tower: Any = AutoModel.from_config(vision)
        self.connector = SmolVLMConnector(SmolVLMConfig(vision_config=vision.to_dict(), text_config=text, scale_factor=vlm.shuffle))
        _recompute(self.tower, config.grad_checkpoint)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) in [-1, 1] to (N, tokens, und_width)."""
        return self.connector(self.tower(pixel_values=pixels).last_hidden_state)


def _recompute(tower: Any, wanted: bool) -> None:
    """Let the tower recompute its layers in the backward pass; it keeps no cache that this could lose."""
    if wanted:
        newer = getattr(tower, "activation_checkpointing_enable", None)  # transformers 5.2x renamed it
        (newer or tower.gradient_checkpointing_enable)({"use_reentrant": False})


def make_vision(config: LargeVLAConfig) -> nn.Module:
    """Build the vision tower of a family."""
    return InternVLVision(config) if config.vlm.family == "internvl" else SmolVLMVision(config)
