"""Server-sent events: the same data however the bytes are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.remote.sse import EventReader

line_ends = st.sampled_from(["\n", "\r\n", "\r"])
data = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)


def read(pieces):
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)], reader


def cut(body, cuts):
    marks = sorted({min(mark, len(body)) for mark in cuts})
    return [body[a:b] for a, b in zip([0, *marks], [*marks, len(body)], strict=True)]


@given(
    events=st.lists(st.lists(data, min_size=1, max_size=3), max_size=5),
    end=line_ends,
    comment=st.booleans(),
    mark=st.booleans(),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_any_cut_gives_the_same_events(events, end, comment, mark, cuts):
    """Line ends of all three kinds, comments, a byte order mark: nothing depends on the pieces."""
    text = "".join(
        (f": OPENROUTER PROCESSING{end}{end}" if comment else f"event: x{end}id: 1{end}")
        + "".join(f"data: {line}{end}" for line in lines)
        + end
        for lines in events
    )
    body = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    found, reader = read(cut(body, cuts))
    assert found == ["\n".join(lines) for lines in events]
    assert reader.is_between_events


def test_an_event_that_is_cut_is_not_given_out():
    """Without the empty line at its end an event has not come, and the reader knows."""
    found, reader = read([b"data: 1\n\ndata: 2\n"])
    assert found == ["1"]
    assert not reader.is_between_events
    assert read([b"data: 2"])[1].is_between_events is False


def test_data_without_a_space_and_fields_without_a_value():
    """One space after the colon belongs to the syntax; a field may have no colon at all."""
    assert read([b"data:a\ndata:  b\ndata\nretry: 5\n\n\n\n"])[0] == ["a\n b\n"]


def test_bytes_that_are_no_utf_8_are_replaced():
    """They end up as replacement characters, not as an exception."""
    assert read([b"data: \xff\xc3", b"(\n\n"])[0] == ["\ufffd\ufffd("]
