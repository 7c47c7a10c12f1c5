"""A checkpoint's tokenizer as rendering sees it: its template, and text apart from control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jinja2 import TemplateError

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedTokenizerBase

    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.types import JsonValue

__all__ = ["TransformersChatTokenizer"]


class TransformersChatTokenizer:
    """The chat template of a transformers tokenizer over a vocabulary.

    Args:
        tokenizer: Whose template it is.
        vocabulary: What encodes, trusted and untrusted text apart.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary

    @property
    def has_chat_template(self) -> bool:
        """Whether the checkpoint brings a template; a base model does not."""
        return bool(self._tokenizer.chat_template)

    @property
    def bos_token(self) -> str:
        """The token that begins every sequence, by name; empty if there is none."""
        token = self._tokenizer.bos_token
        return token if isinstance(token, str) else ""

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, JsonValue]], **variables: object
    ) -> str:
        """Render messages up to where the assistant's answer begins.

        Raises:
            InputError: The template refuses these messages.
        """
        try:
            rendered = self._tokenizer.apply_chat_template(
                cast("Any", [dict(message) for message in messages]),
                tokenize=False,
                add_generation_prompt=True,
                **cast("dict[str, Any]", variables),
            )
        except TemplateError as error:
            raise InputError(
                f"The model's chat template refuses the conversation: {error}",
                hint="Give the messages in an order that the template supports.",
            ) from error
        return str(rendered)

    def encode_template(self, text: str) -> list[int]:
        """Trusted text to ids: names of control tokens become those tokens."""
        return self._vocabulary.encode_template(text)

    def encode(self, text: str) -> list[int]:
        """Untrusted text to ids, none of them a control token."""
        return self._vocabulary.encode(text)

    def token_id(self, name: str) -> int | None:
        """The id of a token by its name, if there is one."""
        return self._vocabulary.token_id(name)
