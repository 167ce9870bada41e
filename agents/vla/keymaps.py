"""Names of weights: as checkpoints publish them, and as ``LargeVLAModel`` has them."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class KeyMap:
    """How the names of one kind of checkpoint become ours.

    Attributes:
        rules: (pattern, names); several names share one tensor in equal parts along its first dimension; no name drops it.
        fills: patterns of our names that the checkpoint must fill.
    """

    rules: tuple[tuple[str, tuple[str, ...]], ...]
    fills: tuple[str, ...]

    def translate(self, name: str) -> tuple[str, ...] | None:
        """Return our names for a published one: empty to drop it, None where no rule knows it."""
        for pattern, names in self.rules:
            match = re.fullmatch(pattern, name)
            if match:
                return tuple(match.expand(ours) for ours in names)
        return None

    def wants(self, name: str) -> bool:
        """Whether the checkpoint must bring our weight of this name."""
        return any(re.match(pattern, name) for pattern in self.fills)


_BACKBONE: Final = (r"vision\.", r"words\.", r"mot\.layers\.\d+\.und\.")

INTERNVL: Final = KeyMap(
    rules=(
        (r"(?:model\.)?vision_tower\.(.+)", (r"vision.tower.\1",)),
        (r"(?:model\.)?multi_modal_projector\.(.+)", (r"vision.projector.\1",)),
        (r"(?:model\.)?language_model\.(?:model\.)?embed_tokens\.weight", ("words.weight",)),
        (r"(?:model\.)?language_model\.(?:model\.)?layers\.(\d+)\.(.+)", (r"mot.layers.\1.und.\2",)),
        (r"(?:model\.)?language_model\.(?:model\.)?norm\.weight", ()),
        (r"(?:language_model\.)?lm_head\.weight", ()),
    ),
    fills=_BACKBONE,
)
"""InternVL3.5 in the ``-HF`` layout, as written before and since transformers 4.52. The head and the last norm are not needed."""

SMOLVLM: Final = KeyMap(
    rules=(
        (r"(?:model\.)?vision_model\.(.+)", (r"vision.tower.\1",)),
        (r"(?:model\.)?connector\.(.+)", (r"vision.connector.\1",)),
        (r"(?:model\.)?text_model\.embed_tokens\.weight", ("words.weight",)),
        (r"(?:model\.)?text_model\.layers\.(\d+)\.(.+)", (r"mot.layers.\1.und.\2",)),
        (r"(?:model\.)?text_model\.norm\.weight", ()),
        (r"lm_head\.weight", ()),
    ),
    fills=_BACKBONE,
)
"""SmolVLM and SmolVLM2."""

_VIT: Final = r"vit_model\.encoder\.layers\.(\d+)\."
_VIT_OURS: Final = r"vision.tower.encoder.layer.\1."
_LLM: Final = r"language_model\.model\.layers\.(\d+)\."
BEINGH: Final = KeyMap(
    rules=(
        (r"vit_model\.embeddings\.class_embedding", ("vision.tower.embeddings.cls_token",)),
        (r"vit_model\.embeddings\.position_embedding", ("vision.tower.embeddings.position_embeddings",)),
        (r"vit_model\.embeddings\.patch_embedding\.(.+)", (r"vision.tower.embeddings.patch_embeddings.projection.\1",)),
        (
            _VIT + r"attn\.qkv\.(weight|bias)",
            tuple(_VIT_OURS + rf"attention.{part}_proj.\2" for part in "qkv"),
        ),
        (_VIT + r"attn\.proj\.(.+)", (_VIT_OURS + r"attention.projection_layer.\2",)),
        (_VIT + r"norm1\.(.+)", (_VIT_OURS + r"layernorm_before.\2",)),
        (_VIT + r"norm2\.(.+)", (_VIT_OURS + r"layernorm_after.\2",)),
        (_VIT + r"ls([12])", (_VIT_OURS + r"lambda_\2",)),
        (_VIT + r"mlp\.(.+)", (_VIT_OURS + r"mlp.\2",)),
        (r"connector\.mlp1\.0\.(.+)", (r"vision.projector.layer_norm.\1",)),
        (r"connector\.mlp1\.1\.(.+)", (r"vision.projector.linear_1.\1",)),
        (r"connector\.mlp1\.3\.(.+)", (r"vision.projector.linear_2.\1",)),
        (r"language_model\.model\.embed_tokens\.weight", ("words.weight",)),
        (_LLM + r"self_attn\.([qkvo]_proj|[qk]_norm)_mot_gen\.weight", (r"mot.layers.\1.act.self_attn.\2.weight",)),
        (_LLM + r"mlp_mot_gen\.(.+)", (r"mot.layers.\1.act.mlp.\2",)),
        (_LLM + r"(input_layernorm|post_attention_layernorm)_mot_gen\.weight", (r"mot.layers.\1.act.\2.weight",)),
        (_LLM + r"(.+)", (r"mot.layers.\1.und.\2",)),
        (r"language_model\.model\.norm_mot_gen\.weight", ("mot.norm.weight",)),
        (r"language_model\.model\.norm\.weight", ()),
        (r"language_model\.lm_head\.weight", ()),
        (r"(?:proprio_encoder_robot|state_encoder)\.(.+)", (r"state.\1",)),
        (r"action_encoder\.(W[123]\..+)", (r"action.\1",)),
        (r"action_decoder\.(.+)", (r"velocity.\1",)),
        (r"(?:mpg|action_to_vlm_proj|vlm_to_action_proj|action_context_encoder|proprio_encoder)\..+", ()),
    ),
    fills=(*_BACKBONE, r"mot\.layers\.\d+\.act\.", r"mot\.norm\.", r"state\.", r"action\.", r"velocity\."),
)
"""Being-H0.5; its optional refinement (``mpg``) and its human-motion encoders are not used."""
