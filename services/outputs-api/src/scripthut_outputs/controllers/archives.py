"""Everything of a task or a run as one zip, made while it is sent: plain ASGI, so that a fault can cut the answer.

An archive that cannot be made to its end is not ended: the connection is cut, and without its table of contents no
unpacker takes it for whole.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic
from typing import Any, cast

import structlog
from litestar import Controller, Response, get
from litestar.exceptions import MethodNotAllowedException
from litestar.params import FromPath
from litestar.types import HTTPScope, Message, Receive, Send

from scripthut_common.errors import NotFound
from scripthut_outputs import archiving
from scripthut_outputs.access import Action, Actor
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.zipping import zipped

from .door import actor_now
from .noting import ARCHIVE_READ
from .packing import Members, Packing
from .problems import send_problem
from .routing import Guard, asks, require_ids
from .sending import HungUp, begun, send_pieces
from .small import Blobs
from .turns import Limits, Turns

log = structlog.get_logger()

ACTION = Action.READ_RUN
ASK_AGAIN_S = 1.0
_ROUTE = re.compile(rb"/runs/([A-Za-z0-9._-]+)(?:/tasks/([A-Za-z0-9._-]+)/outputs)?/archive")
_SHAPE = re.compile(rb"/runs/[^/]+(?:/tasks/[^/]+/outputs)?/archive")
# What cannot be the id of a run is as unknown as any that nobody has.
_NO_ID = "."
_METHODS = frozenset({"GET", "HEAD"})


class Archived(Controller):
    """Stands for the archives in the schema; `Archives` answers them."""

    path = "/runs/{run_id:str}"
    tags = ("outputs",)

    @get("/archive", opt=asks(ACTION), summary="Everything of a run as a zip")
    async def run(self, run_id: FromPath[str]) -> Response[bytes]:  # noqa: ARG002  for the schema
        """A folder for each task; `run.json` lists them."""
        raise NotFound("there is no such run")

    @get("/tasks/{task_id:str}/outputs/archive", opt=asks(ACTION), summary="Everything of a task as a zip")
    async def task(self, run_id: FromPath[str], task_id: FromPath[str]) -> Response[bytes]:  # noqa: ARG002  for the schema
        """`ledger.json` lists every file, stored or left out; files lie below `outputs/`, logs beside it."""
        raise NotFound("there is no such task")


def is_archive(raw_path: bytes) -> bool:
    """Tell addresses of archives from others; what is none after all, for its ids, is not found."""
    return raw_path.endswith(b"/archive") and _SHAPE.fullmatch(raw_path) is not None


class Archives:
    """Answers GET and HEAD of an archive."""

    def __init__(self, reading: Reading, blobs: Blobs, guard: Guard, limits: Limits) -> None:
        self._reading = reading
        self._packing = Packing(reading, blobs)
        self._guard = guard
        self._limits = limits
        self.turns = Turns(limits)

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Serve one request whose raw path `is_archive`."""
        is_head, has_started = scope["method"] == "HEAD", False
        try:
            start, members = await self._find(scope)
            if is_head:
                await send(cast("Message", start))
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            watched = self._while_allowed(scope, zipped(members))
            async with self.turns.one(_name(scope)), aclosing(members), aclosing(watched) as pieces:
                first = await anext(pieces)
                has_started = True
                await send_pieces(
                    receive, send, start, begun(first, pieces), stalled_after_s=self._limits.stalled_after_s
                )
        except HungUp as hung_up:
            log.info("archive_left", path=scope["path"], reason=str(hung_up))
        except Exception as error:
            if has_started:
                log.error("archive_cut", path=scope["path"], fault=str(error))  # noqa: TRY400  the server tells the rest
                raise
            await send_problem(send, error, scope["path"], is_head=is_head)

    async def _while_allowed(
        self, scope: HTTPScope, pieces: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """Yield pieces for as long as they are the receiver's to have.

        Raises:
            NotFound: they are not any more.
            NotAuthenticated: nor does anybody know any more who that is.
        """
        asked_at = monotonic()
        async with aclosing(pieces):
            async for piece in pieces:
                if monotonic() - asked_at > ASK_AGAIN_S:
                    await self._guard.ask(await actor_now(scope), ACTION, _run_of(scope))
                    asked_at = monotonic()
                yield piece

    async def _find(self, scope: HTTPScope) -> tuple[dict[str, Any], Members]:
        """Give the start of the answer and what is to be packed; nothing is read of files yet."""
        found = _ROUTE.fullmatch(scope["raw_path"])
        run_id = found[1].decode("ascii") if found else _NO_ID
        task_id = found[2].decode("ascii") if found and found[2] else None
        await self._guard.ask_to_read(scope, ARCHIVE_READ, run_id)
        require_ids(task_id)
        if scope["method"] not in _METHODS:
            raise MethodNotAllowedException(headers={"allow": "GET, HEAD"})
        if task_id is None:
            return _start(run_id), self._packing.run(await self._reading.run(run_id))
        return _start(run_id, task_id), self._packing.task(await self._reading.item(run_id, task_id))


def _start(*ids: str) -> dict[str, Any]:
    headers = [
        (b"content-type", b"application/zip"),
        (b"content-disposition", f'attachment; filename="{archiving.archive_name(*ids)}"'.encode("ascii")),
        # Made anew for each request: what a cut download has cannot be continued.
        (b"accept-ranges", b"none"),
        (b"cache-control", b"private, no-store"),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"same-origin"),
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _run_of(scope: HTTPScope) -> str | None:
    found = _ROUTE.fullmatch(scope["raw_path"])
    return found and found[1].decode("ascii")


def _name(scope: HTTPScope) -> str:
    actor: Actor = scope["user"]
    return actor.name
