"""Load a checkpoint: a folder or a hub id becomes a `LoadedModel`, or `LoadError` says why not."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Any

from gemma_structured.decoding.checkpoint import local_folder, measure_weights
from gemma_structured.decoding.hub import download
from gemma_structured.decoding.load_errors import missing_extra, translate_errors
from gemma_structured.decoding.load_options import LoadOptions
from gemma_structured.decoding.loaded_model import (
    LoadedModel,
    check_tokenizer,
    from_transformers,
    set_experts,
)
from gemma_structured.decoding.placement import place
from gemma_structured.decoding.precision import with_precision
from gemma_structured.decoding.quiet import quiet_transformers
from gemma_structured.decoding.text_only import check_loading, text_model
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "LoadOptions",
    "LoadedModel",
    "checkpoint_folder",
    "from_transformers",
    "load_model",
    "load_weights",
    "set_experts",
]


_GENERATING_HEADS = ("ForCausalLM", "ForConditionalGeneration")


def load_model(source: str | Path, options: LoadOptions | None = None) -> LoadedModel:
    """Load a model and its tokenizer.

    Of a multimodal Gemma checkpoint only the text model is read.

    Args:
        source: A folder, or a hub id such as `"google/gemma-4-26B-A4B-it"`.
        options: Device, type, revision and the like.

    Raises:
        LoadError: A missing extra, folder, file, permission or memory; weights that do not fit the
            architecture; a model that does not generate text; a tokenizer that is not fast.
    """
    options = options or LoadOptions()
    name = str(source)
    with translate_errors(name, token=options.token):
        folder = checkpoint_folder(source, options)
        with quiet_transformers():
            tokenizer = _tokenizer(folder, options, name)
            model = load_weights(folder, options, name=name)
        return from_transformers(model, tokenizer, name=name)


def checkpoint_folder(source: str | Path, options: LoadOptions) -> Path:
    """Where a checkpoint lies: the folder itself, or in the hub's cache, downloaded if need be.

    Raises:
        LoadError: It is not there, or does not fit where it is to run.
    """
    name = str(source)
    return local_folder(source) or download(
        name, options, lambda at, size: place(at, size, options, name)
    )


def _config(folder: Path, options: LoadOptions) -> PreTrainedConfig:
    from transformers import AutoConfig  # noqa: PLC0415 - part of the extra `local`

    config: PreTrainedConfig = AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=options.trust_remote_code
    )
    return config


def _tokenizer(folder: Path, options: LoadOptions, name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer  # noqa: PLC0415 - part of the extra `local`

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=options.trust_remote_code,
            clean_up_tokenization_spaces=False,
        )
    except (OSError, ValueError) as error:
        if (folder / "tokenizer.json").is_file():
            raise
        raise LoadError(
            f"{name!r} comes without a tokenizer.json, and none can be made from its other files.",
            hint="Convert its tokenizer to a PreTrainedTokenizerFast and save it beside the model.",
            model_name=name,
        ) from error
    check_tokenizer(tokenizer, name)
    return tokenizer


def load_weights(folder: Path, options: LoadOptions, *, name: str) -> PreTrainedModel:
    """Load the model of a checkpoint folder; of a multimodal Gemma, its text model.

    Raises:
        LoadError: It generates no text, does not fit into memory, or its weights do not fit it.
    """
    import transformers  # noqa: PLC0415 - part of the extra `local`

    config = _config(folder, options)
    text = text_model(config)
    if text is None:
        _check_kind(config, options, name)
    else:
        config = config.get_text_config(decoder=True)
    arguments = _arguments(folder, options, name)
    loader: Any = transformers.AutoModelForCausalLM
    if text is not None:
        loader = getattr(transformers, text.class_name)
        arguments["key_mapping"] = dict(text.key_mapping)
    model: PreTrainedModel
    model, info = loader.from_pretrained(
        folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **arguments
    )
    check_loading(info, ignore=None if text is None else text.other_tensors, name=name)
    return with_precision(model, options.precision, name)


def _check_kind(config: PreTrainedConfig, options: LoadOptions, name: str) -> None:
    """Refuse encoders, classifiers and the like; `AutoModelForCausalLM` would take some of them."""
    import transformers  # noqa: PLC0415 - part of the extra `local`

    own_code = options.trust_remote_code and "AutoModelForCausalLM" in getattr(
        config, "auto_map", {}
    )
    known = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    heads = [re.search(r"For[A-Z]\w+$", str(made)) for made in config.architectures or ()]
    other = [head[0] for head in heads if head and not head[0].startswith(_GENERATING_HEADS)]
    if (known or own_code) and not other:
        return
    kind = f"{config.model_type!r} model" + (f" {other[0]}" if other else "")
    raise LoadError(
        f"{name!r} is a {kind}, which does not generate text.",
        hint="Choose a causal language model; one with code of its own needs "
        "trust_remote_code=True.",
        model_name=name,
    )


def _arguments(folder: Path, options: LoadOptions, name: str) -> dict[str, Any]:
    """The arguments of `from_pretrained`, device and type chosen and the memory checked."""
    placement = place(folder, measure_weights(folder), options, name)
    on_one_device = None if placement.device.type == "cpu" else {"": str(placement.device)}
    device_map = options.device_map or on_one_device
    if device_map is not None and importlib.util.find_spec("accelerate") is None:
        raise missing_extra("accelerate")
    experts = options.experts_implementation
    arguments: dict[str, Any] = {
        "device_map": device_map,
        "experts_implementation": None if experts == "auto" else experts,
        "attn_implementation": options.attn_implementation,
        "quantization_config": options.quantization_config,
    }
    return {
        **{name: value for name, value in arguments.items() if value is not None},
        "dtype": placement.dtype,
        "local_files_only": True,
        "trust_remote_code": options.trust_remote_code,
        **options.model_kwargs,
    }
