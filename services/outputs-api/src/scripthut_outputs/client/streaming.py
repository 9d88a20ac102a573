"""Read server-sent events from pieces of bytes, however they are cut. Pure.

A sample: `id: 7`, `event: item`, `data: {"task_id": "t0"}`, an empty line.
Source: WHATWG HTML, section 9.2, "Server-sent events".
"""

import re
from collections.abc import Iterator

import msgspec

from scripthut_common.errors import TransientError

_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
_MAX_EVENT_BYTES = 16 * 1024 * 1024


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event: its name and the text of its data."""

    name: str
    data: str


class Reader:
    """Takes pieces, gives events.

    Attributes:
        last_id: what to resume from; empty until the stream says one. It counts from the end of its event on.
        retry_ms: how long the stream wants us to wait before we come back; `None` if it said nothing.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_ms: int | None = None
        self._lines: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Take the pieces of a new connection; what the one before left unfinished is told again."""
        self._rest = b""
        self._name, self._id, self._lines = "", self.last_id, []
        self._held_bytes = 0

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that this piece completes.

        Raises:
            TransientError: an event is larger than any of ours.
        """
        *lines, self._rest = _END.split(self._rest + piece)
        for line in lines:
            self._held_bytes += len(line)
            event = self._take(line.decode("utf-8", "replace"))
            if event is not None:
                yield event
        if self._held_bytes + len(self._rest) > _MAX_EVENT_BYTES:
            raise TransientError("the live stream holds an event that is too large to be one")

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._lines.append(value)
            case "event":
                self._name = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value)
            case _:
                pass
        return None

    def _dispatch(self) -> Event | None:
        self.last_id, self._held_bytes = self._id, 0
        name, lines, self._name, self._lines = self._name, self._lines, "", []
        return Event(name=name or "message", data="\n".join(lines)) if lines else None
