"""Write the tokenizer of a Gemma 3 GGUF file as `tokenizer.json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gemma_structured.decoding.gguf_file import GgufFile

__all__ = ["write_tokenizer"]

SPACE = "\u2581"
"""What stands for a space inside tokens."""

_CONTROL, _USER_DEFINED = 3, 4
"""llama.cpp's `tokenizer.ggml.token_type` of what is never and what may be written as text."""

_MISFLAGGED = frozenset({"[multimodal]", "<start_of_image>", "<end_of_image>"})
"""Control tokens that the file flags as user-defined, so that they could be written as text."""


def write_tokenizer(source: GgufFile, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`.

    Args:
        source: The GGUF file.
        folder: Where to.
    """
    tokens = [_respell(token) for token in _strings(source, "tokenizer.ggml.tokens")]
    types = cast("list[int]", source.metadata["tokenizer.ggml.token_type"])
    _write_json(folder / "tokenizer.json", _definition(tokens, types))
    named = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk", "mask")}
    _write_json(
        folder / "tokenizer_config.json",
        {
            **named,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "padding_side": "left",
            "model_max_length": source.metadata["gemma3.context_length"],
        },
    )


def _strings(source: GgufFile, key: str) -> list[str]:
    return cast("list[str]", source.metadata[key])


def _respell(token: str) -> str:
    """llama.cpp writes Gemma's tokens of several spaces with real ones."""
    return SPACE * len(token) if token.strip(" ") == "" else token


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _definition(tokens: Sequence[str], types: Sequence[int]) -> dict[str, object]:
    """A BPE with byte fallback in which U+2581 stands for a space (the format of `tokenizers`)."""
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(tokens, types),
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": _open_with_bos(vocabulary["<bos>"]),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": _merges(vocabulary),
        },
    }


def _added_tokens(tokens: Sequence[str], types: Sequence[int]) -> list[dict[str, object]]:
    """The tokens that text is searched for before any merge."""
    return [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == _CONTROL or token in _MISFLAGGED,
        }
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind == _CONTROL or (kind == _USER_DEFINED and not token.startswith(SPACE))
    ]


def _open_with_bos(bos: int) -> dict[str, object]:
    opening = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    first = {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [opening, first],
        "pair": [opening, first, {"SpecialToken": {"id": "<bos>", "type_id": 1}}, second],
        "special_tokens": {"<bos>": {"id": "<bos>", "ids": [bos], "tokens": ["<bos>"]}},
    }


def _merges(vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges that a vocabulary implies: every way to make a token of two, in order of its id.

    The file lists none, and the scores in it do not follow Gemma's order.
    """
    merges: list[tuple[str, str]] = []
    for token in vocabulary:
        for split in range(len(token) - 1, 0, -1):
            left, right = token[:split], token[split:]
            if left in vocabulary and right in vocabulary:
                merges.append((left, right))
    return merges
