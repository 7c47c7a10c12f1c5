"""A transformers tokenizer over a backend that has already been read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerFast

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["SharedTokenizer"]


class SharedTokenizer(PreTrainedTokenizerFast):
    """A fast tokenizer that takes its backend as it is.

    `PreTrainedTokenizerFast(tokenizer_object=...)` copies the backend, which takes as long as
    reading it: a second for 262,144 tokens.

    Args:
        backend: The tokenizer of the `tokenizers` library.
        **settings: As in `tokenizer_config.json`.
    """

    def __init__(self, *, backend: Tokenizer, **settings: Any) -> None:
        self._tokenizer = backend
        super().__init__(**settings)  # type: ignore[no-untyped-call]
