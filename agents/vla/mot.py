"""Mixture of transformers: two experts with their own weights share one attention per layer.

Image and language tokens run through the understanding expert, state and action tokens through the action expert. The layers of both
experts are ``transformers`` Qwen3 decoder layers; ``MoTLayer`` owns one of each and does the joint attention itself. Prefix tokens never
attend to suffix tokens, so their keys and values can be computed once and kept while the action tokens are refined.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RMSNorm, Qwen3RotaryEmbedding, apply_rotary_pos_emb

from agents.vla.config import VLAConfig

KeyValue = tuple[Tensor, Tensor]
Rotary = tuple[Tensor, Tensor]


def _expert(config: VLAConfig, width: int) -> Qwen3Config:
    """Geometry of one expert in the words of transformers."""
    return Qwen3Config(
        hidden_size=width,
        intermediate_size=int(width * config.ffn_mult * 2 / 3) // 8 * 8,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        attention_bias=False,
        max_position_embeddings=512,
    )


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


def _finish(layer: Any, hidden: Tensor, query: Tensor, kv: KeyValue, mask: Tensor | None) -> Tensor:
    """Attend, project and apply the feed-forward network, each with its residual."""
    mixed = functional.scaled_dot_product_attention(query, *kv, attn_mask=mask, enable_gqa=True)
    hidden = hidden + layer.self_attn.o_proj(mixed.transpose(1, 2).flatten(2))
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


class MoTLayer(nn.Module):
    """One decoder layer of each expert and the attention they share."""

    def __init__(self, config: VLAConfig, index: int) -> None:
        """Build layer ``index``; the last understanding layer only makes keys and values, the rest of it would go unused."""
        super().__init__()
        self.und: Any = Qwen3DecoderLayer(_expert(config, config.und_width), index)
        self.act: Any = Qwen3DecoderLayer(_expert(config, config.act_width), index)
        self.insulate = config.insulate
        self.last = index == config.layers - 1
        if self.last:
            attention = self.und.self_attn
            attention.q_proj = attention.q_norm = attention.o_proj = nn.Identity()
            self.und.mlp = self.und.post_attention_layernorm = nn.Identity()

    def prefix(self, hidden: Tensor, rotary: Rotary, mask: Tensor | None) -> tuple[Tensor, KeyValue]:
        """Run image and language tokens (B, P, D); return them and their keys and values."""
        query, key, value = _project(self.und, hidden, rotary, query=not self.last)
        if query is not None:
            hidden = _finish(self.und, hidden, query, (key, value), mask)
        return hidden, (key.detach(), value.detach()) if self.insulate else (key, value)

    def suffix(self, hidden: Tensor, rotary: Rotary, mask: Tensor | None, kv: KeyValue) -> Tensor:
        """Run state and action tokens (B * K, S, D) against the prefix keys and values (B, ...)."""
        query, key, value = _project(self.act, hidden, rotary)
        assert query is not None
        repeat = len(hidden) // len(kv[0])
        if repeat > 1:
            kv = (kv[0].repeat_interleave(repeat, 0), kv[1].repeat_interleave(repeat, 0))
        joint = (torch.cat([kv[0], key], 2), torch.cat([kv[1], value], 2))
        return _finish(self.act, hidden, query, joint, mask)

    def forward(
        self,
        und: Tensor | None,
        act: Tensor | None,
        rotary: tuple[Rotary, Rotary],
        mask: tuple[Tensor | None, Tensor | None],
        kv: KeyValue | None,
    ) -> tuple[Tensor | None, Tensor | None, KeyValue]:
        """Run either expert or both; pairs are (prefix, suffix), and ``kv`` replaces a prefix computed before."""
        if und is not None:
            und, kv = self.prefix(und, rotary[0], mask[0])
        if kv is None:
            raise ValueError("the action expert needs prefix tokens or their keys and values; got neither")
        if act is not None:
            act = self.suffix(act, rotary[1], mask[1], kv)
        return und, act, kv


class MoTModel(nn.Module):
    """A stack of ``MoTLayer`` with rotary positions and attention masks."""

    def __init__(self, config: VLAConfig, suffix_start: int) -> None:
        """Build the stack.

        Args:
            config: architecture.
            suffix_start: position of the first suffix token, the same whatever the length of the instruction.
        """
        super().__init__()
        self.config, self.suffix_start = config, suffix_start
        self.layers = nn.ModuleList(MoTLayer(config, index) for index in range(config.layers))
        self.norm = Qwen3RMSNorm(config.act_width)
        self.rotary = Qwen3RotaryEmbedding(_expert(config, config.und_width))

    def forward(
        self, und: Tensor | None, act: Tensor | None, valid: Tensor, cache: list[KeyValue] | None = None
    ) -> tuple[Tensor | None, list[KeyValue]]:
        """Run prefix, suffix or both.

        Args:
            und: (B, P, und_width) image and language tokens, or None when ``cache`` holds them.
            act: (B * K, S, act_width) state and action tokens, or None to fill the cache only.
            valid: (B, P) bool, False for padding.
            cache: keys and values of the prefix per layer, from an earlier call.

        Returns:
            Normalised action features (B * K, S, act_width) or None, and the cache.
        """
        tokens = und if und is not None else act
        assert tokens is not None
        prefix = torch.arange(valid.shape[1], device=tokens.device)[None]
        suffix = self.suffix_start + torch.arange(0 if act is None else act.shape[1], device=tokens.device)[None]
        rotary = (self.rotary(tokens, prefix), self.rotary(tokens, suffix))
        mask = (self._prefix_mask(valid), None if act is None else self._suffix_mask(valid, act))
        filled: list[KeyValue] = []
        for index, layer in enumerate(self.layers):
            arguments = (und, act, rotary, mask, None if cache is None else cache[index])
            recompute = self.config.grad_checkpoint and torch.is_grad_enabled()
            und, act, kv = checkpoint(layer, *arguments, use_reentrant=False) if recompute else layer(*arguments)
            filled.append(kv)
        return None if act is None else self.norm(act), filled

    def _prefix_mask(self, valid: Tensor) -> Tensor | None:
        """Return a (B, 1, P or 1, P) bool mask, None when every token may see every token."""
        causal = self.config.prefix_attention == "causal"
        if not causal and bool(valid.all()):
            return None
        mask = valid[:, None, None, :]
        length = valid.shape[1]
        return mask & torch.ones(length, length, dtype=torch.bool, device=valid.device).tril() if causal else mask

    def _suffix_mask(self, valid: Tensor, act: Tensor) -> Tensor | None:
        """Return a (B * K, 1, S, P + S) bool mask, None when every token may be seen."""
        causal = self.config.action_attention == "causal"
        if not causal and bool(valid.all()):
            return None
        length = act.shape[1]
        own = torch.ones(length, length, dtype=torch.bool, device=valid.device)
        prefix = valid.repeat_interleave(len(act) // len(valid), 0)[:, None, None, :].expand(-1, 1, length, -1)
        return torch.cat([prefix, (own.tril() if causal else own).expand(len(act), 1, -1, -1)], dim=-1)
