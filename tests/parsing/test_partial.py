"""Streamed text → the value so far and its closed parts."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.exceptions import InputError
from gemma_structured.parsing.partial import JsonValueParser, TextValueParser

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None, exclude_categories=())),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=4), children, max_size=4)
    ),
    max_leaves=15,
)


@st.composite
def texts_in_pieces(draw: st.DrawFn) -> list[str]:
    """JSON text as some writer would lay it out, cut anywhere."""
    text = json.dumps(
        draw(json_values),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
        separators=draw(st.sampled_from([None, (",", ":")])),
    )
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def read(text: str, *, finish: bool = True) -> JsonValueParser:
    """Feed a text character by character."""
    parser = JsonValueParser()
    for character in text:
        parser.feed(character)
    if finish:
        parser.finish()
    return parser


def paths_of(value: JsonValue) -> set[tuple[str | int, ...]]:
    """All the paths of a value, its own included."""
    members = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else [])
    )
    return {(), *((key, *path) for key, member in members for path in paths_of(member))}


def at_path(value: JsonValue, path: tuple[str | int, ...]) -> JsonValue:
    """The value at a path."""
    for key in path:
        value = value[key]  # type: ignore[index, call-overload]
    return value


def is_prefix(shown: JsonValue, final: JsonValue) -> bool:
    """Whether a partial value can grow into the final one by text that only appends."""
    if isinstance(shown, dict):
        return isinstance(final, dict) and all(is_prefix(v, final[k]) for k, v in shown.items())
    if isinstance(shown, list):
        return (
            isinstance(final, list)
            and all(map(is_prefix, shown, final))
            and len(shown) <= len(final)
        )
    if isinstance(shown, str):
        return isinstance(final, str) and final.startswith(shown)
    if isinstance(shown, bool) or shown is None:
        return shown is final
    return isinstance(final, int | float)


@given(texts_in_pieces())
def test_the_whole_text_is_read_as_json_loads_reads_it(pieces: list[str]) -> None:
    """However the text is cut, the final value is `json.loads`'s and every path is closed."""
    parser = JsonValueParser()
    for piece in pieces:
        parser.feed(piece)
    parser.finish()
    expected = json.loads("".join(pieces))
    assert repr(parser.value) == repr(expected)
    assert parser.closed == paths_of(expected)
    assert not parser.is_broken


@given(texts_in_pieces())
def test_values_grow_and_closed_ones_stay(pieces: list[str]) -> None:
    """Each value that was shown is a start of the final one, and its closed parts are final."""
    final = json.loads("".join(pieces))
    parser = JsonValueParser()
    shown = []
    for piece in pieces:
        parser.feed(piece)
        shown.append((parser.value, repr(parser.value), parser.closed))
    for value, written, closed in shown:
        assert repr(value) == written, "a value that was read does not change"
        assert value is None or is_prefix(value, final)
        for path in closed:
            assert repr(at_path(value, path)) == repr(at_path(final, path))
    assert all(a <= b for (_, _, a), (_, _, b) in itertools.pairwise(shown))


@given(texts_in_pieces())
def test_events_do_not_depend_on_the_cuts(pieces: list[str]) -> None:
    """The same values close in the same order, children before their parents."""
    parser = JsonValueParser()
    for piece in pieces:
        parser.feed(piece)
    parser.finish()
    text = "".join(pieces)
    assert repr(parser.closed_events) == repr(read(text).closed_events)
    seen: set[tuple[str | int, ...]] = set()
    for path, value in parser.closed_events:
        assert {(*path, *below) for below in paths_of(value) - {()}} <= seen
        assert path not in seen
        seen.add(path)


@given(st.text(st.sampled_from('[]{}:,"\\u0d8ecntrfals -.1'), max_size=30), st.integers(0, 30))
def test_any_text_is_read_without_an_error(text: str, cut: int) -> None:
    """Text that is no JSON breaks the parser and raises nothing; only real JSON closes the root."""
    parser = JsonValueParser()
    parser.feed(text[:cut])
    parser.feed(text[cut:])
    parser.finish()
    try:
        expected = json.loads(text)
    except ValueError:
        assert parser.is_broken or () not in parser.closed
    else:
        assert parser.is_broken or repr(parser.value) == repr(expected)
    assert parser.closed == read(text).closed


@pytest.mark.parametrize(
    ("text", "value", "closed"),
    [
        ("", None, set()),
        ("  {", {}, set()),
        ('{"a', {}, set()),
        ('{"a":', {}, set()),
        ('{"a":tru', {}, set()),
        ('{"a":true', {"a": True}, {("a",)}),
        ('{"a":"x', {"a": "x"}, set()),
        ('{"a":"x","b":12', {"a": "x", "b": 12}, {("a",)}),
        ('{"a":"x","b":12.', {"a": "x", "b": 12}, {("a",)}),
        ('{"a":-', {}, set()),
        ('{"b":12 ', {"b": 12}, {("b",)}),
        ("[1,[2", [1, [2]], {(0,)}),
        ("[1,[2]", [1, [2]], {(0,), (1,), (1, 0)}),
        (r'"\ud83d', "", set()),
        (r'"\ud83d\ude0', "", set()),
        (r'"\ud83d\ude00', "\U0001f600", set()),
        (r'"\ud83dx', "\ud83dx", set()),
        ("42", 42, set()),
    ],
)
def test_what_is_shown_of_an_unfinished_text(
    text: str, value: JsonValue, closed: set[tuple[str | int, ...]]
) -> None:
    """Half a string and a number so far are shown; half a word, key or escape is not."""
    parser = read(text, finish=False)
    assert parser.value == value
    assert parser.closed == closed


def test_a_surrogate_pair_split_over_deltas_is_one_character() -> None:
    """The halves of an escaped pair join although they come in different pieces."""
    parser = JsonValueParser()
    for piece in ('"a\\ud8', "3d", "\\", "ude", '00b"'):
        parser.feed(piece)
        assert "\ud83d" not in str(parser.value)
    assert parser.value == "a\U0001f600b"


def test_a_number_closes_at_its_end_only() -> None:
    """At the root the end of the text closes a number; inside, it may have been cut."""
    root, inside = read("12", finish=False), read("[12", finish=False)
    assert root.closed == inside.closed == frozenset()
    root.finish()
    inside.finish()
    assert root.closed == {()}
    assert inside.closed == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[1e999,",
        "01 ",
        "{'a'",
        '{"a":1,"a":2}',
        "[1,]",
        "{} x",
        '"\x01',
        r'"\x',
        "[}",
        "]",
        "1" * 5000 + " ",
    ],
)
def test_what_is_not_strict_json_breaks_the_parser(text: str) -> None:
    """The parser stops there; what was shown and closed before stays."""
    parser = read(text, finish=False)
    before = (parser.value, parser.closed)
    assert parser.is_broken
    parser.feed('{"more":1}')
    assert (parser.value, parser.closed) == before


def test_nesting_is_followed_to_a_bound() -> None:
    """512 levels are read, one more breaks the parser, without a recursion error."""
    assert () in read("[" * 512 + "]" * 512).closed
    assert read("[" * 513 + "]" * 513).is_broken


def test_a_finished_parser_refuses_more_text() -> None:
    """Feeding after the end is the caller's mistake and says so."""
    for parser in (JsonValueParser(), TextValueParser()):
        parser.finish()
        with pytest.raises(InputError, match="finished"):
            parser.feed("x")


def test_closed_paths_are_a_frozen_set() -> None:
    """A set of closed paths equals, hashes like and combines to frozensets, and does not grow."""
    parser = read('{"a":1,"b":[2', finish=False)
    closed = parser.closed
    parser.feed(",3]}")
    assert closed == frozenset({("a",)})
    assert frozenset({("a",)}) == closed
    assert hash(closed) == hash(frozenset({("a",)}))
    assert ("b", 0) not in closed
    assert type(parser.closed & {("b", 0)}) is frozenset
    assert parser.closed - closed == {("b", 0), ("b", 1), ("b",), ()}
    assert repr(closed) == "ClosedPaths({('a',)})"


def seconds_to_read(items: int) -> tuple[float, int]:
    """How long an answer of so many records takes, character by character, all of it looked at."""
    text = json.dumps([{"id": i, "name": f"Name {i}", "tags": ["a", "b"]} for i in range(items)])
    started = time.perf_counter()
    parser = JsonValueParser()
    for character in text:
        parser.feed(character)
        assert parser.value is not None
        assert len(parser.closed) <= 7 * items
    return time.perf_counter() - started, len(text)


def test_reading_takes_linear_time() -> None:
    """An answer eight times as long takes far less than 64 times as long, and 100 kB seconds."""
    short, short_length = min(seconds_to_read(250) for _ in range(2))
    long, long_length = seconds_to_read(2000)
    assert long_length > 100_000 > short_length
    assert long / long_length < 3 * short / short_length


@given(st.lists(st.text(), max_size=5))
def test_a_text_output_is_its_own_value(pieces: list[str]) -> None:
    """The text so far is the value, and it closes when it ends."""
    parser = TextValueParser()
    for piece in pieces:
        parser.feed(piece)
        assert parser.closed == frozenset()
    assert parser.value == "".join(pieces)
    parser.finish()
    parser.finish()
    assert parser.closed == {()}
    assert list(parser.closed_events) == [((), "".join(pieces))]
