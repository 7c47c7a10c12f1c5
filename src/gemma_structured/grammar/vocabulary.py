"""`Vocabulary`: what a tokenizer's ids stand for, and safe ways from text to ids and back."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import TYPE_CHECKING

from gemma_structured.exceptions import GrammarError, InputError
from gemma_structured.grammar.detokenizer import TokenDecoder
from gemma_structured.grammar.text_encoder import TextEncoder, utf8
from gemma_structured.grammar.token_bytes import component_state, token_to_bytes
from gemma_structured.grammar.tokenizer_copy import tokenizer_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["Vocabulary"]

_HTML_TAG = re.compile(
    r"</?(?:a|b|bbox|blockquote|body|caption|code|div|em|footer|h[1-6]|head|header|html|i|iframe|img|li"
    r"|ol|p|pre|s|span|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|u|ul)>"
)
_PLAIN_TEXT = re.compile(r"[\w\s.,;:'\"!?()+\-*/=]+")


class Vocabulary:
    """What a tokenizer's ids stand for.

    Attributes:
        size: How many ids there are: the width of the model's logits.
        tokens: The bytes of each id, `[size]`; empty for padding rows of the logits.
        control_ids: Ids that text never becomes and that no mask allows inside text.
        end_ids: Ids that end an answer. They are control ids too.
        encoder: What `encode` is done by.
    """

    def __init__(
        self,
        *,
        tokens: Sequence[bytes],
        control_ids: Iterable[int],
        end_ids: Iterable[int],
        encoder: TextEncoder,
        template_tokenizer: Tokenizer,
    ) -> None:
        self.tokens = tokens
        self.size = len(tokens)
        self.end_ids = tuple(dict.fromkeys(end_ids))
        self.control_ids = frozenset(control_ids) | frozenset(self.end_ids)
        if not self.end_ids:
            raise InputError("A vocabulary needs at least one id that ends an answer.")
        if outside := [i for i in self.control_ids if not 0 <= i < self.size]:
            raise InputError(f"The control ids {sorted(outside)} are not in 0 to {self.size - 1}.")
        self.encoder = encoder
        self._template_tokenizer = template_tokenizer

    @classmethod
    def from_tokenizer(
        cls,
        tokenizer: Tokenizer,
        *,
        end_ids: Sequence[int],
        size: int | None = None,
        control_ids: Iterable[int] | None = None,
    ) -> Vocabulary:
        """Read the vocabulary of a Hugging Face tokenizer, which is left as it is.

        Control ids are the added tokens that are flagged special, the unknown token, and added
        tokens that are neither plain words, white space nor HTML tags: some checkpoints flag
        `<think>` or `<unused0>` as normal text. A token that is a control one by mistake costs
        little, since its text can still be spelled with others.

        Args:
            tokenizer: The fast tokenizer (`AutoTokenizer.from_pretrained(...).backend_tokenizer`).
            end_ids: The ids that end an answer (`generation_config.eos_token_id`).
            size: The width of the model's logits, where it is not the number of tokens. Ids past it
                are not used; ids that it adds stand for nothing.
            control_ids: More control ids.

        Raises:
            GrammarError: The tokenizer's decoder is not understood.
            InputError: An id is outside the vocabulary, or there is no end id.
        """
        spell = token_to_bytes(tokenizer)
        added = tokenizer.get_added_tokens_decoder()
        names = tokenizer.get_vocab(with_added_tokens=True)
        tokens = [b""] * max((size or 0, *(token_id + 1 for token_id in names.values())))
        for name, token_id in names.items():
            tokens[token_id] = spell(name, token_id in added)
        size = len(tokens) if size is None else size
        control = {i for i, token in added.items() if token.special or not _is_text(token.content)}
        unknown = names.get(getattr(tokenizer.model, "unk_token", None) or "")
        control |= set() if unknown is None else {unknown}
        encoder = TextEncoder(
            tokenizer_copy(tokenizer, added, control=control),
            tokens=tokens,
            forbidden={*control, *(control_ids or ()), *end_ids, *range(size, len(tokens))},
            unsafe=_unsafe_texts(tokenizer),
        )
        return cls(
            tokens=tokens[:size],
            control_ids={*(i for i in control if i < size), *(control_ids or ())},
            end_ids=end_ids,
            encoder=encoder,
            template_tokenizer=tokenizer_copy(tokenizer, added),
        )

    def encode(self, text: str) -> list[int]:
        """Untrusted text to ids: their bytes are exactly the text's, and none is a control id.

        Raises:
            InputError: The text holds a lone surrogate (the position is told), or a character that
                the tokenizer has no token and no bytes for.
        """
        return self.encoder.encode(text)

    def encode_template(self, text: str) -> list[int]:
        """Trusted text to ids: the names of control tokens in it become those tokens.

        For what a chat template wrote around the user's texts, never for those texts.

        Raises:
            InputError: The text holds a lone surrogate, or a token that the model has no logits
                for.
        """
        utf8(text)
        ids = self._template_tokenizer.encode(text, add_special_tokens=False).ids
        if (last := max(ids, default=0)) >= self.size:
            name = self._template_tokenizer.id_to_token(last)
            raise InputError(
                f"The token {name!r} has the id {last}; the model's last is {self.size - 1}."
            )
        return ids

    def decode(self, token_ids: Iterable[int], *, show_control: bool = False) -> str:
        """Ids to text; bytes that are no UTF-8 become U+FFFD.

        Args:
            token_ids: What to decode.
            show_control: Write control tokens by their names; else they have no text.
        """
        hidden = frozenset[int]() if show_control else self.control_ids
        decoder = TokenDecoder(self.tokens, hidden)
        return decoder.feed(token_ids) + decoder.flush()

    def decoder(self, *, show_control: bool = False) -> TokenDecoder:
        """A decoder for ids that come one by one.

        Args:
            show_control: Write control tokens by their names; else they have no text.
        """
        hidden = frozenset[int]() if show_control else self.control_ids
        return TokenDecoder(self.tokens, hidden)

    def token_id(self, name: str) -> int | None:
        """The id of a token by its name in the tokenizer's files, such as `<eos>`."""
        found = self._template_tokenizer.token_to_id(name)
        return found if found is not None and found < self.size else None

    def count_text_ids(self, token_ids: Sequence[int]) -> int:
        """How many ids come before the first that ends an answer or is none of this vocabulary."""
        size, end_ids = self.size, self.end_ids
        for n, token_id in enumerate(token_ids):
            if not 0 <= token_id < size or token_id in end_ids:
                return n
        return len(token_ids)

    def check_bitmask(self, row: NDArray[np.int32]) -> None:
        """Refuse what is no bitmask row of this vocabulary; libraries would write past its end.

        Raises:
            GrammarError: It is not one contiguous row of `ceil(size / 32)` 32-bit words.
        """
        words = -(-self.size // 32)
        if row.shape != (words,) or row.itemsize != 4 or not row.flags.c_contiguous:  # noqa: PLR2004
            raise GrammarError(
                f"A bitmask for {self.size} tokens is a contiguous row of {words} 32-bit words, "
                f"not an array of shape {row.shape} and type {row.dtype}."
            )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that a mask depends on: equal vocabularies have equal ones."""
        digest = hashlib.sha256(repr((self.end_ids, sorted(self.control_ids))).encode())
        digest.update(b"".join([b"%d:%b" % (len(token), token) for token in self.tokens]))
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"Vocabulary(size={self.size}, end_ids={self.end_ids})"


def _is_text(content: str) -> bool:
    """Whether an added token that is not flagged special is ordinary text."""
    return bool(_PLAIN_TEXT.fullmatch(content) or _HTML_TAG.fullmatch(content))


def _unsafe_texts(tokenizer: Tokenizer) -> set[str]:
    """What the decoder turns into something else, such as `▁`: it cannot be written as itself."""
    state = component_state(tokenizer.decoder)
    found: set[str] = set()

    def visit(node: object) -> None:
        if isinstance(node, dict):
            if node.get("type") == "Metaspace":
                found.add(str(node["replacement"]))
            elif node.get("type") == "Replace":
                found.add(str(node["pattern"]["String"]))
            for inner in node.get("decoders", ()):
                visit(inner)

    visit(state)
    return found
