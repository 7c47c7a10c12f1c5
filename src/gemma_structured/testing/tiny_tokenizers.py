"""Tokenizers for the tiny models: a family's control tokens over bytes, or over Gemma's vocabulary.

A byte tokenizer has one token a byte (byte-level BPE without merges) beside the control tokens, so
that a random model writes any text. The other kind is the real vocabulary of the embedded model,
with the family's control tokens in place of unused ones, so that tokens are long and many.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

__all__ = ["FamilyTokens", "Vocab", "build_tokenizer", "family_tokens"]

Vocab: TypeAlias = Literal["byte", "gemma"]
"""Which tokens stand beside the control tokens: 256 bytes, or Gemma's 262,144."""

GEMMA_RESERVED_IDS = 256
"""Gemma keeps its control tokens below this id; the bytes of a byte vocabulary start here."""

GEMMA_FIRST_UNUSED_ID = 6
"""Where the first of Gemma's `<unusedN>` tokens stands."""

_PACKAGE = "gemma_structured.testing"


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTokens:
    """The control tokens of one model family: Gemma's on their published ids, others' in order.

    Attributes:
        chat_template: The file in `chat_templates/` that renders a conversation.
        special: Control tokens that the tokenizer flags as special, with their ids.
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
    def names(self) -> dict[int, str]:
        """Every control token by its id."""
        return {i: token for token, i in (*self.special.items(), *self.plain.items())}


@cache
def family_tokens() -> Mapping[str, FamilyTokens]:
    """The control tokens of each family."""
    text = (files(_PACKAGE) / "family_tokens.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = json.loads(text)
    for tokens in table.values():
        tokens["ends"] = tuple(tokens["ends"])
    return {family: FamilyTokens(**tokens) for family, tokens in table.items()}


def build_tokenizer(family: str, vocab: Vocab = "byte") -> PreTrainedTokenizerBase:
    """Build a family's tokenizer, its chat template included.

    Args:
        family: `gemma4`, `gemma3`, `functiongemma`, `mixtral`, `afmoe`, `minimax_m2` or
            `deepseek_v3`.
        vocab: The tokens beside the control tokens. `"gemma"` needs the embedded model, and
            converts it into the cache where that has not been done.

    Raises:
        InputError: There is no such family or vocabulary.
    """
    from gemma_structured.decoding.shared_tokenizer import SharedTokenizer  # noqa: PLC0415 - extra

    tokens = family_tokens().get(family)
    if tokens is None or vocab not in ("byte", "gemma"):
        msg = f"There is no tokenizer of the family {family!r} over {vocab!r}."
        raise InputError(msg, hint=f"Families: {', '.join(family_tokens())}.")
    gemma = "gemma" in family
    if vocab == "byte":
        backend = _byte_backend(tokens, reserved=GEMMA_RESERVED_IDS if gemma else len(tokens.names))
    else:
        backend = _gemma_backend(tokens, offset=0 if gemma else GEMMA_FIRST_UNUSED_ID)
    template = files(_PACKAGE) / "chat_templates" / tokens.chat_template
    named = {"bos_token": tokens.bos, "eos_token": tokens.ends[0], "pad_token": tokens.pad}
    if tokens.unk is not None:
        named["unk_token"] = tokens.unk
    return SharedTokenizer(
        backend=backend,
        chat_template=template.read_text(encoding="utf-8"),
        clean_up_tokenization_spaces=False,
        padding_side="left",
        **named,
    )


def _byte_backend(tokens: FamilyTokens, *, reserved: int) -> Tokenizer:
    """Control tokens and unused ones below `reserved`, then the 256 bytes."""
    from tokenizers import (  # noqa: PLC0415 - part of the extra `local`
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
    )

    ids = {tokens.names.get(i, f"<unused{i}>"): i for i in range(reserved)}
    characters = {character: reserved + byte for byte, character in enumerate(_byte_characters())}
    backend = Tokenizer(models.BPE(vocab={**ids, **characters}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens(
        [AddedToken(token, special=token not in tokens.plain, normalized=False) for token in ids]
    )
    return backend


def _byte_characters() -> list[str]:
    """The character that stands for each byte in byte-level BPE.

    Printable bytes stand for themselves, the others for the characters from U+0100 on
    (https://huggingface.co/docs/tokenizers/api/pre-tokenizers, `ByteLevel`).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(hidden)) for byte in range(0x100)]


def _gemma_backend(tokens: FamilyTokens, *, offset: int) -> Tokenizer:
    """Rename entries of the embedded model's vocabulary to the family's control tokens."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - part of the extra `local`

    from gemma_structured.decoding.embedded import embedded_folder  # noqa: PLC0415 - extra

    path = embedded_folder() / "tokenizer.json"
    definition = json.loads(path.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = definition["model"]["vocab"]
    added = {entry["id"]: entry for entry in definition["added_tokens"]}
    for i, token in tokens.names.items():
        entry = added[i + offset]
        del vocabulary[entry["content"]]
        vocabulary[token] = entry["id"]
        entry.update(content=token, special=token not in tokens.plain)
    definition["post_processor"] = None  # the chat template writes what opens a prompt
    return Tokenizer.from_str(json.dumps(definition))
