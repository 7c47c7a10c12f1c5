"""`TextEncoder`: untrusted text to tokens, losslessly and without ever writing a control token.

A tokenizer alone does neither: it reads `<eos>` in a document as the end of the sequence, writes
`▁` as a space, and some put a space in front or normalise what they read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tokenizers import Tokenizer

__all__ = ["TextEncoder", "utf8"]

_CHUNK: Final = 512


def utf8(text: str) -> bytes:
    """The text as UTF-8.

    Raises:
        InputError: It holds a lone surrogate, which no UTF-8 text can.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"The text holds a lone surrogate, U+{ord(text[error.start]):04X}, at position "
            f"{error.start}, so that it cannot be written as UTF-8.",
            hint="It was decoded wrongly. `text.encode('utf-16', 'surrogatepass').decode('utf-16')`"
            " joins pairs; `errors='replace'` removes lone ones.",
        ) from None


class TextEncoder:
    """Encodes text so that the tokens' bytes are exactly the text's.

    Args:
        tokenizer: Reads control tokens as text (`encode_special_tokens`) and adds no space in
            front.
        tokens: The bytes of each id.
        forbidden: Ids that no text may become.
        unsafe: Texts known to come out wrong if they are encoded as a part of more.
    """

    __slots__ = ("_byte_ids", "_forbidden", "_tokenizer", "_tokens", "_unsafe")

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        tokens: Sequence[bytes],
        forbidden: Iterable[int],
        unsafe: Iterable[str],
    ) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._forbidden = frozenset(forbidden)
        alternatives = "|".join(map(re.escape, sorted(unsafe, key=len, reverse=True)))
        self._unsafe = re.compile(f"((?:{alternatives})+)") if alternatives else None
        self._byte_ids: dict[int, int] | None = None

    def encode(self, text: str) -> list[int]:
        """Ids whose bytes are the text's, none of them a forbidden one.

        Raises:
            InputError: The text holds a lone surrogate, or a character that this vocabulary cannot
                write.
        """
        data = utf8(text)
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if self._is_exact(ids, data):
            return ids
        memo: dict[str, list[int]] = {}
        pieces = self._unsafe.split(text) if self._unsafe else [text]
        chunks = (chunk for piece in pieces if piece for chunk in _chunks(piece))
        return [token_id for chunk in chunks for token_id in self._encode_piece(chunk, memo)]

    def _is_exact(self, ids: list[int], data: bytes) -> bool:
        tokens = self._tokens
        return self._forbidden.isdisjoint(ids) and b"".join([tokens[i] for i in ids]) == data

    def _encode_piece(self, text: str, memo: dict[str, list[int]]) -> list[int]:
        """Halve what comes out wrong until it comes out right, or is one character."""
        if (known := memo.get(text)) is not None:
            return known
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not self._is_exact(ids, text.encode()):
            if len(text) > 1:
                halves = text[: len(text) // 2], text[len(text) // 2 :]
                ids = [token_id for half in halves for token_id in self._encode_piece(half, memo)]
            else:
                ids = self._spell(text)
        memo[text] = ids
        return ids

    def _spell(self, character: str) -> list[int]:
        """Write a character byte by byte."""
        if self._byte_ids is None:
            self._byte_ids = {
                token[0]: token_id
                for token_id, token in reversed(list(enumerate(self._tokens)))
                if len(token) == 1 and token_id not in self._forbidden
            }
        try:
            return [self._byte_ids[byte] for byte in character.encode()]
        except KeyError:
            raise InputError(
                f"The character U+{ord(character):04X} cannot be written with this tokenizer: "
                "neither it nor its bytes are in the vocabulary.",
                hint="Remove it from the text.",
            ) from None


def _chunks(text: str) -> Iterator[str]:
    """Cut a long text before spaces, where tokens begin anyway."""
    start = 0
    while len(text) - start > _CHUNK:
        cut = text.rfind(" ", start + 1, start + _CHUNK)
        cut = cut if cut > 0 else start + _CHUNK
        yield text[start:cut]
        start = cut
    yield text[start:]
