"""`ByteTokenizer`: a real tokenizer of 256 byte tokens, made in code, for tests.

With it any text can be written, each token is one byte, and nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = ["CHAT_TEMPLATE", "ByteTokenizer"]

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<start_of_turn>{{ message['role'] }}\n{{ message['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""A small chat template over the default control tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteTokenizer:
    """A tokenizer whose tokens are control tokens, then the 256 bytes, then some words.

    Attributes:
        control: The names of the control tokens, on the ids from 0.
        ends: Those of them that end an answer; the first is the tokenizer's own end of sequence.
        bos: The control token that opens a prompt.
        pad: The control token that fills a batch.
        words: Texts of several bytes that have tokens of their own, as in any real vocabulary.

    Raises:
        InputError: `ends`, `bos` or `pad` names no control token, or a word has less than two
            bytes.
    """

    control: tuple[str, ...] = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
    ends: tuple[str, ...] = ("<eos>", "<end_of_turn>")
    bos: str = "<bos>"
    pad: str = "<pad>"
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that lead nowhere."""
        if missing := {*self.ends, self.bos, self.pad} - set(self.control):
            raise InputError(f"Not among the control tokens: {', '.join(sorted(missing))}.")
        if not self.ends:
            raise InputError("At least one control token must end an answer.")
        if short := [word for word in self.words if len(word.encode()) < 2]:  # noqa: PLR2004
            raise InputError(f"Every byte has a token already: {short[0]!r} is not a word.")

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The ids that end an answer."""
        return tuple(self.control.index(name) for name in self.ends)

    def byte_id(self, byte: int) -> int:
        """The id of a byte's token."""
        return len(self.control) + byte

    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself: byte-level BPE."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415

        names = [*self.control, *_BYTE_CHARACTERS]
        merges: list[tuple[str, str]] = []
        for word in self.words:
            characters = [_BYTE_CHARACTERS[byte] for byte in word.encode()]
            for end in range(1, len(characters)):
                pair = ("".join(characters[:end]), characters[end])
                if pair not in merges:
                    merges.append(pair)
                    names.append("".join(pair))
        ids = {name: token_id for token_id, name in enumerate(dict.fromkeys(names))}
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(name, special=True) for name in self.control])
        return tokenizer

    def vocabulary(self, *, size: int | None = None) -> Vocabulary:
        """What a grammar is compiled for.

        Args:
            size: The width of the model's logits, where it is not the number of tokens.
        """
        from gemma_structured.grammar.vocabulary import Vocabulary  # noqa: PLC0415

        return Vocabulary.from_tokenizer(self.tokenizer(), end_ids=self.end_ids, size=size)

    def transformers(self, *, chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
        """The tokenizer for transformers' models, padding on the left.

        Args:
            chat_template: How a conversation is rendered; `None` as for a base model.
        """
        from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=self.tokenizer(),
            bos_token=self.bos,
            eos_token=self.ends[0],
            pad_token=self.pad,
            padding_side="left",
            chat_template=chat_template,
            clean_up_tokenization_spaces=False,
        )


def _byte_characters() -> list[str]:
    """The alphabet of byte-level BPE: printable bytes are themselves, others follow U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(0x100)]


_BYTE_CHARACTERS = _byte_characters()
