"""The network: images, an instruction, a state and a noisy action chunk in; a velocity out.

``VLAModel`` has small encoders of its own; ``LargeVLAModel`` (``agents.vla.large``) stands on a pretrained vision-language model.
"""

import torch
from torch import Tensor, nn

from agents.flow import euler, per_action, precondition, time_features
from agents.vla import tokens
from agents.vla.backbone import augment, make_stem, to_pixels
from agents.vla.config import VLAConfig
from agents.vla.mot import KeyValue, MoTModel

BYTE_WIDTH = 32
"""Width of one byte's embedding; neighbouring bytes are joined into one token."""


class TextEmbedding(nn.Module):
    """Instructions as tokens of a few neighbouring bytes."""

    def __init__(self, config: VLAConfig) -> None:
        """Build byte embedding and projection."""
        super().__init__()
        self.limit, self.group = config.text_bytes, config.bytes_per_token
        self.byte = nn.Embedding(tokens.VOCABULARY, BYTE_WIDTH)
        self.join = nn.Linear(BYTE_WIDTH * self.group, config.und_width)

    def forward(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return tokens (B, L, und_width) and their validity (B, L)."""
        codes = tokens.encode(texts, self.limit, self.group).to(self.byte.weight.device)
        grouped = codes.unflatten(1, (-1, self.group))
        return self.join(self.byte(grouped).flatten(2)), (grouped != tokens.PAD).any(-1)


class ActionEmbedding(nn.Module):
    """Noisy actions and the flow time, one token per step."""

    def __init__(self, config: VLAConfig) -> None:
        """Build the projections."""
        super().__init__()
        width = config.act_width
        self.action = nn.Linear(config.action_dim, width)
        self.step = nn.Parameter(0.02 * torch.randn(config.chunk, width))
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.width = width

    def forward(self, noisy: Tensor, time: Tensor) -> Tensor:
        """Map (N, T, A) at time (N,) or (N, T) to (N, T, act_width)."""
        moment = time_features(per_action(time, noisy)[..., 0], self.width).expand(-1, noisy.shape[1], -1)
        return self.mix(torch.cat([self.action(noisy) + self.step, moment], -1))


class VLAModel(nn.Module):
    """Prefix: tokens of each camera, then language. Suffix: one state token, then the action tokens."""

    def __init__(self, config: VLAConfig, *, pretrained: bool = True) -> None:
        """Build the network; ``pretrained=False`` leaves out stored trunk weights because a checkpoint brings them."""
        super().__init__()
        self.config = config
        self.stems = nn.ModuleList(make_stem(config, pretrained=pretrained) for _ in config.cameras[: 1 if config.share_stem else None])
        self.place = nn.Parameter(0.02 * torch.randn(len(config.cameras), config.image_tokens, config.und_width))
        self.text = TextEmbedding(config)
        width = config.act_width
        self.state = nn.Sequential(nn.Linear(config.state_dim, width), nn.SiLU(), nn.Linear(width, width))
        self.no_state = nn.Parameter(0.02 * torch.randn(width))
        self.action = ActionEmbedding(config)
        text_tokens = -(-config.text_bytes // config.bytes_per_token)
        self.mot = MoTModel(config, suffix_start=self.place.shape[0] * self.place.shape[1] + text_tokens)
        self.velocity = nn.Linear(width, config.action_dim)
        image_width = self.place.numel()
        self.closing = (
            nn.Sequential(nn.Linear(image_width + config.und_width, 128), nn.ReLU(), nn.Linear(128, 7)) if config.aux_weight else None
        )

    def adopt(self, other: "VLAModel") -> None:
        """Take over what is no weight; small models have nothing of the kind."""

    def embed_prefix(
        self, images: list[Tensor], texts: list[str], generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Encode what the policy sees and is told.

        Args:
            images: per camera, uint8 (B, H, W, 3) or float (B, 3, H, W) in [0, 1].
            texts: B instructions.
            generator: source of augmentation, used in training mode only.

        Returns:
            Tokens (B, P, und_width), validity (B, P), and the auxiliary prediction (B, 7) or None outside training.
        """
        seen = [self._encode(index, image, generator) for index, image in enumerate(images)]
        words, valid_words = self.text(texts)
        image_tokens = torch.cat([view + place for view, place in zip(seen, self.place, strict=True)], 1)
        valid = torch.cat([torch.ones(image_tokens.shape[:2], dtype=torch.bool, device=words.device), valid_words], 1)
        closing = None
        if self.closing is not None and self.training:
            share = valid_words[..., None].float()
            meaning = (words * share).sum(1) / share.sum(1)
            closing = self.closing(torch.cat([image_tokens.flatten(1), meaning], -1))
        return torch.cat([image_tokens, words], 1), valid, closing

    def _encode(self, index: int, image: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return one camera's tokens (B, image_tokens, und_width)."""
        pixels = to_pixels(image)
        if self.training:
            pixels = augment(pixels, self.config.shift_px, self.config.brightness, generator)
        return self.stems[0 if self.config.share_stem else index](pixels)

    def embed_state(self, state: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map the normalised state (B, S) to one token (B, 1, act_width), noisy and sometimes hidden in training."""
        if not self.training:
            return self.state(state)[:, None]
        noise = torch.randn(state.shape, generator=generator).to(state.device)
        hidden = torch.rand(len(state), 1, generator=generator).to(state.device) < self.config.state_dropout
        return torch.where(hidden, self.no_state, self.state(state + self.config.state_noise * noise))[:, None]

    def fill_cache(self, prefix: Tensor, valid: Tensor, state: Tensor) -> list[KeyValue]:
        """Run the understanding expert once; keep its keys and values. ``state`` (B, 1, act_width) counts where the prefix has it."""
        return self.mot(prefix, None, valid, early=self._early(state))[1]

    def _early(self, state: Tensor) -> tuple[Tensor, int] | None:  # noqa: ARG002
        """Return the state token and its place in the prefix, None where it opens the suffix."""
        return None

    def forward(
        self, prefix: Tensor | None, valid: Tensor, state: Tensor, noisy: Tensor, time: Tensor, *, cache: list[KeyValue] | None = None
    ) -> Tensor:
        """Return the velocity of each noisy chunk.

        Args:
            prefix: (B, P, und_width), or None with ``cache``.
            valid: (B, P).
            state: (B, 1, act_width) state token.
            noisy: (B * K, T, A) normalised noisy chunks, K per observation.
            time: (B * K,) flow times, or (B * K, T) one per action.
            cache: from ``fill_cache``.
        """
        suffix, early = self.action(noisy, time), self._early(state)
        if early is None:
            suffix = torch.cat([state.repeat_interleave(len(noisy) // len(state), 0), suffix], 1)
        features, _ = self.mot(prefix, suffix, valid, cache, early)
        assert features is not None
        velocity = self.velocity(features[:, -noisy.shape[1] :])
        if self.config.precondition:
            skip, scale = precondition(time)
            velocity = per_action(skip, noisy) * noisy + per_action(scale, noisy) * velocity
        return velocity

    def sample(
        self,
        images: list[Tensor],
        texts: list[str],
        state: Tensor,
        noise: Tensor,
        steps: int | None = None,
        *,
        prefix: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Denoise (B, T, A) noise into normalised action chunks; what the policy sees and is told is encoded once.

        ``prefix`` (B, D, A) are normalised first actions that are known, ``lengths`` (B,) how many of them count; see ``flow.euler``.
        """
        seen, valid, _ = self.embed_prefix(images, texts)
        token = self.embed_state(state)
        cache = self.fill_cache(seen, valid, token)
        return euler(lambda x, t: self(None, valid, token, x, t, cache=cache), noise, steps or self.config.flow_steps, prefix, lengths)
