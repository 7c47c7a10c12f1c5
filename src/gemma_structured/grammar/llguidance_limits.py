"""The limits that llguidance compiles and matches under, and its complaints in words of ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import GrammarError

if TYPE_CHECKING:
    from gemma_structured.grammar.spec import Grammar

__all__ = ["LIMITS", "check_forced", "check_lark_size", "compile_error", "matching_error"]

LIMITS: Final = {
    # An object with 2,000 optional properties may go on with any of them: 8,000 items in one row.
    "max_items_in_row": 50_000,
    "step_max_items": 500_000,
    "initial_lexer_fuel": 20_000_000,
    "step_lexer_fuel": 1_000_000,
    "max_lexer_states": 250_000,
    "max_grammar_size": 500_000,
}
"""How much work a grammar may cause: no step takes more than half a second."""

_MAX_FORCED: Final = 200_000
_MAX_INTERSECTIONS: Final = 12
_QUOTED: Final = re.compile(r'"(?:\\.|[^"\\\n])*"|/(?:\\.|[^/\\\n])+/')

_COMPLEX = "A regular expression in it is too complex."
_LARGE = "It is too large."
_COMPLAINTS: Final = (
    ("items; max is", "max_items_in_row", "It offers too many ways to go on at one place."),
    ("Too many items", "step_max_items", "It is ambiguous, or refers to itself without an end."),
    ("initial_lexer_fuel", "initial_lexer_fuel", _COMPLEX),
    ("initial lexer", "initial_lexer_fuel", _LARGE),
    ("too many expressions", "step_lexer_fuel", _COMPLEX),
    ("fuel", "step_lexer_fuel", _COMPLEX),
    ("lexer states", "max_lexer_states", _COMPLEX),
    ("too large", "max_grammar_size", _LARGE),
    ("symbols.len()", "max_grammar_size", _LARGE),
    ("recursion limit", "a nesting of 128 levels of JSON", "Define deep parts under `$defs`."),
    ("rollback not supported", None, "Drop `max_tokens=` and `stop=`: they cannot be taken back."),
    (
        "regex is empty",
        None,
        "Patterns and lengths exclude each other, or are too complex together.",
    ),
    ("nimplemented", None, "Grammar.for_output_type rewrites what the mask cannot enforce."),
)
"""Signs in llguidance's messages, the limit that was passed, and what to do."""
_MAX_MESSAGE: Final = 200


def check_lark_size(source: str) -> None:
    """Refuse a Lark grammar whose compilation would take minutes: intersections double it each.

    Raises:
        GrammarError: A line intersects too many terminals.
    """
    for number, line in enumerate(_QUOTED.sub("", source).splitlines(), 1):
        if line.count("&") > _MAX_INTERSECTIONS:
            raise GrammarError(
                f"Line {number} of the Lark grammar intersects more than {_MAX_INTERSECTIONS} "
                "terminals.",
                hint="Write them as one regular expression.",
            )


def check_forced(token_ids: list[int]) -> None:
    """Refuse forced text that is longer than any constant: only endless recursion is.

    Raises:
        GrammarError: It is.
    """
    if len(token_ids) > _MAX_FORCED:
        raise GrammarError(
            f"The grammar leaves no choice for more than {_MAX_FORCED:,} tokens: it refers to "
            "itself without an end.",
            hint="Let it end: make a property optional, or allow null or an empty array.",
        )


def compile_error(grammar: Grammar, complaint: str) -> GrammarError:
    """What llguidance says of a grammar that it does not compile."""
    kind = grammar.kind.replace("_", " ")
    return _error(f"The {kind} grammar cannot be compiled", complaint)


def matching_error(complaint: str) -> GrammarError:
    """What llguidance says when it fails in the middle of a text."""
    return _error("The grammar matcher failed", complaint)


def _error(what: str, complaint: str) -> GrammarError:
    for sign, limit, advice in _COMPLAINTS:
        if sign in complaint:
            if limit is None:
                break
            allowed = f" of {LIMITS[limit]:,}" if limit in LIMITS else ""
            return GrammarError(f"{what}: it passes the limit {limit}{allowed}.", hint=advice)
    else:
        advice = None
    first_line = next((line for line in complaint.splitlines() if line.strip()), "no reason given")
    return GrammarError(f"{what}: {first_line.strip()[:_MAX_MESSAGE]}.", hint=advice)
