"""The JSON value in what an unconstrained model wrote: prose, fences, thoughts and slips aside.

Only for text that no grammar held: on constrained text, repair would hide a bug. And only for text
that is whole: a cut number is another number, so nothing is read from an answer that did not stop
of itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import jiter

from gemma_structured.exceptions import OutputValidationError
from gemma_structured.parsing.lenient import BrokenValueError, LenientReader, Reading
from gemma_structured.types import Issue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.types import FinishReason

__all__ = ["Extracted", "extract_json", "extract_text"]

_CUT: Final = "The answer is cut: it did not end of itself"
_WHOLE: Final = frozenset({"stop", "tool_calls"})
_THOUGHTS: Final = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<|channel>": "<channel|>",
}
_LEADING_THOUGHT = re.compile(
    r"\s*(?:"
    + "|".join(f"{re.escape(a)}.*?(?:{re.escape(b)}|$)" for a, b in _THOUGHTS.items())
    + ")",
    re.DOTALL,
)
_TURN_ENDS: Final = (
    "<turn|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "[e~[",
)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_FENCE_BEFORE = re.compile(r"(?:`{3,}|~{3,})[^\S\n]*\w*\s*\Z")
_LANDMARK = re.compile(
    "|".join(["[{[]", *(re.escape(mark) for pair in _THOUGHTS.items() for mark in pair)])
)
_CLOSERS: Final = frozenset(_THOUGHTS.values())
_CLOSER = re.compile("|".join(map(re.escape, _CLOSERS)))
_WORK: Final = 4
"""How many times the text's length may be read in search of a value; hostile text needs more."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was found.

    Attributes:
        text: The value's text: strict JSON as far as its punctuation goes.
        repaired: Whether a slip in it was put right.
    """

    text: str = field(repr=False)
    repaired: bool = False


def extract_json(text: str, *, finish_reason: FinishReason | None) -> Extracted:
    """Find the one JSON value in an answer.

    In this order: the whole text; the text without its thought, its fence and its end-of-turn
    markers; the one fenced block in prose; the one object (or else the one array) in prose, where a
    fenced one goes before others. Slips that can be meant in one way only are put right and
    flagged; nothing is closed or completed.

    Args:
        text: What the model wrote.
        finish_reason: Why it stopped.

    Raises:
        OutputValidationError: The answer is cut, empty, broken, or holds several values.
    """
    if finish_reason not in _WHOLE:
        raise _refusal(text, _CUT)
    for candidate in _candidates(text):
        if _is_strict(candidate):
            return Extracted(candidate)
    finds = _scan(text)
    if finds.broken is not None:
        raise _broken(text, finds.broken)
    tail = _bare(_CLOSER.split(text)[-1])
    if not finds.values and _is_strict(tail):
        return Extracted(tail)
    reading = _choose(text, finds.values)
    return Extracted(reading.text, repaired=reading.repaired)


def extract_text(text: str, *, finish_reason: FinishReason | None) -> Extracted:
    """Take an answer that is no JSON out of its thought, its fence and its surrounding space.

    Where space at the ends matters, look first whether the text itself is right.

    Raises:
        OutputValidationError: The answer is cut.
    """
    if finish_reason not in _WHOLE:
        raise _refusal(text, _CUT)
    return Extracted(_bare(text))


@dataclass(slots=True)
class _Finds:
    values: list[tuple[int, Reading]] = field(default_factory=list)
    broken: BrokenValueError | None = None


def _scan(text: str) -> _Finds:
    """Look for whole values outside thoughts, and for one that began and broke."""
    finds = _Finds()
    position, work = 0, 0
    while (landmark := _LANDMARK.search(text, position)) is not None:
        mark, position = landmark[0], landmark.end()
        if mark in _CLOSERS:
            # What came before was a thought whose beginning the prompt held, unless this stands in
            # a string of the value that broke further on.
            if finds.broken is None or finds.broken.reach <= landmark.start():
                finds = _Finds()
        elif mark in _THOUGHTS:
            end = text.find(_THOUGHTS[mark], position)
            if end < 0:
                raise _refusal(text, "The thought before the answer does not end")
            position = end + len(_THOUGHTS[mark])
        else:
            try:
                reading = LenientReader(text, landmark.start()).read()
            except BrokenValueError as error:
                work += error.reach - landmark.start()
                if error.started and finds.broken is None:
                    finds.broken = error
                if work > _WORK * len(text):
                    raise _broken(text, finds.broken or error) from None
            else:
                finds.values.append((landmark.start(), reading))
                position = reading.end
    return finds


def _choose(text: str, values: list[tuple[int, Reading]]) -> Reading:
    """Take the fenced values if there are any, then objects before arrays; they must agree."""
    fenced = [one for one in values if _FENCE_BEFORE.search(text, max(0, one[0] - 40), one[0])]
    readings = [reading for _, reading in fenced or values]
    objects = [reading for reading in readings if reading.text.startswith("{")]
    readings = objects or readings
    if not readings:
        empty = not _bare(text)
        raise _refusal(text, "The answer is empty" if empty else "There is no JSON in the answer")
    if len({reading.text for reading in readings}) > 1:
        raise _refusal(text, f"There are {len(readings)} JSON values, and only one is expected")
    return readings[-1]


def _candidates(text: str) -> Iterator[str]:
    """The parts of the text that may be the value as they stand, the likeliest first."""
    yield text.removeprefix("\ufeff").strip()
    bare = _bare(text)
    yield bare
    if not any(mark in bare for pair in _THOUGHTS.items() for mark in pair):
        fences = list(_FENCE.finditer(bare))
        if len(fences) == 2 and not fences[1][2].strip():  # noqa: PLR2004  (one opens, one closes)
            yield bare[fences[0].end() : fences[1].start()].strip()


def _bare(text: str) -> str:
    """Strip the byte order mark, leading thoughts, end-of-turn markers and a fence around all."""
    start = len(text) - len(text.removeprefix("\ufeff"))
    while (thought := _LEADING_THOUGHT.match(text, start)) is not None:
        start = thought.end()
    bare = text[start:].strip()
    while bare.endswith(_TURN_ENDS):
        bare = next(bare[: -len(end)] for end in _TURN_ENDS if bare.endswith(end)).rstrip()
    fences = list(_FENCE.finditer(bare)) if bare.startswith(("`", "~")) else []
    if len(fences) == 2 and fences[1].end() == len(bare):  # noqa: PLR2004  (one opens, one closes)
        return bare[fences[0].end() : fences[1].start()].strip()
    return bare


def _is_strict(text: str) -> bool:
    try:
        jiter.from_json(
            text.encode("utf-8", "surrogatepass"),
            allow_inf_nan=False,
            catch_duplicate_keys=True,
        )
    except ValueError:
        return False
    return True


def _broken(text: str, broken: BrokenValueError) -> OutputValidationError:
    line = text.count("\n", 0, broken.position) + 1
    column = broken.position - text.rfind("\n", 0, broken.position)
    around = text[max(0, broken.position - 40) : broken.position + 40]
    return _refusal(
        text, f"The JSON breaks at line {line}, column {column}: {broken}", found=around
    )


def _refusal(text: str, message: str, *, found: str | None = None) -> OutputValidationError:
    issue = Issue(message=message, found=found, source="syntax")
    return OutputValidationError(text=text, issues=[issue])
