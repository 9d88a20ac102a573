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


class Streamed:
    """An application whose streams speak the contract; everything else is answered by the one inside.

    Attributes:
        opened: the queries with which streams were opened.
        closed: how many were closed by their readers.
        refusal: a status that streams are answered with instead.
    """

    def __init__(self, app: Any, house: House) -> None:
        self._app = app
        self._reading = Reading(house.database, Cache(), renderer=RENDERER)
        self.opened: list[str] = []
        self.closed = 0
        self.refusal: int | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        self.opened.append(scope["query_string"].decode())
        status = self.refusal or 200
        await send(_start(status))
        if self.refusal is None:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._tell(found[1], scope, send))
                leaving = group.create_task(_disconnected(receive))
                await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
                self.closed += leaving.done()
                telling.cancel()
                leaving.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, run_id: str, scope: Any, send: Any) -> None:
        told = int(parse_qs(scope["query_string"].decode()).get("since", ["0"])[0])
        clusters = await self._reading.clusters()
        await _say(send, "retry: 300\n\n")
        while self.refusal is None:
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


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _start(status: int) -> dict[str, Any]:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    return {"type": "http.response.start", "status": status, "headers": headers}


def _event(name: str, data: object, *, version: int | None = None) -> str:
    known = "" if version is None else f"id: {version}\n"
    return f"event: {name}\n{known}data: {msgspec.json.encode(data).decode()}\n\n"


async def _say(send: Any, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
