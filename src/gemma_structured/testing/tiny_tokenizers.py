"""Tokenizers for the tiny models: each family's control tokens over bytes, or over Gemma's vocabulary.

A byte tokenizer has one token a byte (byte-level BPE without merges) beside the control tokens, so
that a random model writes any text; the other kind is the real vocabulary of the embedded model with
the family's control tokens put in place of unused ones, so that tokens are long and many.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

__all__ = ["FAMILY_TOKENS", "FamilyTokens", "Vocab", "build_tokenizer"]

Vocab: TypeAlias = Literal["byte", "gemma"]
"""Which tokens stand beside the control tokens: 256 bytes, or Gemma's 262,144."""

GEMMA_RESERVED_IDS = 256
"""Gemma keeps its control tokens below this id; bytes of a byte vocabulary start here."""

GEMMA_FIRST_UNUSED_ID = 7
"""Where the first of Gemma's `<unusedN>` tokens stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTokens:
    """The control tokens of one model family.

    Attributes:
        chat_template: The file in `chat_templates/` that renders a conversation.
        special: Control tokens that the tokenizer flags as special, by id.
        plain: Control tokens that it does not flag, as some families ship them.
        bos: The token that opens a prompt.
        pad: The token that fills a batch.
        unk: The token for what cannot be written, where the family has one.
        ends: The tokens that end a turn; the first is the tokenizer's end of sequence.
    """

    chat_template: str
    special: Mapping[str, int]
    plain: Mapping[str, int]
    bos: str
    pad: str
    unk: str | None
    ends: tuple[str, ...]

    @property
    def by_id(self) -> dict[int, str]:
        """Every control token by its id."""
        return {i: token for token, i in (*self.special.items(), *self.plain.items())}


def _numbered(*tokens: str, start: int = 0) -> dict[str, int]:
    return {token: i for i, token in enumerate(tokens, start)}


_GEMMA_BASE = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}

FAMILY_TOKENS: Mapping[str, FamilyTokens] = {
    "gemma4": FamilyTokens(
        chat_template="gemma4.jinja",
        special={
            **_GEMMA_BASE,
            "<|tool>": 46,
            "<tool|>": 47,
            "<|tool_call>": 48,
            "<tool_call|>": 49,
            "<|tool_response>": 50,
            "<tool_response|>": 51,
            '<|"|>': 52,
            "<|think|>": 98,
            "<|channel>": 100,
            "<channel|>": 101,
            "<|turn>": 105,
            "<turn|>": 106,
        },
        plain={},
        bos="<bos>",
        pad="<pad>",
        unk="<unk>",
        ends=("<eos>", "<turn|>", "<|tool_response>"),
    ),
    "gemma3": FamilyTokens(
        chat_template="gemma3.jinja",
        special={**_GEMMA_BASE, "<start_of_turn>": 105, "<end_of_turn>": 106},
        plain={},
        bos="<bos>",
        pad="<pad>",
        unk="<unk>",
        ends=("<eos>", "<end_of_turn>"),
    ),
    "mixtral": FamilyTokens(
        chat_template="mixtral.jinja",
        special=_numbered(
            "<unk>",
            "<s>",
            "</s>",
            "[INST]",
            "[/INST]",
            "[TOOL_CALLS]",
            "[AVAILABLE_TOOLS]",
            "[/AVAILABLE_TOOLS]",
            "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]",
        ),
        plain={},
        bos="<s>",
        pad="<unk>",
        unk="<unk>",
        ends=("</s>",),
    ),
    "afmoe": FamilyTokens(
        chat_template="afmoe.jinja",
        special=_numbered(
            "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
        ),
        plain=_numbered(
            "<think>",
            "</think>",
            "<tool_call>",
            "</tool_call>",
            "<tool_response>",
            "</tool_response>",
            start=5,
        ),
        bos="<|begin_of_text|>",
        pad="<|pad|>",
        unk=None,
        ends=("<|im_end|>", "<|end_of_text|>"),
    ),
    "minimax_m2": FamilyTokens(
        chat_template="minimax_m2.jinja",
        special=_numbered("]!p~[", "]~!b[", "[e~[", "]~b]", "]!d~["),
        plain=_numbered(
            "<think>", "</think>", "<minimax:tool_call>", "</minimax:tool_call>", start=5
        ),
        bos="]~!b[",
        pad="]!p~[",
        unk="]!d~[",
        ends=("[e~[",),
    ),
    "deepseek_v3": FamilyTokens(
        chat_template="deepseek_v3.jinja",
        special=_numbered("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"),
        plain=_numbered(
            "<｜User｜>",
            "<｜Assistant｜>",
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁calls▁end｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁call▁end｜>",
            "<｜tool▁outputs▁begin｜>",
            "<｜tool▁outputs▁end｜>",
            "<｜tool▁output▁begin｜>",
            "<｜tool▁output▁end｜>",
            "<｜tool▁sep｜>",
            start=3,
        ),
        bos="<｜begin▁of▁sentence｜>",
        pad="<｜▁pad▁｜>",
        unk=None,
        ends=("<｜end▁of▁sentence｜>",),
    ),
}
"""The control tokens of each family: Gemma's on their published ids, the others' in their order."""


def build_tokenizer(
    family: str, vocab: Vocab = "byte", *, gemma_tokenizer: Path | None = None
) -> PreTrainedTokenizerBase:
    """Build a family's tokenizer, its chat template included.

    Args:
        family: A key of `FAMILY_TOKENS`.
        vocab: The tokens beside the control tokens.
        gemma_tokenizer: The embedded model's `tokenizer.json`, where `vocab` is `"gemma"`; by
            default it is taken from the cache, and made there if need be.
    """
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - part of the extra `local`

    tokens = FAMILY_TOKENS[family]
    if vocab == "byte":
        backend = _byte_backend(tokens, reserved=_reserved_ids(family, tokens))
    else:
        backend = _gemma_backend(family, tokens, gemma_tokenizer)
    template = files("gemma_structured.testing") / "chat_templates" / tokens.chat_template
    named = {"bos_token": tokens.bos, "eos_token": tokens.ends[0], "pad_token": tokens.pad}
    if tokens.unk is not None:
        named["unk_token"] = tokens.unk
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=template.read_text(encoding="utf-8"),
        clean_up_tokenization_spaces=False,
        padding_side="left",
        **named,
    )


def _reserved_ids(family: str, tokens: FamilyTokens) -> int:
    """How many ids come before the bytes."""
    return GEMMA_RESERVED_IDS if family.startswith("gemma") else len(tokens.by_id)


def byte_characters() -> list[str]:
    """The character that stands for each byte in byte-level BPE.

    Printable bytes stand for themselves, the others for the characters from U+0100 on
    (https://huggingface.co/docs/tokenizers/api/pre-tokenizers, `ByteLevel`).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(hidden)) for byte in range(0x100)]


def _byte_backend(tokens: FamilyTokens, *, reserved: int) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415

    names = tokens.by_id
    ids = {names.get(i, f"<unused{i}>"): i for i in range(reserved)}
    bytes_ = {character: reserved + byte for byte, character in enumerate(byte_characters())}
    backend = Tokenizer(models.BPE(vocab={**ids, **bytes_}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens(
        [AddedToken(token, special=token not in tokens.plain, normalized=False) for token in ids]
    )
    return backend


def _gemma_backend(family: str, tokens: FamilyTokens, path: Path | None) -> Tokenizer:
    """Rename entries of the embedded model's vocabulary to the family's control tokens."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - part of the extra `local`

    if path is None:
        from gemma_structured.decoding.embedded import embedded_folder  # noqa: PLC0415

        path = embedded_folder() / "tokenizer.json"
    definition = json.loads(path.read_text(encoding="utf-8"))
    added = {entry["id"]: entry for entry in definition["added_tokens"]}
    vocabulary = definition["model"]["vocab"]
    offset = 0 if family.startswith("gemma") else GEMMA_FIRST_UNUSED_ID
    for i, token in tokens.by_id.items():
        entry = added[i + offset]
        del vocabulary[entry["content"]]
        vocabulary[token] = entry["id"]
        entry["content"] = token
        entry["special"] = token not in tokens.plain
    return Tokenizer.from_str(json.dumps(definition))
