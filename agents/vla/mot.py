"""Mixture of transformers: two experts with their own weights share one attention per layer.

Image and language tokens run through the understanding expert, state and action tokens through the action expert. The layers of both
experts are ``transformers`` decoder layers (Qwen3 or Llama); ``MoTLayer`` owns one of each and does the joint attention itself. Prefix
tokens never attend to suffix tokens, so their keys and values can be computed once and kept while the action tokens are refined.
Being-H0.5's order puts the state token, which belongs to the action expert, into the prefix (``early``).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm, Qwen3RotaryEmbedding, apply_rotary_pos_emb

from agents.vla.config import VLAConfig
from agents.vla.layers import decoder_layer, expert_config, keep_keys_and_values

KeyValue = tuple[Tensor, Tensor]
Rotary = tuple[Tensor, Tensor]


def _project(layer: Any, hidden: Tensor, rotary: Rotary, *, query: bool = True) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return rotated query, key and value (B, heads, L, head_dim) of one expert."""
    attention = layer.self_attn
    shape = (*hidden.shape[:-1], -1, attention.head_dim)
    normed = layer.input_layernorm(hidden)
    key = attention.k_norm(attention.k_proj(normed).view(shape)).transpose(1, 2)
    value = attention.v_proj(normed).view(shape).transpose(1, 2)
    if not query:
        return None, apply_rotary_pos_emb(key, key, *rotary)[1], value
    q = attention.q_norm(attention.q_proj(normed).view(shape)).transpose(1, 2)
    q, key = apply_rotary_pos_emb(q, key, *rotary)
    return q, key, value


def _attend(query: Tensor, kv: KeyValue, mask: Tensor | None) -> Tensor:
    """Return (B, L, heads * head_dim)."""
    mixed = functional.scaled_dot_product_attention(query, *kv, attn_mask=mask, enable_gqa=True)
    return mixed.transpose(1, 2).flatten(2)


def _finish(layer: Any, hidden: Tensor, mixed: Tensor) -> Tensor:
    """Project what attention gathered and apply the feed-forward network, each with its residual."""
    hidden = hidden + layer.self_attn.o_proj(mixed)
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


class MoTLayer(nn.Module):
    """One decoder layer of each expert and the attention they share."""

    def __init__(self, config: VLAConfig, index: int) -> None:
        """Build layer ``index``; the last understanding layer only makes keys and values, the rest of it would go unused."""
        super().__init__()
        self.und: Any = decoder_layer(config, "und", index)
        self.act: Any = decoder_layer(config, "act", index)
        self.insulate = config.insulate
        self.last = index == config.layers - 1
        if self.last:
            keep_keys_and_values(self.und)

    def prefix(
        self, hidden: Tensor, early: Tensor | None, rotary: tuple[Rotary, ...], mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None, KeyValue]:
        """Run image and language tokens (B, P, D), and ``early`` (B, E, A) beside them; return them and their keys and values."""
        query, key, value = _project(self.und, hidden, rotary[0], query=not self.last)
        kv = (key.detach(), value.detach()) if self.insulate else (key, value)
        if early is None:
            if query is not None:
                hidden = _finish(self.und, hidden, _attend(query, (key, value), mask))
            return hidden, None, kv
        q, k, v = _project(self.act, early, rotary[2], query=not self.last)
        kept = (torch.cat([kv[0], k], 2), torch.cat([kv[1], v], 2))  # what the action expert sees, insulated if it is to be
        if query is not None and q is not None:
            assert mask is not None, "early tokens need a causal mask"
            joint, split = (torch.cat([key, k], 2), torch.cat([value, v], 2)), hidden.shape[1]
            hidden = _finish(self.und, hidden, _attend(query, joint, mask[..., :split, :]))
            early = _finish(self.act, early, _attend(q, kept, mask[..., split:, :]))
        return hidden, early, kept

    def suffix(self, hidden: Tensor, rotary: Rotary, mask: Tensor | None, kv: KeyValue) -> Tensor:
        """Run state and action tokens (B * K, S, D) against the prefix keys and values (B, ...)."""
        query, key, value = _project(self.act, hidden, rotary)
        assert query is not None
        repeat = len(hidden) // len(kv[0])
        if repeat > 1:
            kv = (kv[0].repeat_interleave(repeat, 0), kv[1].repeat_interleave(repeat, 0))
        joint = (torch.cat([kv[0], key], 2), torch.cat([kv[1], value], 2))
        return _finish(self.act, hidden, _attend(query, joint, mask))

    def forward(
        self,
        und: Tensor | None,
        act: Tensor | None,
        rotary: tuple[Rotary, ...],
        mask: tuple[Tensor | None, Tensor | None],
        kv: KeyValue | None,
        early: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None, KeyValue, Tensor | None]:
        """Run either expert or both; ``rotary`` is of (prefix, suffix, early), ``mask`` of (prefix, suffix); ``kv`` replaces a prefix."""
        if und is not None:
            und, early, kv = self.prefix(und, early, rotary, mask[0])
        if kv is None:
            raise ValueError("the action expert needs prefix tokens or their keys and values; got neither")
        if act is not None:
            act = self.suffix(act, rotary[1], mask[1], kv)
        return und, act, kv, early


class MoTModel(nn.Module):
    """A stack of ``MoTLayer`` with rotary positions and attention masks."""

    def __init__(self, config: VLAConfig, suffix_start: int | None) -> None:
        """Build the stack.

        Args:
            config: architecture.
            suffix_start: position of the first suffix token, the same whatever the length of the instruction; None lets the suffix follow
                the last valid prefix token, as a pretrained language model expects.
        """
        super().__init__()
        self.config, self.suffix_start = config, suffix_start
        self.layers = nn.ModuleList(MoTLayer(config, index) for index in range(config.layers))
        self.norm = Qwen3RMSNorm(config.act_width, eps=config.backbone.norm_eps if config.backbone else 1e-6)
        self.rotary = Qwen3RotaryEmbedding(expert_config(config, "und"))  # type: ignore[arg-type]  # Llama's is the same

    def forward(
        self,
        und: Tensor | None,
        act: Tensor | None,
        valid: Tensor,
        cache: list[KeyValue] | None = None,
        early: tuple[Tensor, int] | None = None,
    ) -> tuple[Tensor | None, list[KeyValue]]:
        """Run prefix, suffix or both.

        Args:
            und: (B, P, und_width) image and language tokens, or None when ``cache`` holds them.
            act: (B * K, S, act_width) state and action tokens, or None to fill the cache only.
            valid: (B, P) bool, False for padding.
            cache: keys and values of the prefix per layer, from an earlier call.
            early: state tokens (B, E, act_width) that belong to the prefix, and how many prefix tokens come before them; needed with
                ``cache`` too, for the positions.

        Returns:
            Normalised action features (B * K, S, act_width) or None, and the cache.
        """
        tokens = und if und is not None else act
        assert tokens is not None
        order = _order(valid, early)
        suffix = torch.arange(0 if act is None else act.shape[1], device=tokens.device)[None]
        if self.suffix_start is not None:
            suffix = self.suffix_start + suffix
        else:
            suffix = (valid.sum(1) + order.shape[1] - valid.shape[1])[:, None] + suffix
            suffix = suffix if act is None else suffix.repeat_interleave(len(act) // len(valid), 0)
        prefix, extra = order[:, : valid.shape[1]], order[:, valid.shape[1] :]
        rotary = tuple(self.rotary(tokens, where) for where in (prefix, suffix, *([extra] if early else [])))
        mask = (self._prefix_mask(valid, order), None if act is None else self._suffix_mask(valid, act, extra.shape[1]))
        filled: list[KeyValue] = []
        state = None if early is None or und is None else early[0]
        for index, layer in enumerate(self.layers):
            arguments = (und, act, rotary, mask, None if cache is None else cache[index], state)
            recompute = self.config.grad_checkpoint and torch.is_grad_enabled()
            und, act, kv, state = checkpoint(layer, *arguments, use_reentrant=False) if recompute else layer(*arguments)
            filled.append(kv)
        return None if act is None else self.norm(act), filled

    def _unpadded(self, valid: Tensor) -> bool:
        """Whether nothing is padding; a large model does not ask, since the answer would make the GPU wait."""
        return self.suffix_start is not None and bool(valid.all())

    def _prefix_mask(self, valid: Tensor, order: Tensor) -> Tensor | None:
        """Return a (B, 1, P + E or 1, P + E) bool mask, None when every token may see every token."""
        causal = self.config.prefix_attention == "causal"
        if not causal and self._unpadded(valid):
            return None
        known = functional.pad(valid, (0, order.shape[1] - valid.shape[1]), value=True)
        mask = known[:, None, None, :]
        return mask & (order[:, None, :, None] >= order[:, None, None, :]) if causal else mask

    def _suffix_mask(self, valid: Tensor, act: Tensor, early: int) -> Tensor | None:
        """Return a (B * K, 1, S, P + E + S) bool mask, None when every token may be seen."""
        causal = self.config.action_attention == "causal"
        if not causal and self._unpadded(valid):
            return None
        length = act.shape[1]
        own = torch.ones(length, length, dtype=torch.bool, device=valid.device)
        known = functional.pad(valid, (0, early), value=True)
        prefix = known.repeat_interleave(len(act) // len(valid), 0)[:, None, None, :].expand(-1, 1, length, -1)
        return torch.cat([prefix, (own.tril() if causal else own).expand(len(act), 1, -1, -1)], dim=-1)


def _order(valid: Tensor, early: tuple[Tensor, int] | None) -> Tensor:
    """Return positions (1, P + E): prefix tokens in their order, with a gap where the early tokens stand, then the early tokens."""
    prefix = torch.arange(valid.shape[1], device=valid.device)[None]
    if early is None:
        return prefix
    count, before = early[0].shape[1], early[1]
    own = before + torch.arange(count, device=valid.device)[None]
    return torch.cat([prefix + count * (prefix >= before), own], 1)
