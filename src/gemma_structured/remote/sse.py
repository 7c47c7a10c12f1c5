"""Server-sent events, cut anywhere, back to their data.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import codecs

__all__ = ["EventReader"]


class EventReader:
    """Reads an event stream piece by piece.

    Comments, names, ids and retry times are skipped: chat completions have data alone. Text that is
    not UTF-8 is read with replacement characters, as the specification says.
    """

    __slots__ = ("_data", "_decoder", "_line", "_skip_newline")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line: list[str] = []
        self._data: list[str] = []
        self._skip_newline = False

    @property
    def is_between_events(self) -> bool:
        """Whether all that was fed has been given back: an end here cuts no event."""
        return not self._data and not self._line

    def feed(self, piece: bytes) -> list[str]:
        """Read the next bytes.

        Returns:
            The data of the events that they complete.
        """
        text = self._decoder.decode(piece)
        if self._skip_newline and text:
            text = text.removeprefix("\n")  # the rest of a line end that was cut between CR and LF
            self._skip_newline = False
        if text.endswith("\r"):
            self._skip_newline = True
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        events: list[str] = []
        for line in lines[:-1]:
            self._line.append(line)
            event = self._end_line()
            if event is not None:
                events.append(event)
        if lines[-1]:
            self._line.append(lines[-1])
        return events

    def _end_line(self) -> str | None:
        """Take in a whole line; give back the event that an empty one ends."""
        line = "".join(self._line)
        self._line.clear()
        if not line:
            if not self._data:
                return None
            event = "\n".join(self._data)
            self._data.clear()
            return event
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return None
