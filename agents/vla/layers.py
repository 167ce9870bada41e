"""Decoder layers of ``transformers`` in the sizes of an expert."""

from typing import Any, Literal

from torch import nn
from transformers import LlamaConfig, PreTrainedConfig, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from agents.vla.config import VLAConfig

Role = Literal["und", "act"]
"""Understanding or action expert."""


def expert_config(config: VLAConfig, role: Role) -> PreTrainedConfig:
    """Geometry of one expert in the words of transformers."""
    width = config.und_width if role == "und" else config.act_width
    sizes: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "attention_bias": False,
    }
    vlm = config.backbone
    if vlm is None:
        return Qwen3Config(intermediate_size=int(width * config.ffn_mult * 2 / 3) // 8 * 8, max_position_embeddings=512, **sizes)
    sizes |= {
        "intermediate_size": vlm.und_ffn if role == "und" else vlm.act_ffn,
        "rms_norm_eps": vlm.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": vlm.rope_theta},
    }
    return Qwen3Config(**sizes) if vlm.family == "internvl" else LlamaConfig(**sizes)


def decoder_layer(config: VLAConfig, role: Role, index: int) -> nn.Module:
    """Build one decoder layer of an expert with random weights."""
    geometry = expert_config(config, role)
    if isinstance(geometry, Qwen3Config):
        return Qwen3DecoderLayer(geometry, index)
    layer = LlamaDecoderLayer(geometry, index)  # type: ignore[arg-type]
    layer.self_attn.q_norm = layer.self_attn.k_norm = nn.Identity()  # Llama has no norm of queries and keys
    return layer


def keep_keys_and_values(layer: Any) -> None:
    """Remove what only a layer's output needs."""
    attention = layer.self_attn
    attention.q_proj = attention.q_norm = attention.o_proj = nn.Identity()
    layer.mlp = layer.post_attention_layernorm = nn.Identity()
