"""A server that says what a test wrote down, byte for byte, and notes what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

Writer = asyncio.StreamWriter


class Request(msgspec.Struct, frozen=True):
    """What was asked: the address, and the headers by their names in lower case."""

    path: str
    headers: dict[str, str]


Answer = Callable[[Request, Writer], Awaitable[None]]


class Scripted:
    """Attributes: `asked`: every request so far, in order."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[Request] = []
        self.url = ""

    @asynccontextmanager
    async def up(self, context: ssl.SSLContext | None = None) -> AsyncIterator["Scripted"]:
        """Serve until the block ends, with TLS where there is a context for it."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = (line.split(": ", 1) for line in head[1:] if ": " in line)
            request = Request(head[0].split()[1], {name.lower(): value for name, value in fields})
            self.asked.append(request)
            await self._answer(request, writer)
            await writer.drain()
        writer.close()


def say(writer: Writer, body: bytes, *, status: str = "200 OK", kind: str = "application/json", **headers: str) -> None:
    """Answer whole, and close."""
    fields = {"content-type": kind, "content-length": str(len(body)), "connection": "close"} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)
