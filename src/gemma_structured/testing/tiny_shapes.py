"""The classes and sizes of the tiny models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CONTEXT_LENGTH",
    "SHAPES",
    "SHARED",
    "SLIDING_WINDOW",
    "TINY_ARCHITECTURES",
    "VISION",
    "Architecture",
    "Shape",
]

Architecture: TypeAlias = Literal[
    "gemma4", "gemma4_multimodal", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3"
]
"""The name of a tiny model."""

TINY_ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
"""Every tiny model that `build` knows."""

CONTEXT_LENGTH = 16_384
"""How many positions each of them has."""

SLIDING_WINDOW = 32
"""The window of those with sliding layers: short, so that tests pass it soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The classes of a tiny model, and its configuration where it differs from `SHARED`."""

    model_class: str
    config_class: str
    settings: Mapping[str, object]


SHARED: Mapping[str, object] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT_LENGTH,
}

_SLIDING: Mapping[str, object] = {
    "num_hidden_layers": 6,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    "sliding_window": SLIDING_WINDOW,
    "head_dim": 16,
}

_GEMMA4 = Shape(
    model_class="Gemma4ForCausalLM",
    config_class="Gemma4TextConfig",
    settings={
        # As in the 26B A4B: experts beside a dense MLP, full layers whose keys are their values.
        **_SLIDING,
        "global_head_dim": 32,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "enable_moe_block": True,
        "num_experts": 8,
        "top_k_experts": 2,
        "moe_intermediate_size": 32,
        "hidden_size_per_layer_input": 0,
        "num_kv_shared_layers": 0,
        "final_logit_softcapping": 30.0,
    },
)

VISION: Mapping[str, object] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "patch_size": 4,
    "position_embedding_size": 64,
}

SHAPES: Mapping[Architecture, Shape] = {
    "gemma4": _GEMMA4,
    "gemma4_multimodal": Shape(
        model_class="Gemma4ForConditionalGeneration",
        config_class="Gemma4TextConfig",
        settings=_GEMMA4.settings,
    ),
    "gemma3": Shape(
        model_class="Gemma3ForCausalLM",
        config_class="Gemma3TextConfig",
        settings={**_SLIDING, "query_pre_attn_scalar": 16},
    ),
    "mixtral": Shape(
        model_class="MixtralForCausalLM",
        config_class="MixtralConfig",
        settings={
            "num_hidden_layers": 3,
            "head_dim": 16,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
        },
    ),
    "afmoe": Shape(
        model_class="AfmoeForCausalLM",
        config_class="AfmoeConfig",
        settings={
            # As in Trinity Mini: 8 experts active, 1 shared, the first layer dense.
            "num_hidden_layers": 4,
            "num_dense_layers": 1,
            "global_attn_every_n_layers": 2,
            "sliding_window": SLIDING_WINDOW,
            "head_dim": 16,
            "moe_intermediate_size": 32,
            "num_experts": 16,
            "num_experts_per_tok": 8,
            "num_shared_experts": 1,
            "mup_enabled": True,
        },
    ),
    "minimax_m2": Shape(
        model_class="MiniMaxM2ForCausalLM",
        config_class="MiniMaxM2Config",
        settings={
            "num_hidden_layers": 3,
            "head_dim": 16,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
        },
    ),
    "deepseek_v3": Shape(
        model_class="DeepseekV3ForCausalLM",
        config_class="DeepseekV3Config",
        settings={
            "num_hidden_layers": 3,
            "num_key_value_heads": 4,
            "first_k_dense_replace": 1,
            "moe_intermediate_size": 32,
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "q_lora_rank": 32,
            "kv_lora_rank": 32,
            "qk_rope_head_dim": 16,
            "qk_nope_head_dim": 16,
            "v_head_dim": 32,  # as wide as a key, which PyTorch's fused CPU attention needs
        },
    ),
}
