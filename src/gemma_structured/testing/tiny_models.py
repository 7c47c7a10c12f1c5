"""Tiny models with random weights, of every architecture that the package knows.

They are the real classes of transformers with a few small layers, so that a test runs the code that
the full models run (sliding windows, experts, latent attention, tied weights), in milliseconds and
without a download.

```python
model, tokenizer = tiny_models.build("mixtral")
folder = tiny_models.save("gemma4_multimodal", tmp_path)  # as a checkpoint from a hub
```
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma_structured.exceptions import InputError
from gemma_structured.testing.tiny_shapes import (
    CONTEXT_LENGTH,
    SHAPES,
    SHARED,
    SLIDING_WINDOW,
    TINY_ARCHITECTURES,
    VISION,
    Architecture,
)
from gemma_structured.testing.tiny_tokenizers import Vocab, build_tokenizer, family_tokens

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "CONTEXT_LENGTH",
    "SLIDING_WINDOW",
    "TINY_ARCHITECTURES",
    "Architecture",
    "build",
    "save",
]


def build(
    architecture: Architecture, *, vocab: Vocab = "byte", seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Build a tiny model and its tokenizer in memory, in float32 on the CPU.

    The same arguments give the same weights in every process.

    Args:
        architecture: Which one.
        vocab: The tokens beside the family's control tokens.
        seed: Of the weights.

    Raises:
        InputError: There is no such architecture or vocabulary.
    """
    if architecture not in SHAPES:
        msg = f"There is no tiny model {architecture!r}."
        raise InputError(msg, hint=f"Choose one of {', '.join(TINY_ARCHITECTURES)}.")
    import torch  # noqa: PLC0415 - part of the extra `local`
    import transformers  # noqa: PLC0415 - part of the extra `local`

    tokenizer = build_tokenizer(_family(architecture), vocab)
    config = _config(architecture, tokenizer)
    model_class: Any = getattr(transformers, SHAPES[architecture].model_class)
    with torch.random.fork_rng(devices=[]):
        model: PreTrainedModel = model_class(config)
    _randomize(model, seed=zlib.crc32(f"{architecture}/{seed}".encode()))
    model.eval()  # type: ignore[no-untyped-call]
    return model, tokenizer


def save(
    architecture: Architecture, folder: str | Path, *, vocab: Vocab = "byte", seed: int = 0
) -> Path:
    """Write a tiny model and its tokenizer as a checkpoint folder, as a hub would give it.

    Args:
        architecture: Which one.
        folder: Where to; made if need be.
        vocab: The tokens beside the family's control tokens.
        seed: Of the weights.

    Returns:
        The folder.

    Raises:
        InputError: There is no such architecture or vocabulary.
    """
    from gemma_structured.decoding.quiet import quiet_transformers  # noqa: PLC0415 - extra

    model, tokenizer = build(architecture, vocab=vocab, seed=seed)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return Path(folder)


def _family(architecture: Architecture) -> str:
    return architecture.removesuffix("_multimodal")


def _config(architecture: Architecture, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    import transformers  # noqa: PLC0415 - part of the extra `local`

    ends = family_tokens()[_family(architecture)].ends
    # Rounded up as in the full checkpoints, so that the last rows of logits belong to no token.
    vocab_size = -(-len(tokenizer) // 64) * 64
    settings: dict[str, Any] = {
        **SHARED,
        **SHAPES[architecture].settings,
        "vocab_size": vocab_size,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": [tokenizer.convert_tokens_to_ids(token) for token in ends],
    }
    if _family(architecture) == "gemma4":
        settings["vocab_size_per_layer_input"] = vocab_size
    config_class: Any = getattr(transformers, SHAPES[architecture].config_class)
    config: PreTrainedConfig = config_class(**settings)
    return _multimodal(config) if architecture == "gemma4_multimodal" else config


def _multimodal(text: PreTrainedConfig) -> PreTrainedConfig:
    """Put a Gemma 4 text model into a checkpoint that also reads images."""
    import transformers  # noqa: PLC0415 - part of the extra `local`

    whole: Any = transformers.Gemma4Config
    vision: Any = transformers.Gemma4VisionConfig
    kinds = ("boi", "eoi", "image", "video", "boa", "audio")
    unused = dict.fromkeys((f"{kind}_token_id" for kind in kinds), 60)  # in the byte vocabulary too
    config: PreTrainedConfig = whole(
        text_config=text, vision_config=vision(**VISION), audio_config=None, **unused
    )
    return config


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
        if parameter.dim() == 1:  # norms, scales and biases stay near their neutral value
            parameter.data.add_(0.1 * noise + (2.0 if name.endswith(_FINAL_NORMS) else 0.0))
        elif "embed" in name or "lm_head" in name:
            # Small beside what the layers add, or tied embeddings would only echo the last token.
            parameter.data.copy_(0.1 * noise)
        else:
            parameter.data.copy_(noise * parameter.shape[-1] ** -0.5)
