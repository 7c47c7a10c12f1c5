"""Whether a text is code, by a real parser: sqlglot for SQL, Python's own for Python."""

from __future__ import annotations

import ast
import importlib.util
import logging
import re
import threading
import warnings
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, get_args

from gemma_structured.exceptions import LoadError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlglot.errors import ParseError

__all__ = ["LANGUAGE_FORMS", "Language", "code_fault", "known_language"]

Language: TypeAlias = Literal["sql", "python"]
"""The languages whose code can be asked for."""

LANGUAGE_FORMS: Final[dict[Language, str]] = {
    "sql": "one SQL statement",
    "python": "one Python expression",
}
"""What code of a language is, for a model."""

_LONGEST: Final = 20_000
"""Characters of code that are parsed: a parser takes stack and time by what is nested."""

_STATEMENTS: Final = (
    *("Query", "Insert", "Update", "Delete", "Merge"),
    *("Create", "Alter", "Drop", "TruncateTable"),
)
"""What sqlglot calls the statements that count."""

_WARNINGS_LOCK: Final = threading.Lock()


def known_language(name: object) -> Language:
    """A language that can be checked on this machine.

    Raises:
        SchemaError: There is no such language.
        LoadError: Its parser is not installed.
    """
    if not isinstance(name, str) or name not in get_args(Language):
        raise SchemaError(
            f"There is no language {name!r:.60} for code.",
            hint=f"Use one of {', '.join(map(repr, get_args(Language)))}, or a gs.Lark grammar.",
        )
    if name == "sql" and importlib.util.find_spec("sqlglot") is None:
        raise LoadError(
            "Checking SQL needs sqlglot, which is not installed.",
            hint="Run: pip install 'gemma-structured[code]'",
        )
    return cast("Language", name)


def code_fault(language: Language, text: str) -> str | None:
    """What is wrong with a text as code, in words that a model can act on; `None` for nothing."""
    if len(text) > _LONGEST:
        return f"is longer than the {_LONGEST} characters of code that are checked"
    try:
        reason = _PARSERS[language](text)
    except (RecursionError, MemoryError):
        reason = "it is nested too deeply"
    if reason is None:
        return None
    return f"is not {LANGUAGE_FORMS[language]}: {' '.join(reason.split()):.200}"


def _python_fault(text: str) -> str | None:
    """What keeps a text from being one Python expression. It is compiled, and never run."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of code that is odd and still right
        try:
            compile(ast.parse(text, mode="eval"), "<code>", "eval", dont_inherit=True)
        except SyntaxError as error:
            where = f" (line {error.lineno}, column {error.offset})" if error.lineno else ""
            return f"{error.msg}{where}"
        except ValueError as error:  # a null byte, half a surrogate pair
            return str(error)
    return None


def _sql_fault(text: str) -> str | None:
    """What keeps a text from being one statement of SQL, of whichever engine."""
    import sqlglot  # noqa: PLC0415 - an extra
    from sqlglot import expressions  # noqa: PLC0415
    from sqlglot.errors import ParseError, SqlglotError  # noqa: PLC0415

    with _Silence(logging.getLogger("sqlglot")):
        try:
            statements = [each for each in sqlglot.parse(text) if each is not None]
        except ParseError as error:
            return _located(error)
        except SqlglotError:
            return "it holds a string or a character that cannot be read"
    if len(statements) != 1:
        return f"it is {len(statements) or 'no'} statements, and has to be one"
    kinds = tuple(getattr(expressions, name) for name in _STATEMENTS)
    if not isinstance(statements[0], kinds):  # sqlglot reads `hello world` as a column's alias
        return "it is no statement that queries, changes or defines something"
    return None


def _located(error: ParseError) -> str:
    """What sqlglot says is wrong, without the code that it quotes."""
    first = error.errors[0] if error.errors else {}
    said = re.sub(r"<class '[\w.]*?(\w+)'>", r"\1", str(first.get("description")))
    said = re.sub(r"<Token token_type: TokenType\.(\w+),.*", r"\1", said, flags=re.DOTALL)
    said = said.replace("SENTINEL", "the end")
    return f"{said} (line {first.get('line')}, column {first.get('col')})"


class _Silence:
    """Keep a logger from writing what it read while some code runs."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def __enter__(self) -> None:
        self._logger.addFilter(_drop)

    def __exit__(self, *_: object) -> None:
        self._logger.removeFilter(_drop)


def _drop(_: logging.LogRecord) -> bool:
    return False


_PARSERS: Final[dict[Language, Callable[[str], str | None]]] = {
    "python": _python_fault,
    "sql": _sql_fault,
}
