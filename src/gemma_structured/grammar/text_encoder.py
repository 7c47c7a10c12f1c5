"""`TextEncoder`: untrusted text to tokens, losslessly and without ever writing a control token.

A tokenizer alone does neither: it reads `<eos>` in a document as the end of the sequence, writes
`▁` as a space, and some put a space in front or normalise what they read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenizers import Tokenizer

__all__ = ["TextEncoder", "utf8"]


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
        control_ids: Ids that no text may become.
        unsafe: Texts known to come out wrong if they are encoded as a part of more.
    """

    __slots__ = ("_byte_ids", "_control_ids", "_tokenizer", "_tokens", "_unsafe")

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        tokens: Sequence[bytes],
        control_ids: frozenset[int],
        unsafe: Iterable[str],
    ) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._control_ids = control_ids
        alternatives = "|".join(map(re.escape, sorted(unsafe, key=len, reverse=True)))
        self._unsafe = re.compile(f"((?:{alternatives})+)") if alternatives else None
        self._byte_ids: dict[int, int] | None = None

    def encode(self, text: str) -> list[int]:
        """Ids whose bytes are the text's, none of them a control id.

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
        return [
            token_id for piece in pieces if piece for token_id in self._encode_piece(piece, memo)
        ]

    def _is_exact(self, ids: list[int], data: bytes) -> bool:
        tokens = self._tokens
        return self._control_ids.isdisjoint(ids) and b"".join([tokens[i] for i in ids]) == data

    def _encode_piece(self, text: str, memo: dict[str, list[int]]) -> list[int]:
        """Halve what comes out wrong until it comes out right, or is one character."""
        if (known := memo.get(text)) is not None:
            return known
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not self._is_exact(ids, text.encode()):
            if len(text) > 1:
                middle = len(text) // 2
                ids = self._encode_piece(text[:middle], memo) + self._encode_piece(
                    text[middle:], memo
                )
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
                if len(token) == 1 and token_id not in self._control_ids
            }
        try:
            return [self._byte_ids[byte] for byte in character.encode()]
        except KeyError:
            raise InputError(
                f"The character U+{ord(character):04X} cannot be written with this tokenizer: "
                "neither it nor its bytes are in the vocabulary.",
                hint="Remove it from the text.",
            ) from None
