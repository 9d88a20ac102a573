"""A viewer of a run's events, as browsers read them."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

_LINE_END = re.compile(rb"\r\n|\n|\r(?!$)")


class Told(msgspec.Struct, frozen=True):
    """One event: its type, what it says, its id if it has one."""

    name: str
    said: Any
    version: int | None


class Stream:
    """A stream that is read as the HTML standard says: lines end with CR, LF or both, an empty line ends an event.

    Attributes:
        version: the last id, which a browser sends when it comes back.
        retry_ms: what the server said of coming back.
    """

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.version: int | None = None
        self.retry_ms: int | None = None
        self._lines = _lines(answer.aiter_bytes())

    async def next(self) -> Told:
        """Wait for an event.

        Raises:
            StopAsyncIteration: the stream has ended.
            TimeoutError: none came.
        """
        async with asyncio.timeout(30):
            return await self._next()

    async def until(self, name: str, **said: Any) -> list[Told]:
        """Read up to an event that says this; give all, that one last."""
        seen: list[Told] = []
        while not seen or seen[-1].name != name or not _says(seen[-1], said):
            seen.append(await self.next())
        return seen

    async def comment(self) -> None:
        """Wait for a comment, which says nothing but that the stream is alive."""
        async with asyncio.timeout(30):
            async for line in self._lines:
                if line.startswith(b":"):
                    return

    async def rest(self) -> list[Told]:
        """Read to the end of the stream."""
        seen: list[Told] = []
        async with asyncio.timeout(30):
            while True:
                try:
                    seen.append(await self._next())
                except StopAsyncIteration:
                    return seen

    async def _next(self) -> Told:
        name, lines, version = "message", list[str](), None
        async for line in self._lines:
            field, _, value = line.decode().partition(":")
            value = value.removeprefix(" ")
            if not line:
                if lines:
                    self.version = self.version if version is None else version
                    return Told(name, msgspec.json.decode("\n".join(lines)), version)
                name, version = "message", None
            elif field == "event":
                name = value
            elif field == "data":
                lines.append(value)
            elif field == "id":
                version = int(value)
            elif field == "retry":
                self.retry_ms = int(value)
        raise StopAsyncIteration


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    kept = b""
    async for piece in pieces:
        # A CR at the very end may be half of a line end.
        *whole, kept = _LINE_END.split(kept + piece)
        for line in whole:
            yield line


def _says(told: Told, said: dict[str, Any]) -> bool:
    return all(told.said.get(name) == value for name, value in said.items())


@asynccontextmanager
async def opened(
    client: httpx.AsyncClient, run_id: str = "r1", since: int | str | None = None, last: int | str | None = None
) -> AsyncIterator[Stream]:
    """Open a run's events; `last` is sent as a browser does that comes back."""
    query = {} if since is None else {"since": str(since)}
    headers = {} if last is None else {"last-event-id": str(last)}
    async with client.stream("GET", f"/runs/{run_id}/events", params=query, headers=headers) as answer:
        yield Stream(answer)
