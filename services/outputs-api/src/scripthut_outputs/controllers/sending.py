"""Send an answer that arrives in pieces: no faster than it is taken, no longer than somebody listens."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar, cast

from litestar.types import Message, Receive, Send

T = TypeVar("T")
_END: dict[str, Any] = {"type": "http.response.body", "body": b"", "more_body": False}


class HungUp(Exception):
    """The receiver went away, or takes nothing any more."""


class Stalled(HungUp):
    """The receiver takes nothing any more."""


async def send_pieces(
    receive: Receive,
    send: Send,
    start: dict[str, Any],
    pieces: AsyncGenerator[bytes, None],
    *,
    stalled_after_s: float | None = None,
) -> None:
    """Send them all, and close `pieces` in any case; servers tell that somebody hung up only to those who ask.

    What `pieces` raises is raised: an answer without its end is one that its receiver knows to be cut.

    Args:
        receive: of the request.
        send: of the request.
        start: the start of the answer.
        pieces: its body.
        stalled_after_s: a receiver who takes nothing for so long has hung up; `None`: it may take all the time.

    Raises:
        HungUp: nobody listens any more.
    """
    fault: BaseException | None = None
    try:
        async with aclosing(pieces), asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(receive))
            await send(cast("Message", start))
            async for piece in pieces:
                await _within(stalled_after_s, send({"type": "http.response.body", "body": piece, "more_body": True}))
            await send(cast("Message", _END))
            watching.cancel()
    except BaseExceptionGroup as faults:
        fault = faults.exceptions[0]
    try:
        if fault is not None:
            raise fault
    finally:
        # An error that its own frame refers to would keep open files from being closed.
        del fault


async def begun(first: bytes, following: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield pieces of which the first was taken before the answer began, to see whether there is one."""
    yield first
    async for piece in following:
        yield piece


@asynccontextmanager
async def closing(pieces: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close what a generator holds open at the end of the block, not when its memory is tidied up."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


async def _within(seconds: float | None, sending: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await sending
    except TimeoutError as error:
        raise Stalled(f"the receiver took nothing for {seconds:g} s") from error


async def _watch(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise HungUp("the receiver hung up")
