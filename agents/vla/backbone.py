"""Image encoders: pixels of one camera to a few tokens, and the image augmentations of training."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.vla.config import VLAConfig
from agents.vla.pretrained import CHANNELS, EfficientNetTrunk

SHARPNESS: Final = 4.0
"""Factor on the feature maps in the spatial softmax; at 1 it starts almost uniform and localises more slowly."""


def to_pixels(images: Tensor) -> Tensor:
    """Turn uint8 (B, H, W, 3) or float (B, 3, H, W) in [0, 1] into float (B, 3, H, W) in [-1, 1]."""
    if images.dtype == torch.uint8:
        return images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1.0
    return images.contiguous(memory_format=torch.channels_last) * 2.0 - 1.0


def augment(pixels: Tensor, shift_px: int, brightness: float, generator: torch.Generator | None) -> Tensor:
    """Shift each image by up to ``shift_px`` pixels (edges repeat) and change its brightness and contrast by up to ``brightness``."""
    if shift_px:
        size = pixels.shape[-1]
        moves = torch.randint(0, 2 * shift_px + 1, (len(pixels), 2), generator=generator).tolist()
        padded = functional.pad(pixels, (shift_px,) * 4, mode="replicate")
        shifted = [image[:, y : y + size, x : x + size] for image, (y, x) in zip(padded, moves, strict=True)]
        pixels = torch.stack(shifted).contiguous(memory_format=torch.channels_last)
    if brightness:
        change = (2.0 * torch.rand(2, len(pixels), 1, 1, 1, generator=generator) - 1.0) * brightness
        change = change.to(pixels.device)
        pixels = pixels * (1.0 + change[0]) + change[1]
    return pixels


class ConvStack(nn.Sequential):
    """Three convolutions to stride 4, the last without activation: (B, 3, S, S) to (B, F, S / 4, S / 4)."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        """Build it in channels-last layout, the fast one on a CPU."""
        a, b, c = channels
        super().__init__(
            nn.Conv2d(3, a, 5, 2, 2), nn.ReLU(), nn.Conv2d(a, b, 3, 2, 1), nn.ReLU(), nn.Conv2d(b, c, 3, 1, 1)
        )  # fmt: skip
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias if layer.bias is not None else layer.weight)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


class SpatialSoftmaxStem(nn.Module):
    """Where each feature is seen: expected image coordinates and strength of every channel, mixed into a few tokens."""

    def __init__(self, config: VLAConfig) -> None:
        """Build the stem."""
        super().__init__()
        features = config.stem_channels[-1]
        self.stack = ConvStack(config.stem_channels)
        self.mix = nn.Linear(3 * features, config.image_tokens * config.und_width)
        self.shape = (config.image_tokens, config.und_width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, image_tokens, und_width)."""
        maps = self.stack(pixels)
        height, width = maps.shape[-2:]
        flat = maps.contiguous().flatten(2)
        attention = (SHARPNESS * flat).softmax(-1)
        y, x = torch.linspace(-1, 1, height, device=maps.device), torch.linspace(-1, 1, width, device=maps.device)
        grid = torch.stack([x.repeat(height), y.repeat_interleave(width)], dim=-1)
        points = attention @ grid
        strength = (attention * flat).sum(-1, keepdim=True)
        return self.mix(torch.cat([points, strength], -1).flatten(1)).unflatten(1, self.shape)


class GridStem(nn.Module):
    """Image regions: feature maps pooled to a square grid, one token per cell."""

    def __init__(self, config: VLAConfig, trunk: nn.Module, features: int) -> None:
        """Build the stem on a trunk that returns (B, features, h, w)."""
        super().__init__()
        self.trunk = trunk
        self.frozen = isinstance(trunk, EfficientNetTrunk) and not config.train_trunk
        for parameter in trunk.parameters():
            parameter.requires_grad_(not self.frozen)
        self.neck = nn.Conv2d(features, config.und_width, 3, 2, 1) if config.stem == "conv" else nn.Conv2d(features, config.und_width, 1)
        self.side = round(config.image_tokens**0.5)
        self.norm = nn.LayerNorm(config.und_width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, side * side, und_width)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.trunk(pixels)
        cells = functional.adaptive_avg_pool2d(functional.relu(self.neck(functional.relu(maps))), self.side)
        return self.norm(cells.flatten(2).transpose(1, 2))


def make_stem(config: VLAConfig, *, pretrained: bool = True) -> nn.Module:
    """Build the image encoder that the configuration names."""
    if config.stem == "spatial_softmax":
        return SpatialSoftmaxStem(config)
    if config.stem == "conv":
        return GridStem(config, ConvStack(config.stem_channels), config.stem_channels[-1])
    return GridStem(config, EfficientNetTrunk(pretrained=pretrained), CHANNELS)
