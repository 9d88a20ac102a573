"""The bytes of a task's output files: the one route that is plain ASGI, for its speed and for its paths.

Paths are bytes: the framework would decode them lossily, so the raw path is read. A file is found by the exact
bytes of its name in the ledger; no path is ever joined.
"""

import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import msgspec
from litestar.exceptions import MethodNotAllowedException
from litestar.types import HTTPScope, Message, Receive, Send

from scripthut_common.errors import NotFound, StoreUnavailable
from scripthut_outputs.access import Action
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.ledger import FileState, LedgerRow

from . import ranges
from .content import headers_for
from .noting import FILE_READ
from .problems import LeftOut, send_problem
from .routing import Guard, require_ids
from .sending import HungUp, closing, send_pieces
from .small import Blobs, SmallBlobs

_ROUTE = re.compile(rb"/runs/([^/]+)/tasks/([^/]+)/outputs/file/(.*)", re.DOTALL)
ACTION = Action.READ_RUN
PATHSEND = "http.response.pathsend"
Answer = Callable[[Receive, Send], Awaitable[None]]
_METHODS = frozenset({"GET", "HEAD"})
# What the page of a PDF asks for in its frame; opened by itself, it is saved as ever.
_FRAMED = b"framed=1"
_CONDITIONS = frozenset({b"if-match", b"if-none-match", b"range", b"if-range"})


def is_file(raw_path: bytes) -> bool:
    """Tell addresses of files from others, cheaply; what is none after all is not found."""
    return raw_path.startswith(b"/runs/") and b"/outputs/file/" in raw_path


class _Served(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is answered: made once for each name and content."""

    sha256: str
    size_bytes: int
    etag: bytes
    headers: list[tuple[bytes, bytes]]
    whole: dict[str, Any]
    """The start of a 200 answer."""


class Files:
    """Answers GET and HEAD of a file."""

    def __init__(self, reading: Reading, blobs: Blobs, guard: Guard) -> None:
        self._reading = reading
        self._blobs = blobs
        self._guard = guard
        self._small = SmallBlobs(blobs)

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Serve one request whose raw path `is_file`."""
        is_head = scope["method"] == "HEAD"
        try:
            served = await self._find(scope)
            answer = await self._choose(served, scope, is_head=is_head)
        except Exception as error:  # noqa: BLE001  the mapper of errors to answers, for this route
            await send_problem(send, error, scope["path"], is_head=is_head)
        else:
            await answer(receive, send)

    async def _find(self, scope: HTTPScope) -> _Served:
        found = _ROUTE.fullmatch(scope["raw_path"])
        if found is None:
            raise NotFound("there is no such file")
        run, task, path = found.groups()
        run_id = _text(run)
        await self._guard.ask_to_read(scope, FILE_READ, run_id)
        if scope["method"] not in _METHODS:
            raise MethodNotAllowedException(headers={"allow": "GET, HEAD"})

        is_framed = scope["query_string"] == _FRAMED and (b"sec-fetch-dest", b"document") not in scope["headers"]

        async def describe() -> _Served:
            task_id = _text(task)
            require_ids(task_id)
            row = await self._reading.file(run_id, task_id, unquote_to_bytes(path))
            return _describe(row, is_framed=is_framed)

        return await self._reading.cache.get(run_id, ("served", task, path, is_framed), describe)

    async def _choose(self, served: _Served, scope: HTTPScope, *, is_head: bool) -> Answer:
        """Have everything ready that can fail, before the first byte is sent."""
        asked = {name: value for name, value in scope["headers"] if name in _CONDITIONS}
        if asked:
            ranges.require_match(asked.get(b"if-match"), served.etag)
        if asked and ranges.is_held(asked.get(b"if-none-match"), served.etag):
            return _empty({"type": "http.response.start", "status": 304, "headers": served.headers})
        if is_head:
            return _empty(served.whole)
        if b"range" in asked:
            part = ranges.choose(
                asked[b"range"], asked.get(b"if-range"), etag=served.etag, size_bytes=served.size_bytes
            )
            if part is not None:
                return await self._part(served, part)
        return await self._whole(served, scope)

    async def _whole(self, served: _Served, scope: HTTPScope) -> Answer:
        content = await self._small.read(served.sha256, served.size_bytes)
        if content is not None:
            return _at_once(served.whole, content)
        path = self._blobs.local_path(served.sha256)
        if path is None or PATHSEND not in (scope.get("extensions") or {}):
            return await self._streamed(served.whole, served, 0, served.size_bytes)
        if not os.path.exists(path):  # noqa: PTH110, ASYNC240  a microsecond, on the hot path
            raise StoreUnavailable(f"the blob {served.sha256} is missing from the store")

        async def answer(receive: Receive, send: Send) -> None:  # noqa: ARG001  the server itself sees who hangs up
            await send(cast("Message", served.whole))
            await send(cast("Message", {"type": PATHSEND, "path": path}))

        return answer

    async def _part(self, served: _Served, part: ranges.Part) -> Answer:
        last = part.start + part.length - 1
        content_range = f"bytes {part.start}-{last}/{served.size_bytes}".encode()
        length = (b"content-length", str(part.length).encode())
        headers = [*served.headers, length, (b"content-range", content_range)]
        start = {"type": "http.response.start", "status": 206, "headers": headers}
        return await self._streamed(start, served, part.start, part.length)

    async def _streamed(self, start: dict[str, Any], served: _Served, first: int, length: int) -> Answer:
        pieces = self._blobs.stream(served.sha256, start=first, length=length)
        try:
            piece = await anext(pieces, b"")
        except NotFound as error:
            raise StoreUnavailable(f"the blob {served.sha256} is missing from the store") from error

        async def all_pieces() -> AsyncGenerator[bytes, None]:
            async with closing(pieces):
                yield piece
                async for following in pieces:
                    yield following

        async def answer(receive: Receive, send: Send) -> None:
            with suppress(HungUp):
                await send_pieces(receive, send, start, all_pieces())

        return answer


def _describe(row: LedgerRow, *, is_framed: bool) -> _Served:
    if row.state is not FileState.STORED or row.sha256 is None or row.stored_bytes is None:
        if row.removed_at is not None:
            raise LeftOut(f"this file is no longer here: {row.reason}")
        more = f": {row.reason}" if row.reason else ""
        raise LeftOut(f"this file was left out ({row.state}){more}")
    etag = f'"{row.sha256}"'.encode()
    shown = headers_for(row.path, is_framed=is_framed, is_followed=row.followed_at is not None)
    headers = [*shown, (b"etag", etag), (b"accept-ranges", b"bytes")]
    length = (b"content-length", str(row.stored_bytes).encode())
    whole = {"type": "http.response.start", "status": 200, "headers": [*headers, length]}
    return _Served(sha256=row.sha256, size_bytes=row.stored_bytes, etag=etag, headers=headers, whole=whole)


def _at_once(start: dict[str, Any], body: bytes) -> Answer:
    async def answer(receive: Receive, send: Send) -> None:  # noqa: ARG001  nothing is left to stop
        await send(cast("Message", start))
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return answer


def _empty(start: dict[str, Any]) -> Answer:
    return _at_once(start, b"")


def _text(raw: bytes) -> str:
    """The id in one segment of a raw path; what is no text is no id, and found nowhere."""
    return unquote_to_bytes(raw).decode("ascii", "replace")
