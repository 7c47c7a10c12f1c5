"""The bytes that each token of a Hugging Face tokenizer stands for.

They are read from the tokenizer's own decoder, not guessed from how its tokens look: `▁` is a space
and `<0x0A>` a line feed only where the decoder says so. Understood are the decoders of
SentencePiece-like BPE (`Replace` or `Metaspace`, `ByteFallback`, `Fuse`, `Strip`: Gemma, Mixtral)
and of byte-level BPE (`ByteLevel`: DeepSeek, MiniMax, Trinity).
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from gemma_structured.exceptions import GrammarError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tokenizers import Tokenizer

__all__ = ["Component", "TokenToBytes", "component_state", "token_to_bytes"]

TokenToBytes: TypeAlias = "Callable[[str, bool], bytes]"
"""A token's name, and whether it is an added token, to the bytes it stands for."""


class Component(Protocol):
    """A normalizer, pre-tokenizer or decoder. Only when pickled do they show their settings."""

    def __getstate__(self) -> bytes:
        """The settings as JSON."""
        ...


_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def component_state(component: Component | None) -> dict[str, object] | None:
    """The settings of a part of a tokenizer, as they are in `tokenizer.json`."""
    if component is None:
        return None
    return cast("dict[str, object]", json.loads(component.__getstate__()))


def token_to_bytes(tokenizer: Tokenizer) -> TokenToBytes:
    """How the tokenizer's decoder spells a token.

    Raises:
        GrammarError: The tokenizer has no decoder, or one that is not understood.
    """
    state = component_state(tokenizer.decoder)
    steps = list(_flatten(state))
    kinds = [str(step["type"]) for step in steps]
    unknown = [kind for kind in kinds if kind not in _KNOWN]
    if unknown or not kinds:
        found = f"the decoder {unknown[0]}" if unknown else "no decoder"
        raise GrammarError(
            f"This tokenizer has {found}, so that what its tokens stand for is not known.",
            hint=f"Decoders that work are: {', '.join(sorted(_KNOWN))}.",
        )
    if "ByteLevel" in kinds:
        return _byte_level
    replacements = [pair for step in steps for pair in _replacement(step)]
    return _sentencepiece(replacements, byte_fallback="ByteFallback" in kinds)


_KNOWN = frozenset({"ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Strip"})


def _flatten(state: Mapping[str, object] | None) -> Iterable[Mapping[str, object]]:
    if state is None:
        return
    if state["type"] == "Sequence":
        for inner in cast("list[dict[str, object]]", state["decoders"]):
            yield from _flatten(inner)
    else:
        yield state


def _replacement(step: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    if step["type"] == "Metaspace":
        yield str(step["replacement"]), " "
    elif step["type"] == "Replace":
        pattern = cast("dict[str, str]", step["pattern"])
        if "String" not in pattern:
            raise GrammarError("This tokenizer's decoder replaces by a regular expression.")
        yield pattern["String"], str(step["content"])


def _sentencepiece(replacements: list[tuple[str, str]], *, byte_fallback: bool) -> TokenToBytes:
    def spell(token: str, added: bool) -> bytes:  # noqa: FBT001
        if byte_fallback and not added and (match := _BYTE_TOKEN.fullmatch(token)):
            return bytes.fromhex(match[1])
        for old, new in replacements:
            token = token.replace(old, new)
        return token.encode()

    return spell


def _byte_level(token: str, added: bool) -> bytes:  # noqa: FBT001
    if added:
        return token.encode()
    table = _byte_of_character()
    try:
        return bytes([table[character] for character in token])
    except KeyError:  # the decoder leaves such a token as it is
        return token.encode()


@cache
def _byte_of_character() -> dict[str, int]:
    """The alphabet of byte-level BPE, in which each byte has a printable character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(0x100) if byte not in printable)
    return table | {chr(0x100 + n): byte for n, byte in enumerate(others)}
