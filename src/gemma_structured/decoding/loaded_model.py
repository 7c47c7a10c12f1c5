"""A model in memory with its tokenizer, and what the decode loop must know about the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gemma_structured.decoding.int8 import Int8Linear
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LoadedModel", "from_transformers", "set_experts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that is ready to decode.

    Attributes:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer, backed by the `tokenizers` library.
        name: What the user called it: a hub id, a folder, `"embedded"`.
        context_length: The most positions that the model has, prompt and answer together.
        end_ids: Every token that ends a turn; the tokenizer's own end of sequence comes first.
        device: Where its inputs go.
        dtype: The type of its weights, apart from those that are integers.
        precision: What it computes in: `"float32"`, `"bfloat16"`, `"float16"`, `"int8"`.
        model_type: The text model's `model_type`, such as `"gemma4_text"`.
        architecture: The class that runs, such as `"Gemma4ForCausalLM"`.
        draft_model: A model that guesses what this one will say, where there is one.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    context_length: int
    end_ids: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    precision: str
    model_type: str
    architecture: str
    draft_model: PreTrainedModel | None = None


def from_transformers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str | None = None
) -> LoadedModel:
    """Take a model and a tokenizer that the user already has.

    The model is put into evaluation mode; nothing else of it changes.

    Args:
        model: A causal language model of transformers, on its device.
        tokenizer: Its tokenizer.
        name: What to call it; by default the name in its configuration.

    Raises:
        LoadError: It cannot generate text, the tokenizer is not backed by `tokenizers`, or the two
            do not fit each other.
    """
    name = name or model.config.name_or_path or type(model).__name__
    if not model.can_generate() or model.config.is_encoder_decoder:
        msg = f"{type(model).__name__} is not a causal language model."
        raise LoadError(msg, hint="Load one with AutoModelForCausalLM.", model_name=name)
    check_tokenizer(tokenizer, name)
    config = model.config.get_text_config(decoder=True)
    if len(tokenizer) > config.vocab_size:
        raise LoadError(
            f"The tokenizer has {len(tokenizer)} tokens and the model {config.vocab_size} rows "
            "of logits.",
            hint="Use the tokenizer that belongs to the model.",
            model_name=name,
        )
    model.eval()  # type: ignore[no-untyped-call]
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=name,
        context_length=_context_length(config, tokenizer, name),
        end_ids=_end_ids(model, config, tokenizer, name),
        device=model.device,
        dtype=model.dtype,
        precision=_precision(model),
        model_type=config.model_type,
        architecture=type(model).__name__,
    )


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a tokenizer without a `tokenizers` backend: grammars read its vocabulary there."""
    if getattr(tokenizer, "is_fast", False):
        return
    raise LoadError(
        f"The tokenizer of {name!r} is a {type(tokenizer).__name__}, which has no tokenizer.json.",
        hint="Convert it to a PreTrainedTokenizerFast and save it beside the model.",
        model_name=name,
    )


def set_experts(
    model: PreTrainedModel, implementation: str | Mapping[str, str | None]
) -> Mapping[str, str | None]:
    """Choose how experts are computed, and give back the earlier choice (to be set again later).

    `grouped_mm` suits a prefill, and every step on a CPU; `batched_mm` suits single tokens on a
    GPU. A model without experts is left as it is.

    Args:
        model: The model.
        implementation: `eager`, `batched_mm`, `grouped_mm`, `deepgemm` or `sonicmoe`; or what an
            earlier call gave back.
    """
    before: dict[str, str | None] = model.get_experts_implementation()
    if isinstance(implementation, str):
        implementation = dict.fromkeys(before, implementation)
    wanted = dict(implementation)
    if has_experts(model.config) and wanted != before:
        model.set_experts_implementation(wanted)
    return before


def has_experts(config: PreTrainedConfig) -> bool:
    """Whether a model of this configuration has a mixture of experts."""
    text = config.get_text_config(decoder=True)
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    return any(getattr(text, name, None) for name in names)


def _precision(model: PreTrainedModel) -> str:
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        return "int8"
    return str(model.dtype).removeprefix("torch.")


def _context_length(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, name: str) -> int:
    for attribute in (
        "max_position_embeddings",
        "n_positions",
        "max_sequence_length",
        "seq_length",
    ):
        value = getattr(config, attribute, None)
        if isinstance(value, int) and value > 0:
            return value
    if tokenizer.model_max_length < 10**9:  # transformers writes 10**30 for "unknown"
        return int(tokenizer.model_max_length)
    raise LoadError(
        f"The configuration of {name!r} does not say how long its context is.",
        hint="Pass it: LoadOptions(model_kwargs={'max_position_embeddings': ...}).",
        model_name=name,
    )


def _end_ids(
    model: PreTrainedModel,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
) -> tuple[int, ...]:
    """Gather the ends of a turn from the three places that a checkpoint may name them in."""
    places: list[object] = [
        tokenizer.eos_token_id,
        getattr(model.generation_config, "eos_token_id", None),
        getattr(config, "eos_token_id", None),
    ]
    ids = [i for place in places for i in _as_ids(place) if 0 <= i < config.vocab_size]
    if not ids:
        raise LoadError(
            f"No token of {name!r} ends a turn: neither its generation configuration nor its "
            "tokenizer names one.",
            hint="Set tokenizer.eos_token or generation_config.eos_token_id.",
            model_name=name,
        )
    return tuple(dict.fromkeys(ids))


def _as_ids(value: object) -> list[int]:
    values = cast("list[object]", value) if isinstance(value, (list, tuple)) else [value]
    return [i for i in values if isinstance(i, int)]
