r"""Regular expressions of ECMA-262 as the grammar libraries, which speak Rust's dialect, read them.

The dialects differ in silence: `\d`, `\w` and `\s` hold other characters, `.` other line ends,
and Rust knows no lookaround. So a pattern is parsed as what it is and written anew in what both
read alike.
"""

from __future__ import annotations

from functools import lru_cache

from gemma_structured.exceptions import GrammarError
from gemma_structured.schema.normalize.regex.determinize import determinize
from gemma_structured.schema.normalize.regex.eliminate import pattern_of
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.syntax import (
    EMPTY,
    Alt,
    End,
    Regex,
    RegexError,
    Seq,
    Start,
    seq,
)
from gemma_structured.schema.normalize.regex.write import is_plain, write

__all__ = ["whole_match"]


@lru_cache(maxsize=256)
def whole_match(pattern: str) -> str:
    """A pattern in Rust's dialect, without anchors, of the texts that a pattern matches as a whole.

    Args:
        pattern: A regular expression of ECMA-262.

    Raises:
        GrammarError: It is malformed, not regular (backreferences), or uses lookaround in a way
            that cannot be turned into a regular expression of reasonable size.
    """
    try:
        tree = parse(pattern)
        if is_plain(tree):
            return write(_without_anchors(tree))
        return pattern_of(determinize(tree)).removeprefix("^").removesuffix("$")
    except RegexError as error:
        raise GrammarError(
            f"The regular expression {pattern!r:.100} cannot be enforced: {error}",
            hint="Use characters, classes, groups, `|` and repetitions; lookaround only in small "
            "patterns, and neither backreferences nor flags.",
        ) from None


def _without_anchors(tree: Regex) -> Regex:
    """Drop `^` and `$` from where they are always true, in a plain tree that matches as a whole."""
    match tree:
        case Start() | End():
            return EMPTY
        case Seq(parts):
            return seq(map(_without_anchors, parts))
        case Alt(options):
            return Alt(tuple(map(_without_anchors, options)))
        case _:
            return tree
