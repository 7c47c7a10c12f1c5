"""The embedded model: converted once into the user's cache, then loaded like any checkpoint.

It is Gemma 3 270M, a base model without a chat template: a small real model for the demo, the tests
and a first try, where the package is meant for Gemma 4.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gemma_structured.decoding import model_cache
from gemma_structured.decoding.embedded_package import GGUF_SHA256, read_package
from gemma_structured.decoding.gemma3_gguf import weight_bytes, write_checkpoint
from gemma_structured.decoding.gguf_file import GgufFile
from gemma_structured.decoding.load_errors import translate_errors
from gemma_structured.decoding.load_options import LoadOptions
from gemma_structured.decoding.loaded_model import LoadedModel, from_transformers
from gemma_structured.decoding.loader import load_weights
from gemma_structured.decoding.quiet import quiet_transformers

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

__all__ = ["EMBEDDED_NAME", "embedded_folder", "load_embedded"]

EMBEDDED_NAME = "embedded"
FORMAT = 1
"""Counts the changes of what is written into the cache: each has a folder of its own."""

ROOM_NEEDED = 1_200_000_000
"""Bytes on disk: float32 weights, the tokenizer, and some slack."""


def load_embedded(
    options: LoadOptions | None = None,
    cache_dir: str | Path | None = None,
    *,
    progress: bool = True,
) -> LoadedModel:
    """Load the packaged Gemma 3 270M, converting it first where the cache does not hold it.

    Args:
        options: Device, type and the like; those about the hub do not matter here.
        cache_dir: Where converted models are kept; by default the folder that the environment
            variable `GEMMA_STRUCTURED_CACHE` names, or the system's cache folder.
        progress: Show a bar on a terminal while converting.

    Raises:
        LoadError: A missing extra, another file than expected, no room or no permission in the
            cache, or what `load_model` raises.
    """
    return _load(embedded_folder(cache_dir, progress=progress), options or LoadOptions())


def embedded_folder(cache_dir: str | Path | None = None, *, progress: bool = True) -> Path:
    """The folder of the converted model, made where it is missing or damaged.

    Raises:
        LoadError: As `load_embedded`.
    """
    with translate_errors(EMBEDDED_NAME):
        root = model_cache.cache_root(cache_dir)
        folder = root / f"gemma-3-270m-{GGUF_SHA256[:12]}-v{FORMAT}"
        model_cache.ensure(folder, lambda new: _convert(new, progress=progress), size=ROOM_NEEDED)
        return folder


def _convert(folder: Path, *, progress: bool) -> None:
    from tqdm import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415 - extra `local`

    source = GgufFile(read_package())
    with tqdm(
        total=weight_bytes(source),
        desc="Preparing Gemma 3 270M (once)",
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None if progress else True,
    ) as bar:
        write_checkpoint(source, folder, bar.update)


def _load(folder: Path, options: LoadOptions) -> LoadedModel:
    """Read the vocabulary in a thread (Rust, outside the GIL) while PyTorch is imported."""
    with translate_errors(EMBEDDED_NAME), ThreadPoolExecutor(1) as pool:
        from tokenizers import Tokenizer  # noqa: PLC0415 - part of the extra `local`

        backend = pool.submit(Tokenizer.from_file, str(folder / "tokenizer.json"))
        with quiet_transformers():
            model = load_weights(folder, options, name=EMBEDDED_NAME)
            tokenizer = _tokenizer(folder, backend.result())
        return from_transformers(model, tokenizer, name=EMBEDDED_NAME)


def _tokenizer(folder: Path, backend: Tokenizer) -> PreTrainedTokenizerBase:
    """Take `tokenizer.json` as it is: `AutoTokenizer` takes several times as long for it."""
    from gemma_structured.decoding.shared_tokenizer import SharedTokenizer  # noqa: PLC0415 - extra

    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    settings.pop("tokenizer_class")
    return SharedTokenizer(backend=backend, **settings)
