"""Bodies are taken in whole, or refused; a sender that stops is not waited for."""

import asyncio
from typing import Any, cast

import pytest
from litestar.exceptions import ClientException
from litestar.types import HTTPScope

from scripthut_common.errors import LimitExceeded
from scripthut_outputs.controllers.bodies import MAX_BYTES, TooSlow, taken


def scope(method: str = "POST", path: str = "/login") -> HTTPScope:
    return cast("HTTPScope", {"method": method, "path": path})


def sender(*messages: dict[str, Any]) -> Any:
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        message = next(coming, None)
        if message is None:
            await asyncio.Event().wait()
            raise AssertionError("nothing sets it")
        return message

    return receive


def piece(body: bytes, *, is_last: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": not is_last}


async def test_a_body_in_pieces_arrives_whole_and_then_what_the_sender_does_next() -> None:
    gone = {"type": "http.disconnect"}

    receive = await taken(scope(), {}, sender(piece(b"a"), piece(b""), piece(b"b", is_last=True), gone))

    assert await receive() == piece(b"ab", is_last=True)
    assert cast("Any", await receive()) == gone


async def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    await taken(scope(), {}, sender(piece(bytes(MAX_BYTES), is_last=True)))

    with pytest.raises(LimitExceeded, match="65536 bytes"):
        await taken(scope(), {}, sender(piece(bytes(MAX_BYTES)), piece(b"x")))
    with pytest.raises(LimitExceeded):
        await taken(scope(), {b"content-length": b"65537"}, sender())


async def test_a_sender_who_stops_is_not_waited_for() -> None:
    with pytest.raises(TooSlow, match="within 0 s"):
        await taken(scope(), {}, sender(piece(b"a")), wait_s=0.0)


async def test_a_sender_who_leaves_is_told_from_an_end() -> None:
    with pytest.raises(ClientException, match="went away"):
        await taken(scope(), {}, sender(piece(b"a"), {"type": "http.disconnect"}))


@pytest.mark.parametrize("path", ["/runs", "/runs/"])
async def test_a_run_document_is_left_to_its_handler(path: str) -> None:
    receive = sender()

    assert await taken(scope(path=path), {b"content-length": b"33000000"}, receive) is receive
    with pytest.raises(LimitExceeded, match="a run document"):
        await taken(scope(path=path), {b"content-length": b"1000000000"}, receive)
