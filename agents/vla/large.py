"""A policy network on a pretrained vision-language model."""

from typing import cast

import torch
from torch import Tensor, nn

from agents.vla.backbone import augment, to_pixels
from agents.vla.beingh import BeingHAction, BeingHState, BeingHVelocity
from agents.vla.config import LargeVLAConfig, VLAConfig
from agents.vla.model import ActionEmbedding, VLAModel
from agents.vla.mot import MoTModel
from agents.vla.prompt import STATE, Prompt, Tokenizer, read_tokenizer, require_tokenizer
from agents.vla.vision import make_vision


class LargeVLAModel(VLAModel):
    """Prefix: the prompt of the backbone's layout. Suffix: state token (unless the prompt holds it), then the action tokens."""

    config: LargeVLAConfig

    def __init__(self, config: LargeVLAConfig, *, pretrained: bool = True) -> None:
        """Build the network; ``pretrained`` reads the weights that ``config.vlm.source`` names."""
        nn.Module.__init__(self)
        require_tokenizer(config.vlm)  # before anything large is made
        self.config = config
        width = config.act_width
        self.vision = make_vision(config)
        self.words = nn.Embedding(config.vlm.vocabulary, config.und_width)
        nn.init.normal_(self.words.weight, std=0.02)
        if config.vlm.layout == "beingh":
            self.state: nn.Module = BeingHState(config)
            self.action: nn.Module = BeingHAction(width)
            self.velocity: nn.Module = BeingHVelocity(width)
        else:
            self.state = nn.Sequential(nn.Linear(config.state_dim, width), nn.SiLU(), nn.Linear(width, width))
            self.action = ActionEmbedding(config)
            self.velocity = nn.Linear(width, config.action_dim)
        self.no_state = nn.Parameter(0.02 * torch.randn(width))
        self.mot = MoTModel(config, suffix_start=None)
        self.closing = None
        self._tokenizer: Tokenizer | None = None
        self._prompt: Prompt | None = None
        if pretrained and config.vlm.source:
            from agents.vla.sources import load_backbone

            load_backbone(self, config)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, read when it is first needed."""
        if self._tokenizer is None:
            self._tokenizer = read_tokenizer(self.config.vlm)
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._prompt = tokenizer, None

    def adopt(self, other: VLAModel) -> None:
        """Take over the tokenizer."""
        if isinstance(other, LargeVLAModel) and other._tokenizer is not None:
            self.tokenizer = other._tokenizer

    @property
    def prompt(self) -> Prompt:
        """The prompt in tokens."""
        if self._prompt is None:
            self._prompt = Prompt(self.config.vlm, self.tokenizer, len(self.config.cameras), self.config.chunk)
        return self._prompt

    def embed_prefix(
        self, images: list[Tensor], texts: list[str], generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Encode what the policy sees and is told; see ``VLAModel.embed_prefix``. There is no auxiliary prediction."""
        pixels = [to_pixels(image) for image in images]
        if self.training:
            pixels = [augment(view, self.config.shift_px, self.config.brightness, generator) for view in pixels]
        views = self.vision(torch.cat(pixels)).chunk(len(images))
        device = self.words.weight.device
        pieces = [
            views[part] if isinstance(part, int) else self.words(torch.tensor(part, device=device)).expand(len(texts), -1, -1)
            for part in self.prompt.before
            if part != STATE
        ]
        ids, known = self.prompt.instructions(texts)
        fixed = torch.ones(len(texts), sum(piece.shape[1] for piece in pieces), dtype=torch.bool)
        tokens = torch.cat([*pieces, self.words(ids.to(device))], 1)
        return tokens, torch.cat([fixed, known], 1).to(device), None

    def _early(self, state: Tensor) -> tuple[Tensor, int] | None:
        """Return the state token and its place in the prompt, None where it opens the suffix."""
        before = self.prompt.state_index(self.config.image_tokens)
        return None if before is None else (state, before)


def make_model(config: VLAConfig, *, pretrained: bool = True) -> VLAModel:
    """Build the network of a configuration."""
    if config.backbone is None:
        return VLAModel(config, pretrained=pretrained)
    return LargeVLAModel(cast(LargeVLAConfig, config), pretrained=pretrained)
