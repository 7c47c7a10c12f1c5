"""llguidance's complaints in words of ours: which limit was passed, or what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gemma_structured.exceptions import GrammarError

if TYPE_CHECKING:
    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.schema.llguidance_limits import LLGuidanceLimits

__all__ = ["check_forced", "compile_error", "matching_error"]


class _Complaint(NamedTuple):
    """A sign in llguidance's message, the limit that was passed if any was, and what to do."""

    sign: str
    limit: str | None
    advice: str


_COMPLEX: Final = "A regular expression in it is too complex: simplify it."
_LARGE: Final = "It is too large: divide it."
_COMPLAINTS: Final = (
    _Complaint("items; max is", "max_items_in_row", "It can go on in too many ways at one place."),
    _Complaint("Too many items", "step_max_items", "It is ambiguous, or refers to itself."),
    _Complaint("initial lexer", "initial_lexer_fuel", _LARGE),
    _Complaint("initial_lexer_fuel", "initial_lexer_fuel", _COMPLEX),
    _Complaint("relevance of lexemes", "initial_lexer_fuel", _COMPLEX),
    _Complaint("too many expressions", "step_lexer_fuel", _COMPLEX),
    _Complaint("fuel", "step_lexer_fuel", _COMPLEX),
    _Complaint("too many states", "max_lexer_states", _COMPLEX),
    _Complaint("number of symbols", "max_grammar_size", _LARGE),
    _Complaint("symbols.len()", "max_grammar_size", _LARGE),
    _Complaint(
        "recursion limit",
        None,
        "llguidance reads 128 levels of JSON, which no option raises: define deep parts under "
        "`$defs`.",
    ),
    _Complaint(
        "schema too large",
        None,
        "llguidance takes some thousands of subschemas, which no option raises: divide the schema.",
    ),
    _Complaint(
        "rollback not supported",
        None,
        "Drop `max_tokens=` and `stop=`: they cannot be taken back.",
    ),
    _Complaint(
        "regex is empty",
        None,
        "Patterns and lengths exclude each other, or are too complex together.",
    ),
    _Complaint(
        "nimplemented", None, "Grammar.for_output_type rewrites what the mask cannot enforce."
    ),
)
_MAX_MESSAGE: Final = 200


def check_forced(token_ids: list[int], limits: LLGuidanceLimits) -> None:
    """Refuse forced text that is longer than any constant: only endless recursion is.

    Raises:
        GrammarError: It is.
    """
    if len(token_ids) > limits.max_forced_tokens:
        raise limits.passed(
            "The grammar leaves no choice and comes to no end",
            "max_forced_tokens",
            "Let it end: make a property optional, or allow null or an empty array.",
        )


def compile_error(grammar: Grammar, complaint: str, limits: LLGuidanceLimits) -> GrammarError:
    """What llguidance says of a grammar that it does not compile."""
    kind = grammar.kind.replace("_", " ")
    return _error(f"The {kind} grammar cannot be compiled", complaint, limits)


def matching_error(complaint: str, limits: LLGuidanceLimits) -> GrammarError:
    """What llguidance says when it fails in the middle of a text."""
    return _error("The grammar matcher failed", complaint, limits)


def _error(what: str, complaint: str, limits: LLGuidanceLimits) -> GrammarError:
    known = next((known for known in _COMPLAINTS if known.sign in complaint), None)
    if known is not None and known.limit is not None:
        return limits.passed(what, known.limit, known.advice)
    first_line = next((line for line in complaint.splitlines() if line.strip()), "no reason given")
    return GrammarError(
        f"{what}: {first_line.strip()[:_MAX_MESSAGE]}.",
        hint=None if known is None else known.advice,
    )
