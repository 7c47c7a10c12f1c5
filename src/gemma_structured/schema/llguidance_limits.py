"""How much work a grammar may cause llguidance, and how a user lets it cause more."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import GrammarError, InputError

if TYPE_CHECKING:
    from llguidance import LLParserLimits

__all__ = ["DEFAULT_LIMITS", "LLGuidanceLimits", "parser_limits"]

_MOST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LLGuidanceLimits:
    """How much work a grammar may cause; one that would cause more is refused, by the limit's name.

    A model takes them as `LocalModel(grammar_backend=LLGuidanceBackend(limits=...))`, a grammar of
    one's own as `gs.Lark(..., limits=...)`.

    Attributes:
        max_items_in_row: Ways in which a text may go on at one place, as the parser counts them: an
            object with 2,000 optional properties has 8,000.
        step_max_items: The same, in all that one mask looks at.
        initial_lexer_fuel: Steps with the regular expressions of a grammar when it is compiled,
            some 50,000 a millisecond.
        step_lexer_fuel: Steps with them for one mask, some 14,000 a millisecond.
        max_lexer_states: States of the automata of a grammar, 1 to 2 kB each.
        max_grammar_size: Symbols in the rules of a grammar.
        max_patterns: Patterns and formats of a JSON Schema that must hold for one string. Each
            triples the time in which their intersection is searched.
        max_pattern_properties: `patternProperties` of one object: each is compared with each.
        max_intersections: Terminals of a Lark grammar that are intersected (`&`) with each other.
            Each doubles the time, as patterns do.
        max_forced_tokens: Tokens in a row that leave no choice. Only endless recursion has so many.

    Raises:
        InputError: A limit is not a whole number from 1 to 2,147,483,647.
    """

    max_items_in_row: int = 50_000
    step_max_items: int = 500_000
    initial_lexer_fuel: int = 20_000_000
    step_lexer_fuel: int = 1_000_000
    max_lexer_states: int = 250_000
    max_grammar_size: int = 500_000
    max_patterns: int = 12
    max_pattern_properties: int = 200
    max_intersections: int = 12
    max_forced_tokens: int = 200_000

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        for field in fields(self):
            value: object = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
                raise InputError(
                    f"{field.name} must be a whole number from 1 to {_MOST:,}, not {value!r:.40}."
                )

    def passed(
        self, what: str, name: str, advice: str, *, needed: int | None = None
    ) -> GrammarError:
        """The error of a grammar that passes a limit.

        Args:
            what: The grammar, or the place in it, and what is the matter.
            name: The limit's name.
            advice: How to do without raising it.
            needed: What it would have to be, where that is known.
        """
        limit: int = getattr(self, name)
        raised = f"{name}={needed or min(2 * limit, _MOST)}"
        return GrammarError(
            f"{what}: it passes the limit {name} of {limit:,}.",
            hint=f"{advice} Or raise the limit: LocalModel(grammar_backend=LLGuidanceBackend("
            f"limits=LLGuidanceLimits({raised}))), both from gemma_structured.grammar.llguidance; "
            "a gs.Lark takes the same limits.",
        )


DEFAULT_LIMITS: Final = LLGuidanceLimits()
"""What holds without a word from the user."""


def parser_limits(limits: LLGuidanceLimits) -> LLParserLimits:
    """Those of the limits that llguidance itself looks after."""
    from llguidance import LLParserLimits  # noqa: PLC0415 - an extra

    return LLParserLimits(
        max_items_in_row=limits.max_items_in_row,
        step_max_items=limits.step_max_items,
        initial_lexer_fuel=limits.initial_lexer_fuel,
        step_lexer_fuel=limits.step_lexer_fuel,
        max_lexer_states=limits.max_lexer_states,
        max_grammar_size=limits.max_grammar_size,
        verbose_errors=False,  # they would carry the schema's text into logs
    )
