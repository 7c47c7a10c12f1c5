"""Placeholders for untrusted texts, which a chat template moves about without seeing the texts."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.types import JsonValue

__all__ = ["Slots"]

_SPACE = "\u2005"
"""Stands for the white space at an end of a text: a template trims it as it would any other, and
where it is kept it cannot be taken for the template's own."""

_PLAIN = re.compile(r"[\w.-]+( [\w.-]+)*")
"""Names of this form spell no control token, and templates may sort and compare them."""


class Slots:
    r"""Placeholders for untrusted texts.

    White space at the ends of a text is told beside its placeholder, so that a template trims it as
    it would trim the text's own; what it keeps is part of the text. A placeholder ends with `"`:
    where the template writes it as JSON, that comes out as `\"`, and then the text is put in as
    JSON writes it.

    Attributes:
        seen: The numbers of the texts that the template has written, once it is split.
    """

    def __init__(self) -> None:
        self._mark = f"slot-{secrets.token_hex(8)}-"
        self._found = re.compile(rf'({_SPACE}?){self._mark}(\d+)(\\*)"({_SPACE}?)')
        self._texts: list[str] = []
        self._needed: set[int] = set()
        self.seen: set[int] = set()

    @property
    def count(self) -> int:
        """How many texts there are."""
        return len(self._texts)

    def put(self, text: str, *, needed: bool = True) -> str:
        """A placeholder for a text.

        Args:
            text: Anything.
            needed: Whether the template must not leave it out.
        """
        before = _SPACE if text != text.lstrip() else ""
        after = _SPACE if text.strip() and text != text.rstrip() else ""
        if needed:
            self._needed.add(len(self._texts))
        self._texts.append(text)
        return f'{before}{self._mark}{len(self._texts) - 1}"{after}'

    def put_name(self, name: str) -> str:
        """A name as it is if it can only be a name; else a placeholder."""
        return name if _PLAIN.fullmatch(name) else self.put(name, needed=False)

    def put_value(self, value: JsonValue) -> JsonValue:
        """A JSON value with placeholders for the texts in it."""
        if isinstance(value, str):
            return self.put(value, needed=False)
        if isinstance(value, list):
            return [self.put_value(each) for each in value]
        if isinstance(value, dict):
            return {self.put_name(key): self.put_value(each) for key, each in value.items()}
        return value

    def split(self, rendered: str) -> Iterator[tuple[str, int | None]]:
        """The template's text (`None`) and the texts in its slots, by number, in order.

        Raises:
            InputError: The template dropped a text that it must not.
        """
        at = 0
        for found in self._found.finditer(rendered):
            if trusted := rendered[at : found.start()]:
                yield trusted, None
            number = int(found[2])
            self.seen.add(number)
            text = self._texts[number]
            text = text if found[1] else text.lstrip()
            text = text if found[4] or not text.strip() else text.rstrip()
            yield _as_json(text, len(found[3])), number
            at = found.end()
        if rest := rendered[at:]:
            yield rest, None
        if self._needed - self.seen:
            raise InputError(
                "The model's chat template leaves out a part of the conversation.",
                hint="Give the messages in an order that the model's template supports.",
            )


def _as_json(text: str, backslashes: int) -> str:
    """A text as it stands in a JSON string, or in one in another: each doubles the backslashes."""
    while backslashes:
        text = json.dumps(text, ensure_ascii=False)[1:-1]
        backslashes //= 2
    return text
