"""Code: ready grammars whose every text a real parser reads, and what the parsers refuse."""

from __future__ import annotations

import ast
import importlib.util
import random
import time
import warnings
from typing import Annotated

import numpy as np
import pytest
import sqlglot
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

import gemma_structured as gs
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.spec import Grammar
from gemma_structured.parsing.validate import validate
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing.byte_tokenizer import ByteTokenizer

SQL = [
    "SELECT a FROM t",
    (
        "SELECT DISTINCT c.name AS n, COUNT(*) AS k FROM customers AS c LEFT JOIN orders AS o "
        "ON c.id = o.customer_id WHERE o.total >= 9.5 AND NOT c.name LIKE '%o''Neil%' "
        "GROUP BY c.name HAVING COUNT(*) > 2 ORDER BY k DESC, n LIMIT 10 OFFSET 20"
    ),
    "WITH big AS (SELECT id FROM t WHERE x > 1)\nSELECT b.* FROM big AS b\nUNION ALL\nSELECT id FROM u",
    "SELECT CASE WHEN x IS NULL THEN 0 ELSE ROUND(AVG(x), 2) END FROM (SELECT x FROM t) AS s",
    "SELECT a FROM t WHERE EXISTS (SELECT b FROM u) AND d BETWEEN DATE '2024-01-01' AND DATE '2024-12-31'",
    "SELECT CAST(\"über id\" AS DECIMAL(10, 2)) FROM \"größe\" WHERE stadt IN ('東京', '🙂')",
]
PYTHON = [
    "1 + 2 * 3 if x else -y**2",
    "sorted(rows, key=lambda r: r.total)[:10]",
    "{k: [v for v in vs if v is not None] for k, vs in groups.items()}",
    "sum(x for x in xs) / max(1, len(xs))",
    "not a in b or (c,) == ()",
    "'%s \\'q\\' 東京 🙂' % name",
    "a[1, 2].b(c=1)(2)[::2]",
]


@pytest.mark.parametrize(("language", "texts"), [("sql", SQL), ("python", PYTHON)])
def test_ready_grammars_derive_what_they_say(language, texts):
    """Queries and expressions as people write them are in the subset, and their parser reads them."""
    lark = gs.Lark.ready(language)
    for text in texts:
        assert lark.matches(text), text
        assert gs.Code(language).fault(text) is None
    assert gs.Code(language).lark == lark


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE t",
        "DELETE FROM t",
        "SELECT a FROM t; SELECT b FROM t",
        "SELECT a FROM t -- hidden",
        "SELECT a  FROM t",
        "SELECT select FROM t",
        "SELECT a FROM t WHERE x = 'it\\'s'",
        "SELECT a FROM t WHERE x = 'line\nbreak'",
        "SELECT f(a) FROM t",
    ],
)
def test_the_subset_of_sql_only_reads(text):
    """What writes, hides or reads differently in another engine is not derived."""
    assert not gs.Lark.ready("sql").matches(text)


@pytest.mark.parametrize(
    "text", ["x = 1", "(x := 1)", "await x", "(yield)", "f'{x}'", "1 # c", "f(*a)", "lambda: 01"]
)
def test_the_subset_of_python_is_an_expression(text):
    """Statements, assignments and what runs only in a function are not derived."""
    assert not gs.Lark.ready("python").matches(text)


def walk(language: str, seed: int) -> str | None:
    """A random text of a ready grammar, byte by byte through a mask; `None` if it found no end."""
    rng = random.Random(seed)
    vocabulary = ByteTokenizer().vocabulary()
    matcher = COMPILER.compile(Grammar.lark(gs.Lark.ready(language).source)).matcher()
    mask = bitmask.allocate(1, vocabulary.size)[0]
    written = bytearray()
    while len(written) < 600:
        if matcher.is_finished or (matcher.is_accepting and rng.random() < 0.1):
            return written.decode()
        matcher.fill_bitmask(mask)
        ids = np.setdiff1d(bitmask.allowed_ids(mask, vocabulary.size), vocabulary.end_ids)
        choices = {int(i): vocabulary.tokens[int(i)] for i in ids}
        closing = [i for i, byte in choices.items() if byte in (b")", b"]", b"}", b'"', b"'")]
        signs = [i for i, byte in choices.items() if not byte.isalnum() and byte.isascii()]
        pool = closing if closing and rng.random() < 0.35 else signs
        chosen = rng.choice(pool if pool and rng.random() < 0.5 else list(choices))
        matcher.accept([chosen])
        written += choices[chosen]
    return None


COMPILER = GrammarCompiler(ByteTokenizer().vocabulary())


@pytest.mark.parametrize("language", ["sql", "python"])
def test_whatever_the_mask_writes_the_parser_reads(language):
    """Random walks through a ready grammar end in code that the real parser accepts."""
    texts = [text for seed in range(150) if (text := walk(language, seed)) is not None]
    assert len(texts) >= 40
    assert len({text[:12] for text in texts}) >= 20
    assert {text: fault for text in texts if (fault := gs.Code(language).fault(text))} == {}


@pytest.mark.parametrize("word", ["select", "FROM", "Order", "end", "values", "limit", "case"])
def test_reserved_words_need_quotes_in_sql(word):
    """A reserved word is no bare name, in any case of its letters; in quotes it is."""
    assert not gs.Lark.ready("sql").matches(f"SELECT a FROM {word}")
    assert gs.Lark.ready("sql").matches(f'SELECT a FROM "{word}"')
    assert gs.Lark.ready("sql").matches(f"SELECT a FROM {word}_1")


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("sql", "SELECT a FROM t WHERE", "missing for Where (line 1, column 21)"),
        ("sql", "SELECT COUNT(", "Expecting )"),
        ("sql", "SELECT FROM", "table name but got the end"),
        ("sql", "CREATE TABLE (secret", "but got L_PAREN (line 1, column 14)"),
        ("sql", "SELECT 'open", "a string or a character"),
        ("sql", "hello world", "no statement that queries"),
        ("sql", "EXPLAIN SELECT 1", "no statement that queries"),
        ("sql", "", "no statements"),
        ("sql", "SELECT 1; SELECT 2", "2 statements"),
        ("sql", "SELECT " + "(" * 5000, "too deeply"),
        ("sql", "\ud800", "no statement"),
        ("sql", "x" * 20_001, "longer than"),
        ("python", "1 +", "invalid syntax (line 1, column"),
        ("python", "x = 1", "invalid syntax"),
        ("python", "f(a=1, a=2)", "keyword argument repeated"),
        ("python", "await x", "outside"),
        ("python", "a\0b", "null bytes"),
        ("python", "\ud800", "surrogates"),
        ("python", "(" * 1000, "nested"),
        ("python", "-" * 15_000 + "1", "too deeply"),
        ("python", "1+" * 9_000 + "1", "too deeply"),
        ("python", "9" * 5_000, "digits"),
    ],
)
def test_parsers_say_what_is_wrong(language, text, said, capfd):
    """The fault is one short line with the place, quotes no code, and nothing is printed."""
    before = time.perf_counter()
    fault = gs.Code(language).fault(text)
    assert time.perf_counter() - before < 5
    assert said in fault
    assert len(fault) < 300
    assert "secret" not in fault
    assert "\n" not in fault
    assert not gs.Code(language).matches(text)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["SELECT a FROM t;", "INSERT INTO t VALUES (1)", "DROP TABLE t"])
def test_one_statement_of_any_kind_is_sql(text):
    """Checking alone takes all of SQL; only the mask keeps to the subset."""
    assert gs.Code("sql").matches(text)


def test_odd_python_warns_nobody():
    """Code that Python would warn of is right, and the user's filters are left alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        assert gs.Code("python").matches("1(2)")
        assert gs.Code("python").matches('"\\q"')
        assert warnings.filters == filters


@pytest.mark.parametrize("language", ["cobol", "SQL", "", None, 3, ["sql"]])
def test_unknown_languages_are_refused(language):
    """Only the languages with a parser can be named, by both ways to name one."""
    with pytest.raises(gs.SchemaError, match="'sql', 'python'"):
        gs.Code(language)
    with pytest.raises(gs.SchemaError, match="'sql', 'python'"):
        gs.Lark.ready(language)


def test_sql_needs_its_parser(monkeypatch):
    """Without sqlglot, naming SQL says what to install; Python needs nothing."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sqlglot" else real(name)
    )
    with pytest.raises(gs.LoadError, match="gemma-structured\\[code\\]"):
        gs.Code("sql")
    assert gs.Code("python").matches("1")


class Report(BaseModel):
    """Has code inside."""

    title: str
    query: Annotated[str, gs.Code("sql")]
    formula: Annotated[str, gs.Code("python")] | None = None


def test_code_inside_types_is_left_to_validation():
    """The schema names the language, the report says that the mask does not hold it."""
    output_type = OutputType.of(Report)
    assert output_type.term.value["properties"]["query"]["x-gemma-code"] == "sql"
    grammar, report = Grammar.for_output_type(output_type, DEFAULT_BOUNDS)
    assert "x-gemma-code" not in grammar.source
    assert {keyword for _, keyword in report.residual} == {"x-gemma-code"}
    assert not report.exact


def test_wrong_code_inside_types_is_an_issue_with_its_place():
    """Both checkers name the field, and the issue says what the parser said."""
    text = '{"title":"t","query":"SELECT FROM","formula":"1 +"}'
    with pytest.raises(gs.OutputValidationError) as caught:
        validate(OutputType.of(Report), text)
    issues = {issue.pointer: issue.message for issue in caught.value.issues}
    assert "table name" in issues["/query"]
    assert "invalid syntax" in issues["/formula"]
    with pytest.raises(ValidationError):
        Report(title="t", query="hello")
    right = validate(OutputType.of(Report), '{"title":"t","query":"SELECT a FROM t;"}')
    assert right.query == "SELECT a FROM t;"
    with pytest.raises(gs.SchemaError, match="Write Annotated"):
        TypeAdapter(Annotated[int, gs.Code("sql")])


def test_code_alone_is_masked_and_checked():
    """As the whole output it has the ready grammar for a mask, and the parser for a check."""
    grammar, report = Grammar.for_output_type(OutputType.of(gs.Code("python")), DEFAULT_BOUNDS)
    assert grammar == Grammar.lark(gs.Lark.ready("python").source)
    assert report.residual == (("", "x-gemma-code"),)
    with pytest.raises(gs.OutputValidationError) as caught:
        validate(OutputType.of(gs.Code("python")), "f(a=1, a=2)")
    assert "repeated" in caught.value.issues[0].message
    assert OutputType.of(gs.Code("sql")).dump("SELECT a FROM t") == "SELECT a FROM t"
    with pytest.raises(gs.InputError):
        OutputType.of(gs.Code("sql")).dump("hello")


def test_wrong_code_is_asked_for_again():
    """The model is told what the parser said, alone and in a field; the next answer counts."""
    from gemma_structured.testing import ScriptedModel

    model = ScriptedModel(["SELECT a FROM", "SELECT a FROM t"])
    result = model.generate("Which a?", gs.Code("sql"))
    assert result.output == "SELECT a FROM t"
    assert "table name" in model.requests[1].issues[0].message
    wrong = '{"title":"t","query":"SELECT a FROM t","formula":"1 +"}'
    model = ScriptedModel([wrong, wrong.replace("1 +", "1 + 1")])
    assert model.generate("Report", Report).output.formula == "1 + 1"
    assert model.requests[1].issues[0].pointer == "/formula"


def test_prompts_say_what_is_asked_for():
    """A model is told that it is to write code, without the grammar."""
    from gemma_structured.prompting.schema_prompt import describe_output

    assert describe_output(OutputType.of(gs.Code("sql"))).startswith("Answer only with one SQL")
    assert "query: string, // one SQL statement" in describe_output(OutputType.of(Report))


class Formula(BaseModel):
    """Has a short expression."""

    formula: Annotated[str, gs.Code("python"), Field(max_length=40)]


def test_the_embedded_model_writes_code(local_model):
    """A real model's query parses, under the mask, and so does an expression in a field."""
    query = local_model.generate(
        "List the names of customers older than 30.\nTable: customers(name, age)",
        gs.Code("sql"),
        max_tokens=200,
    )
    (statement,) = sqlglot.parse(query.output)
    assert statement is not None
    formula = local_model.generate("The sum of x and y", Formula, max_tokens=200)
    ast.parse(formula.output.formula, mode="eval")
