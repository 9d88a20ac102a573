"""Every route there is, and how to ask it for something."""

import re
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from scripthut_outputs import app
from scripthut_outputs.controllers.routing import Guard
from tests.integration.outputs.house import House

_FILLED = {"run_id": "r1", "task_id": "t0", "token_id": "0123456789abcdef"}
_SAFE = {"GET", "HEAD", "OPTIONS"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered, and how many bytes of the body had been taken by then."""

    status_code: int
    headers: dict[bytes, bytes]
    body: bytes
    taken_bytes: int


class Body:
    """What a client sends: so many bytes in pieces, made as they are taken."""

    def __init__(self, size_bytes: int = 0, content: bytes = bytes(64 * 1024)) -> None:
        self._left_bytes = size_bytes
        self._piece = content
        self.taken_bytes = 0

    async def receive(self) -> dict[str, Any]:
        piece = self._piece[: self._left_bytes]
        self._left_bytes -= len(piece)
        self.taken_bytes += len(piece)
        return {"type": "http.request", "body": piece, "more_body": self._left_bytes > 0}


def routes(house: House) -> list[tuple[str, HTTPRouteHandler]]:
    """Every route of the framework, by its path with names in braces."""
    litestar = app.build_litestar(house.parts, Guard(house.reading, house.parts.noting))
    return [
        (route.path_format, handler)
        for route in litestar.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    ]


def addresses(house: House) -> list[tuple[str, str]]:
    """Every method with every address, of the run `r1`; those that are plain ASGI too."""
    found = [
        (method, re.sub(r"\{(\w+)\}", lambda found: _FILLED.get(found[1], "x"), path))
        for path, handler in routes(house)
        for method in handler.http_methods - {"OPTIONS"}
    ]
    plain = ["/runs/r1/tasks/t0/outputs/file/a.txt", "/runs/r1/archive", "/runs/r1/events"]
    odd = [
        (method, path) for path in (*plain, "/nowhere", "/ui/nowhere") for method in ("GET", "POST", "PUT", "DELETE")
    ]
    return sorted({*found, *odd})


def unsafe(house: House) -> list[tuple[str, str]]:
    """Those that change something."""
    return [(method, path) for method, path in addresses(house) if method not in _SAFE]


async def ask(
    house: House,
    method: str,
    address: str,
    headers: Iterable[tuple[str, str]] = (),
    *,
    body: Body | None = None,
    peer: str = "192.0.2.1",
) -> Asked:
    """Ask over plain ASGI, as quickly as it goes."""
    path, _, query = address.partition("?")
    sent = {b"host": b"localhost", **{name.encode(): value.encode("latin-1") for name, value in headers}}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "raw_path": path.encode(),
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("localhost", 8080),
        "client": (peer, 1),
        "headers": [*sent.items()],
    }
    sending, messages = body or Body(), list[Any]()

    async def send(message: Any) -> None:
        messages.append(message)

    await cast("Any", house.app)(scope, sending.receive, send)
    whole = b"".join(message.get("body", b"") for message in messages[1:])
    return Asked(
        status_code=int(messages[0]["status"]),
        headers=dict(messages[0]["headers"]),
        body=whole,
        taken_bytes=sending.taken_bytes,
    )
