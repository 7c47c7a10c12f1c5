"""Copies of a tokenizer with other settings, made in milliseconds.

`encode_special_tokens`, truncation and padding are settings of the one object that the caller
holds, so that changing them there would change them for everyone. A copy through JSON costs seconds
for 262,144 tokens; here the model (vocabulary and merges, immutable) is shared and only the rest is
made anew.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from tokenizers import AddedToken, Tokenizer

from gemma_structured.grammar.token_bytes import component_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

__all__ = ["tokenizer_copy"]

_JsonObject = dict[str, object]


def tokenizer_copy(
    tokenizer: Tokenizer,
    added: Mapping[int, AddedToken],
    *,
    control: AbstractSet[int] | None = None,
) -> Tokenizer:
    """A copy that adds no space in front, no special tokens around, and neither truncates nor pads.

    Args:
        tokenizer: What to copy.
        added: Its added tokens, by id.
        control: Ids of the added tokens whose names are to be read as ordinary text; `None` reads
            every added token as that token.
    """
    copy = Tokenizer(tokenizer.model)
    shell = Tokenizer.from_str(json.dumps(_settings(tokenizer)))
    if shell.normalizer is not None:
        copy.normalizer = shell.normalizer
    if shell.pre_tokenizer is not None:
        copy.pre_tokenizer = shell.pre_tokenizer
    # In the order of their ids: those that the model does not know are numbered as they come.
    copy.add_tokens(
        [_flagged(added[i], control is not None and i in control) for i in sorted(added)]
    )
    copy.encode_special_tokens = control is not None
    return copy


def _flagged(token: AddedToken, special: bool) -> AddedToken:  # noqa: FBT001
    return AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=special,
    )


def _settings(tokenizer: Tokenizer) -> _JsonObject:
    """A `tokenizer.json` with an empty model and with no prefix space."""
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": _without_prefix(component_state(tokenizer.normalizer)),
        "pre_tokenizer": _without_prefix(component_state(tokenizer.pre_tokenizer)),
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }


def _without_prefix(state: _JsonObject | None) -> _JsonObject | None:
    if state is None or state["type"] == "Prepend":
        return None
    if state["type"] == "Sequence":
        key = "normalizers" if "normalizers" in state else "pretokenizers"
        inner = [_without_prefix(part) for part in cast("list[_JsonObject]", state[key])]
        return {"type": "Sequence", key: [part for part in inner if part is not None]}
    if state["type"] == "Metaspace":
        kept = {name: value for name, value in state.items() if name != "add_prefix_space"}
        return kept | {"prepend_scheme": "never"}
    if state["type"] == "ByteLevel":
        return state | {"add_prefix_space": False}
    return state
