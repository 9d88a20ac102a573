"""What changes of a run, told while it happens: plain ASGI, since the answer has no end of its own."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, cast
from urllib.parse import parse_qs

from litestar import Controller, Response, get
from litestar.exceptions import MethodNotAllowedException
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.types import HTTPScope, Message, Receive, Send

from scripthut_common.errors import NotAuthenticated, NotFound, TransientError
from scripthut_outputs.access import Action
from scripthut_outputs.live import RETRY, Batch, Hub

from .door import actor_now
from .noting import STREAM_OPENED
from .places import Places, StreamLimits
from .problems import send_problem
from .routing import Guard, asks
from .sending import HungUp, Stalled, begun, send_pieces

ACTION = Action.READ_RUN
MEDIA_TYPE = "text/event-stream"
_ROUTE = re.compile(rb"/runs/([A-Za-z0-9._-]+)/events")
_METHODS = frozenset({"GET", "HEAD"})
_VERSION = re.compile(r"[0-9]{1,18}")
_NO_VERSION = -1
_LOOKS_AGAIN_AFTER_S = 0.5
# What cannot be the id of a run is as unknown as any that nobody has.
_NO_ID = "."
_Since = Annotated[
    str | None,
    QueryParameter(description="the version that the caller holds", schema_extra={"pattern": f"^{_VERSION.pattern}$"}),
]
_LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="last-event-id",
        description="the `id` of the last event that came, of a stream that was lost; goes before `since`",
        schema_extra={"pattern": f"^{_VERSION.pattern}$"},
    ),
]
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"cache-control", b"no-store"),
        # A proxy that gathers an answer before it passes it on would tell nothing at all.
        (b"x-accel-buffering", b"no"),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"same-origin"),
    ],
}


class Streamed(Controller):
    """Stands for the stream in the schema; `Live` answers it."""

    path = "/runs/{run_id:str}"
    tags = ("runs",)

    @get("/events", opt=asks(ACTION), summary="What changes of a run, while it happens")
    async def events(
        self,
        run_id: FromPath[str],  # noqa: ARG002  for the schema
        since: _Since = None,  # noqa: ARG002  for the schema
        last_event_id: _LastEventId = None,  # noqa: ARG002  for the schema
    ) -> Response[bytes]:
        """Everything after the version `since`, or after the header `Last-Event-ID`; without either, from now on."""
        raise NotFound("there is no such run")


def is_events(raw_path: bytes) -> bool:
    """Tell addresses of streams from others."""
    return raw_path.startswith(b"/runs/") and raw_path.endswith(b"/events") and raw_path.count(b"/") == 3


class Live:
    """Answers GET and HEAD of a run's events.

    Args:
        hub: knows what changes.
        guard: is asked before each batch again.
        limits: how many may listen at once, and for how long without taking anything.
    """

    def __init__(self, hub: Hub, guard: Guard, limits: StreamLimits) -> None:
        self._hub = hub
        self._guard = guard
        self._places = Places(limits)
        self._stalled_after_s = limits.stalled_after_s

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Serve one request whose raw path `is_events`."""
        is_head, has_started = scope["method"] == "HEAD", False
        try:
            run_id = await self._find(scope)
            if is_head:
                await send(cast("Message", _START))
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            with self._places.one(scope["user"].name):
                async with aclosing(self._pieces(scope, run_id)) as pieces:
                    first = await anext(pieces)
                    has_started = True
                    with self._hub.metrics.streams.track_inprogress():
                        await send_pieces(
                            receive, send, _START, begun(first, pieces), stalled_after_s=self._stalled_after_s
                        )
        except Stalled:
            self._hub.metrics.dropped.labels("stalled").inc()
        except HungUp:
            pass
        except Exception as error:
            if has_started:
                raise
            await send_problem(send, error, scope["path"], is_head=is_head)

    async def _find(self, scope: HTTPScope) -> str:
        """Give the run whose events are asked for by somebody who may have them."""
        found = _ROUTE.fullmatch(scope["raw_path"])
        run_id = found[1].decode("ascii") if found else _NO_ID
        await self._guard.ask_to_read(scope, STREAM_OPENED, run_id)
        if scope["method"] not in _METHODS:
            raise MethodNotAllowedException(headers={"allow": "GET, HEAD"})
        return run_id

    async def _pieces(self, scope: HTTPScope, run_id: str) -> AsyncGenerator[bytes, None]:
        """Yield the stream; what it raises before its first piece is a fault of the request, later it is an end."""
        since, was_away = _since(scope)
        is_first = True
        async with aclosing(self._hub.view(run_id, since, was_away=was_away)) as batches:
            try:
                async for batch in batches:
                    await self._ask_again(scope, batch, waits=not is_first)
                    for piece in (RETRY, *batch.pieces) if is_first else batch.pieces:
                        yield piece
                    is_first = False
            except (NotFound, NotAuthenticated, TransientError):
                # Gone, no longer theirs, or not to be read just now: the browser asks again and is told which.
                if is_first:
                    raise

    async def _ask_again(self, scope: HTTPScope, batch: Batch, *, waits: bool) -> None:
        """Ask whether the caller may hear this; where it `waits`, for as long as nobody can be looked up.

        A heartbeat says nothing, so it need not wait.

        Raises:
            NotFound: the run is not theirs any more.
            NotAuthenticated: the token is no longer known.
            TransientError: nobody can be looked up, and it does not wait, or every stream is at its end.
        """
        while True:
            try:
                actor = await actor_now(scope)
            except TransientError:
                if waits and batch.is_silent:
                    return
                if not waits or self._hub.is_closed:
                    raise
                await asyncio.sleep(_LOOKS_AGAIN_AFTER_S)
            else:
                self._guard.ask_of(actor, ACTION, batch.run)
                return


def _since(scope: HTTPScope) -> tuple[int | None, bool]:
    """The version that the caller holds, and whether it lost a stream and comes back.

    A negative version stands for one that is none; `None`: it says nothing.
    """
    header = next((value for name, value in scope["headers"] if name == b"last-event-id" and value), None)
    if header is not None:
        return _version(header.decode("latin-1")), True
    try:
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=100).get(
            "since"
        )
    except ValueError:
        return _NO_VERSION, False
    return (None if asked is None else _version(asked[0])), False


def _version(text: str) -> int:
    return int(text) if _VERSION.fullmatch(text) else _NO_VERSION
