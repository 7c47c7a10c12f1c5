"""An answer is judged piece by piece: where the value began that cannot stand, and what is settled."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.parsing.checked import Fault, JsonChecker
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.residual import ResidualChecks

if TYPE_CHECKING:
    from collections.abc import Sequence

SET = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
ORDER = {"type": "object", "properties": {"name": {"type": "string"}, "tags": SET}}
NUMBER = {"type": "number", "not": {"multipleOf": 0.5, "minimum": 3}}


def checker_for(schema: Any) -> JsonChecker:
    parsed = JsonSchema(schema)
    checks = ResidualChecks.of(parsed, normalize(parsed).residual)
    assert checks is not None
    return JsonChecker(checks)


def first_fault(checker: JsonChecker, pieces: Sequence[str]) -> tuple[int, Fault] | None:
    """The number of the first piece after which something cannot stand, and what."""
    for number, piece in enumerate(pieces):
        if fault := checker.read(piece):
            return number, fault
    fault = checker.finish()
    return None if fault is None else (len(pieces), fault)


def test_a_fault_says_in_which_pieces_things_begin():
    """The value that cannot stand, the whole that it is part of, and what cannot stand there too."""
    pieces = ['{"name"', ':"x",', '"tags":', '["a', '","', "a", '"', "]}"]
    assert first_fault(checker_for(ORDER), pieces) == (6, Fault(4, 0, ((3, 4),)))


def test_a_value_within_one_piece_begins_there():
    """Opened and closed by one piece, it is that piece's."""
    assert first_fault(checker_for(SET), ["", '["a"', ',"a"]']) == (2, Fault(2, 1, ((1, 1),)))


def test_text_that_cannot_be_followed_cannot_stand():
    """A key that comes twice spoils the answer, whatever follows."""
    assert first_fault(checker_for(ORDER), ['{"x":1', ',"x', '":2']) == (2, Fault(start=2, root=0))


def test_the_end_closes_a_number():
    """A number that is all of the answer is judged when it ends, and can go on until then."""
    checker = checker_for({"type": "number", "not": {"multipleOf": 0.3}})
    assert first_fault(checker, ["1", "2"]) == (2, Fault(start=0, root=0))
    checker.rewind(2)
    assert checker.read("5") is None
    assert checker.finish() is None


def test_only_what_is_judged_is_not_settled():
    """Text outside the items that are checked is settled at once, theirs when they have closed."""
    checker = checker_for(ORDER)
    settled = []
    for piece in [
        '{"name',
        '":"',
        "abc",
        '",',
        '"tags":',
        "[",
        '"a',
        '"',
        ',"',
        "b",
        '"',
        "]",
        "}",
    ]:
        assert checker.read(piece) is None
        settled.append(checker.settled)
    assert settled == [1, 2, 3, 4, 5, 6, 6, 8, 8, 8, 11, 12, 13]


TEXT = json.dumps({"name": "abc", "tags": ["a", "b", "é\n", "ab"]}, separators=(",", ":"))


@given(st.lists(st.integers(1, len(TEXT) - 1), max_size=12), st.data())
def test_rewinding_equals_reading_afresh(cuts, data):
    """However the text is cut, and wherever it is taken back to, the same is judged alike."""
    places = sorted({0, *cuts, len(TEXT)})
    pieces = [TEXT[a:b] for a, b in pairwise(places)]
    checker, fresh = checker_for(ORDER), checker_for(ORDER)
    assert first_fault(checker, pieces) is None
    count = data.draw(st.integers(0, len(pieces)))
    checker.rewind(count)
    for piece in pieces[:count]:
        assert fresh.read(piece) is None
    assert checker.settled == fresh.settled
    again = [*pieces[count:-1], ',"a"]}'] if count < len(pieces) else []
    assert first_fault(checker, again) == first_fault(fresh, again)
