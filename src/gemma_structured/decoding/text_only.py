"""Load the text model of a checkpoint that also reads images or sound, and nothing else of it.

`Gemma4ForCausalLM.from_pretrained` of such a checkpoint leaves every weight random, since the names
of the tensors carry one more level; `AutoModelForCausalLM` gives the whole conditional-generation
class. The renaming here takes the text model alone, with the same logits and less memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from transformers import PreTrainedConfig

__all__ = ["TextModel", "check_loading", "text_model"]

MAX_NAMED_TENSORS = 5
"""How many tensors an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """The text model inside a multimodal checkpoint.

    Attributes:
        class_name: Its class in transformers.
        key_mapping: Patterns of tensor names in the checkpoint → their names in that class.
        other_tensors: Tensors of the other modalities, which stay on disk.
    """

    class_name: str
    key_mapping: Mapping[str, str]
    other_tensors: str


_TEXT_MODELS: Mapping[str, TextModel] = {
    "gemma4": TextModel(
        class_name="Gemma4ForCausalLM",
        key_mapping={r"^model\.language_model\.": "model."},
        other_tensors=r"^model\.(vision_tower|audio_tower|embed_vision|embed_audio)\.",
    ),
    "gemma3": TextModel(
        class_name="Gemma3ForCausalLM",
        key_mapping={
            r"^(model\.language_model|language_model\.model)\.": "model.",
            r"^language_model\.lm_head\.": "lm_head.",
        },
        other_tensors=r"^(model\.)?(vision_tower|multi_modal_projector)\.",
    ),
}
"""By the `model_type` of the whole configuration."""


def text_model(config: PreTrainedConfig) -> TextModel | None:
    """The text model to load in place of the whole, where that is known to give the same logits."""
    return _TEXT_MODELS.get(config.model_type)


def check_loading(info: Mapping[str, Collection[object]], *, ignore: str | None, name: str) -> None:
    """Refuse a load that left a weight random or a tensor unused.

    transformers only logs this. Weights tied to others are not among the missing.

    Args:
        info: The `loading_info` of `from_pretrained`.
        ignore: A pattern of tensors that may stay unused.
        name: The model, for the error.

    Raises:
        LoadError: Missing, unexpected or misshapen weights, with their names.
    """
    unexpected = [
        str(key)
        for key in info["unexpected_keys"]
        if ignore is None or not re.search(ignore, str(key))
    ]
    found = {
        "missing": sorted(str(key) for key in info["missing_keys"]),
        "unexpected": sorted(unexpected),
        "of another shape": sorted(_mismatch(entry) for entry in info["mismatched_keys"]),
    }
    problems = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in found.items() if keys]
    if problems:
        raise LoadError(
            f"The weights of {name!r} do not fit its architecture: {'; '.join(problems)}.",
            hint="Download the checkpoint again, or check that its config.json belongs to it.",
            model_name=name,
        )


def _mismatch(entry: object) -> str:
    key, saved, expected = cast("tuple[str, tuple[int, ...], tuple[int, ...]]", entry)
    return f"{key}: {tuple(saved)} on disk, {tuple(expected)} expected"


def _some(keys: list[str]) -> str:
    more = len(keys) - MAX_NAMED_TENSORS
    named = ", ".join(keys[:MAX_NAMED_TENSORS])
    return f"{named} and {more} more" if more > 0 else named
