"""A gate before the streams of an application: it counts them, and refuses them when it is told to."""

import asyncio
import re
from typing import Any

_PATH = re.compile(r"/runs/([^/]+)/events")


class Gate:
    """Stands before the streams of an application: counts them, and refuses them when it is told to.

    Attributes:
        opened: the queries with which streams were opened.
        closed: how many were closed by their readers.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._refusal: int | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.opened: list[str] = []
        self.closed = 0

    def refuse(self, status: int) -> None:
        """Cut all streams, and answer new ones with this status."""
        self._refusal = status
        for stream in self._open:
            stream.cancel()

    def admit(self) -> None:
        """Refuse no more."""
        self._refusal = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not _PATH.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        self.opened.append(scope["query_string"].decode())
        if self._refusal is None:
            await self._pass(scope, receive, send)
        else:
            await send(_start(self._refusal))
            await send({"type": "http.response.body", "body": b""})

    async def _pass(self, scope: Any, receive: Any, send: Any) -> None:
        stream: asyncio.Task[None] = asyncio.create_task(self._app(scope, receive, send))
        self._open.add(stream)
        await asyncio.wait([stream])
        self._open.discard(stream)
        if stream.cancelled():
            await send({"type": "http.response.body", "body": b""})
        else:
            self.closed += 1


def _start(status: int) -> dict[str, Any]:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    return {"type": "http.response.start", "status": status, "headers": headers}
