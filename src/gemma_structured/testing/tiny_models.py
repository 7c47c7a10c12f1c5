"""Tiny models with random weights, of every architecture that the package knows.

They are the real classes of transformers with a few small layers, so that a test runs the code that
the full models run (sliding windows, experts, latent attention, tied weights), in milliseconds and
without a download.

```python
model, tokenizer = tiny_models.build("mixtral")
tiny_models.save("gemma4_multimodal", "a/folder")  # as a checkpoint from a hub
```
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from gemma_structured.decoding.quiet import quiet_transformers
from gemma_structured.testing.tiny_tokenizers import FAMILY_TOKENS, Vocab, build_tokenizer

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["TINY_ARCHITECTURES", "Architecture", "build", "build_config", "save"]

Architecture: TypeAlias = Literal[
    "gemma4", "gemma4_multimodal", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3"
]
"""The name of a tiny model."""

TINY_ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
"""Every tiny model that `build` knows."""

CONTEXT_LENGTH = 16_384
SLIDING_WINDOW = 32
HIDDEN_SIZE = 64


def build(
    architecture: Architecture, *, vocab: Vocab = "byte", seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Build a tiny model and its tokenizer in memory, in float32 on the CPU.

    The same arguments give the same weights in every process.

    Args:
        architecture: Which one.
        vocab: The tokens beside the family's control tokens.
        seed: Of the weights.
    """
    import torch  # noqa: PLC0415 - part of the extra `local`
    import transformers  # noqa: PLC0415 - part of the extra `local`

    tokenizer = build_tokenizer(_family(architecture), vocab)
    config = build_config(architecture, tokenizer)
    model_class = getattr(transformers, _MODEL_CLASSES[architecture])
    with torch.random.fork_rng(devices=[]):
        model: PreTrainedModel = model_class(config)
    _randomize(model, seed=zlib.crc32(f"{architecture}/{seed}".encode()))
    model.generation_config.eos_token_id = config.get_text_config().eos_token_id
    return model.eval(), tokenizer


def save(
    architecture: Architecture, folder: str | Path, *, vocab: Vocab = "byte", seed: int = 0
) -> Path:
    """Write a tiny model and its tokenizer as a checkpoint folder, as a hub would give it."""
    model, tokenizer = build(architecture, vocab=vocab, seed=seed)
    with quiet_transformers():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


_MODEL_CLASSES: dict[Architecture, str] = {
    "gemma4": "Gemma4ForCausalLM",
    "gemma4_multimodal": "Gemma4ForConditionalGeneration",
    "gemma3": "Gemma3ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "afmoe": "AfmoeForCausalLM",
    "minimax_m2": "MiniMaxM2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
}


def _family(architecture: Architecture) -> str:
    return architecture.removesuffix("_multimodal")


def build_config(
    architecture: Architecture, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedConfig:
    """The configuration of a tiny model for a tokenizer."""
    ends = FAMILY_TOKENS[_family(architecture)].ends
    shared: dict[str, object] = {
        # Rounded up as in the full checkpoints: the last rows belong to no token.
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": [tokenizer.convert_tokens_to_ids(token) for token in ends],
    }
    return _CONFIGS[architecture](shared)


def _gemma4(shared: dict[str, object]) -> PreTrainedConfig:
    """A small 26B A4B: experts beside a dense MLP, keys used as values in the full layers."""
    from transformers import Gemma4TextConfig  # noqa: PLC0415 - part of the extra `local`

    return Gemma4TextConfig(
        **shared,
        num_hidden_layers=6,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
        sliding_window=SLIDING_WINDOW,
        head_dim=16,
        global_head_dim=32,
        num_global_key_value_heads=1,
        attention_k_eq_v=True,
        enable_moe_block=True,
        num_experts=8,
        top_k_experts=2,
        moe_intermediate_size=32,
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=shared["vocab_size"],
        final_logit_softcapping=30.0,
        num_kv_shared_layers=0,
    )


def _gemma4_multimodal(shared: dict[str, object]) -> PreTrainedConfig:
    """The same text model inside a checkpoint that reads images."""
    from transformers import Gemma4Config, Gemma4VisionConfig  # noqa: PLC0415 - extra `local`

    vision = Gemma4VisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        patch_size=4,
        position_embedding_size=64,
    )
    # The image tokens stand in ids that the tokenizer does not use.
    unused = dict.fromkeys(
        ("boi_token_id", "eoi_token_id", "image_token_id", "video_token_id", "boa_token_id"), 60
    )
    return Gemma4Config(
        text_config=_gemma4(shared), vision_config=vision, audio_config=None, **unused
    )


def _gemma3(shared: dict[str, object]) -> PreTrainedConfig:
    from transformers import Gemma3TextConfig  # noqa: PLC0415 - part of the extra `local`

    return Gemma3TextConfig(
        **shared,
        num_hidden_layers=6,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
        sliding_window=SLIDING_WINDOW,
        head_dim=16,
        query_pre_attn_scalar=16,
    )


def _mixtral(shared: dict[str, object]) -> PreTrainedConfig:
    from transformers import MixtralConfig  # noqa: PLC0415 - part of the extra `local`

    return MixtralConfig(
        **shared, num_hidden_layers=3, head_dim=16, num_local_experts=8, num_experts_per_tok=2
    )


def _afmoe(shared: dict[str, object]) -> PreTrainedConfig:
    """A small Trinity Mini: 8 of its experts active, 1 shared."""
    from transformers import AfmoeConfig  # noqa: PLC0415 - part of the extra `local`

    return AfmoeConfig(
        **shared,
        num_hidden_layers=4,
        num_dense_layers=1,
        global_attn_every_n_layers=2,
        sliding_window=SLIDING_WINDOW,
        head_dim=16,
        moe_intermediate_size=32,
        num_experts=16,
        num_experts_per_tok=8,
        num_shared_experts=1,
        mup_enabled=True,
    )


def _minimax_m2(shared: dict[str, object]) -> PreTrainedConfig:
    from transformers import MiniMaxM2Config  # noqa: PLC0415 - part of the extra `local`

    return MiniMaxM2Config(
        **shared, num_hidden_layers=3, head_dim=16, num_local_experts=8, num_experts_per_tok=2
    )


def _deepseek_v3(shared: dict[str, object]) -> PreTrainedConfig:
    from transformers import DeepseekV3Config  # noqa: PLC0415 - part of the extra `local`

    return DeepseekV3Config(
        **{**shared, "num_key_value_heads": 4},
        num_hidden_layers=3,
        first_k_dense_replace=1,
        moe_intermediate_size=32,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        n_group=2,
        topk_group=1,
        q_lora_rank=32,
        kv_lora_rank=32,
        qk_rope_head_dim=16,
        qk_nope_head_dim=16,
        v_head_dim=32,  # as wide as a key, which PyTorch's fused CPU attention needs
    )


_CONFIGS = {
    "gemma4": _gemma4,
    "gemma4_multimodal": _gemma4_multimodal,
    "gemma3": _gemma3,
    "mixtral": _mixtral,
    "afmoe": _afmoe,
    "minimax_m2": _minimax_m2,
    "deepseek_v3": _deepseek_v3,
}


_FINAL_NORMS = ("model.norm.weight", "language_model.norm.weight")
"""The last norm before the head: its gain spreads the logits."""


def _randomize(model: nn.Module, *, seed: int) -> None:
    """Draw weights of a size that makes every layer count and the logits differ.

    transformers' own initialisation (0.02) would leave the logits of so small a model nearly equal.
    """
    import torch  # noqa: PLC0415 - part of the extra `local`

    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() < 2:  # noqa: PLR2004 - norms, scales and biases stay near their neutral value
            parameter.data.add_(0.1 * noise)
            if name.endswith(_FINAL_NORMS):
                parameter.data.add_(2.0)
        elif "embed" in name or "lm_head" in name:
            # Small beside what the layers add, or tied embeddings would only echo the last token.
            parameter.data.copy_(0.1 * noise)
        else:
            parameter.data.copy_(noise * parameter.shape[-1] ** -0.5)
