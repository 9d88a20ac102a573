"""The stream of a run in a few lines, for pages that are tested without the real one: it looks often, and tells."""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qs

import msgspec

from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.controllers.shapes import item_json
from scripthut_outputs.rendering import RENDERER
from tests.integration.outputs.house import House

_PATH = re.compile(r"/runs/([^/]+)/events")
_LOOK_S = 0.05


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


class Streamed:
    """An application whose streams speak the contract; everything else is answered by the one inside."""

    def __init__(self, app: Any, house: House) -> None:
        self._app = app
        self._reading = Reading(house.database, Cache(), renderer=RENDERER)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        await send(_start(200))
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell(found[1], scope, send))
            while (await receive())["type"] != "http.disconnect":
                pass
            telling.cancel()

    async def _tell(self, run_id: str, scope: Any, send: Any) -> None:
        told = int(parse_qs(scope["query_string"].decode()).get("since", ["0"])[0])
        clusters = await self._reading.clusters()
        await _say(send, "retry: 300\n\n")
        while True:
            head = await self._reading.head(run_id)
            if head.version > told:
                listed = await self._reading.items(run_id, limit=10_000, cursor=None)
                for item in listed.items:
                    if item.version > told:
                        await _say(send, _event("item", item_json(item)))
                run = {"run_id": run_id, "version": head.version}
                await _say(send, _event("run", run, version=head.version))
                told = head.version
            if (now := await self._reading.clusters()) != clusters:
                await _say(send, _event("cluster", {}))
                clusters = now
            await asyncio.sleep(_LOOK_S)


def _start(status: int) -> dict[str, Any]:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    return {"type": "http.response.start", "status": status, "headers": headers}


def _event(name: str, data: object, *, version: int | None = None) -> str:
    known = "" if version is None else f"id: {version}\n"
    return f"event: {name}\n{known}data: {msgspec.json.encode(data).decode()}\n\n"


async def _say(send: Any, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
