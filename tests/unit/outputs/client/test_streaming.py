"""Server-sent events are read alike however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import TransientError
from scripthut_outputs.client.streaming import Event, Reader

STREAM = (
    'retry: 3000\n\n: heartbeat\n\nevent: item\ndata: {"a": "größe 🎈"}\n\n'
    "event: run\nid: 7\ndata: {}\n\ndata: x\ndata: y\n\n"
)
EVENTS = [
    Event(name="item", data='{"a": "größe 🎈"}'),
    Event(name="run", data="{}"),
    Event(name="message", data="x\ny"),
]


def read(reader: Reader, *pieces: bytes) -> list[Event]:
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@given(cuts=st.lists(st.integers(0, len(STREAM.encode()) + 20), max_size=8))
def test_events_come_out_whole_wherever_the_bytes_are_cut(newline: str, cuts: list[int]) -> None:
    said = STREAM.replace("\n", newline).encode() + b": end"
    places = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    reader = Reader()

    found = read(reader, *(said[start:end] for start, end in pairwise(places)))

    assert found == EVENTS
    assert (reader.last_id, reader.retry_ms) == ("7", 3000)


def test_what_a_connection_left_unfinished_is_forgotten() -> None:
    reader = Reader("3")

    read(reader, b"id: 9\nevent: item\ndata: {")
    reader.begin()

    assert read(reader, b"data: {}\n\n") == [Event(name="message", data="{}")]
    assert reader.last_id == "3"


def test_what_nobody_took_of_a_piece_does_not_come_back_with_a_new_connection() -> None:
    reader = Reader()
    events = reader.feed(b"data: a\n\ndata: b\n\ndata: c")
    assert next(events).data == "a"

    reader.begin()
    del events

    assert read(reader, b"data: {}\n\n") == [Event(name="message", data="{}")]


def test_an_id_counts_only_when_its_event_is_whole() -> None:
    reader = Reader("3")

    read(reader, b"id: 9\ndata: {}\n")
    assert reader.last_id == "3"
    read(reader, b"\n")

    assert reader.last_id == "9"


@pytest.mark.parametrize("endless", [b"x" * (17 * 1024 * 1024), b"data: xxxxxxxx\n" * 1_500_000])
def test_an_endless_event_is_given_up(endless: bytes) -> None:
    with pytest.raises(TransientError, match="too large"):
        read(Reader(), *(endless[start : start + 2**20] for start in range(0, len(endless), 2**20)))
