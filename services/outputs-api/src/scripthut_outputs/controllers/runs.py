"""Runs: create, cancel, list, show."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.exceptions import ClientException, InternalServerException
from litestar.params import FromPath, HeaderParameter

from scripthut_common.errors import InvalidInput, LimitExceeded, Problem
from scripthut_common.tasks import MAX_DOCUMENT_BYTES
from scripthut_outputs.access import Action, Actor, Role
from scripthut_outputs.access.may import visible
from scripthut_outputs.catalog import run_document
from scripthut_outputs.catalog.asked import RunSort
from scripthut_outputs.catalog.views import ClusterView

from .answers import Cursor, Limit, encoded, kept
from .asking import Cluster, Owner, RunOrder, State, Text, runs_asked
from .bodies import MAX_IGNORED_BYTES
from .parts import Parts
from .routing import asks
from .shapes import AskedJson, RunJson, RunListJson, RunWithItemsJson, item_json, run_json
from .standing import UNKNOWN, is_stale

_MAX_KEY_CHARACTERS = 255
_IN_THE_LOOP_BYTES = 64 * 1024
_IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="idempotency-key",
        description="the same key with the same document is the same run",
        schema_extra={"pattern": f"^[ -~]{{1,{_MAX_KEY_CHARACTERS}}}$"},
    ),
]


class Runs(Controller):
    """What people ask for and what became of it."""

    path = "/runs"
    tags = ("runs",)

    @post(
        opt=asks(Action.CREATE_RUN),
        status_code=201,
        summary="Create a run from a document",
        request_max_body_size=None,
    )
    async def create(
        self,
        request: Request[Actor, Any, Any],
        parts: NamedDependency[Parts],
        idempotency_key: _IdempotencyKey = None,
    ) -> Response[RunJson]:
        """Create the run; the same request again finds it (200)."""
        if idempotency_key is not None and not _is_key(idempotency_key):
            message = f"must be 1 to {_MAX_KEY_CHARACTERS} printable ASCII characters"
            raise InvalidInput("Idempotency-Key is wrong", [Problem(field="Idempotency-Key", message=message)])
        body = await _read(request)
        if len(body) <= _IN_THE_LOOP_BYTES:
            document = run_document.read(body, parts.clusters)
        else:
            document = await asyncio.to_thread(run_document.read, body, parts.clusters)
        opened = run_document.opened(document, parts.access.policy().default_visibility.value, request.user.groups)
        act = parts.noting.act(request.scope, "run.created")
        created = await parts.creating.create(
            document, owner=request.user.name, idempotency_key=idempotency_key, opened=opened, act=act
        )
        run = await parts.reading.run(created.run_id)
        status_code = 201 if created.is_new else 200
        return encoded(run_json(run), status_code=status_code, location=f"/runs/{created.run_id}")

    @post("/{run_id:str}/cancel", opt=asks(Action.CANCEL_RUN), status_code=202, summary="Cancel what is alive")
    async def cancel(
        self,
        request: Request[Actor, Any, Any],
        run_id: FromPath[str],
        parts: NamedDependency[Parts],
    ) -> Response[RunJson]:
        """Ask for it; the items say when it has happened."""
        act = parts.noting.act(request.scope, "run.cancelled")
        await parts.creating.cancel(run_id, requested_by=request.user.name, act=act)
        return encoded(run_json(await parts.reading.run(run_id)), status_code=202)

    @put("/{run_id:str}/pin", opt=asks(Action.PIN_RUN), summary="Keep a run's files whatever the retention says")
    async def pin(
        self,
        request: Request[Actor, Any, Any],
        run_id: FromPath[str],
        parts: NamedDependency[Parts],
    ) -> Response[RunJson]:
        """Pin it; what was removed before stays removed."""
        await parts.pins.pin(run_id, by=request.user.name, act=parts.noting.act(request.scope, "run.pinned"))
        return encoded(run_json(await parts.reading.run(run_id)))

    @delete("/{run_id:str}/pin", opt=asks(Action.PIN_RUN), status_code=200, summary="Leave a run to the retention")
    async def unpin(
        self,
        request: Request[Actor, Any, Any],
        run_id: FromPath[str],
        parts: NamedDependency[Parts],
    ) -> Response[RunJson]:
        """Take the pin away; nothing is removed at once."""
        await parts.pins.unpin(run_id, act=parts.noting.act(request.scope, "run.unpinned"))
        return encoded(run_json(await parts.reading.run(run_id)))

    @put("/{run_id:str}/visibility", opt=asks(Action.SHARE_RUN), summary="Say who may read a run besides its owner")
    async def open(
        self,
        request: Request[Actor, Any, Any],
        run_id: FromPath[str],
        parts: NamedDependency[Parts],
    ) -> Response[RunJson]:
        """Open it to a group of the caller's, to everybody who is known here, or to nobody."""
        await set_open(request, parts, run_id, run_document.read_open(await request.body()))
        return encoded(run_json(await parts.reading.run(run_id)))

    @post(
        "/{run_id:str}/outputs/collect",
        opt=asks(Action.COLLECT_AGAIN),
        status_code=202,
        summary="Collect again what is not there whole",
    )
    async def collect(
        self,
        request: Request[Actor, Any, Any],
        run_id: FromPath[str],
        parts: NamedDependency[Parts],
    ) -> Response[AskedJson]:
        """Ask for the outputs of all ended tasks that failed or are incomplete; what is stored already stays."""
        act = parts.noting.act(request.scope, "run.collected_again")
        return encoded(AskedJson(tasks=await parts.creating.collect_run_again(run_id, act=act)), status_code=202)

    @get(opt=asks(Action.LIST_RUNS), summary="List runs, newest first unless `sort` says otherwise")
    async def index(
        self,
        request: Request[Actor, Any, Any],
        parts: NamedDependency[Parts],
        cluster: Cluster = "",
        owner: Owner = "",
        in_state: State = "",
        text: Text = "",
        sort: RunOrder = RunSort.NEWEST,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response[RunListJson]:
        """List those that the caller may see. A cursor is of the list with the same filters and the same order."""
        asked = runs_asked(cluster, owner, in_state, text, sort)
        found = await parts.reading.runs(asked, visible=visible(request.user), limit=limit, cursor=cursor)
        return encoded(RunListJson(runs=tuple(run_json(run) for run in found.runs), next=found.next))

    @get("/{run_id:str}", opt=asks(Action.READ_RUN), summary="Show a run with its items in submission order")
    async def show(
        self, run_id: FromPath[str], parts: NamedDependency[Parts], cursor: Cursor = None, limit: Limit = 1000
    ) -> Response[RunWithItemsJson]:
        """Show a run and a page of its items."""
        head = await parts.reading.head(run_id)
        cluster = (await parts.reading.clusters()).get(head.cluster) or ClusterView(name=head.cluster, state=UNKNOWN)
        stale = is_stale(cluster, parts.bounds, datetime.now(UTC))

        async def make() -> RunWithItemsJson:
            run = await parts.reading.run(run_id)
            found = await parts.reading.items(run_id, limit=limit, cursor=cursor)
            return RunWithItemsJson(
                **msgspec.structs.asdict(run_json(run)),
                cluster_state=cluster.state,
                cluster_stale=stale,
                items=tuple(item_json(item) for item in found.items),
                next=found.next,
            )

        return await kept(parts.reading.cache, run_id, ("run", cursor, limit, cluster.state, stale), make)


async def set_open(request: Request[Actor, Any, Any], parts: Parts, run_id: str, to: run_document.Open) -> None:
    """Say who may read a run; admins may name any group.

    Raises:
        InvalidInput: it cannot be opened so.
    """
    is_admin = request.user.role is Role.ADMIN
    run_document.require_open(to, None if is_admin else request.user.groups)
    await parts.opening.set(run_id, to, act=parts.noting.act(request.scope, "run.visibility", run_id=run_id))


async def _read(request: Request[Actor, Any, Any]) -> bytes:
    """Read a document's bytes. One that is too large is read on for a while: most clients send all before they listen.

    Raises:
        LimitExceeded: it is too large.
        ClientException: the sender went away before its end.
    """
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        async for piece in request.stream():
            size_bytes += len(piece)
            if size_bytes <= MAX_DOCUMENT_BYTES:
                pieces.append(piece)
            elif size_bytes > MAX_IGNORED_BYTES:
                break
    except InternalServerException as error:
        # Litestar's word for a sender that hung up; nothing of ours is at fault.
        raise ClientException(detail="the document was cut: its sender went away") from error
    if size_bytes > MAX_DOCUMENT_BYTES:
        raise LimitExceeded(f"a run document has at most {MAX_DOCUMENT_BYTES} bytes; this one has more")
    return b"".join(pieces)


def _is_key(text: str) -> bool:
    return 0 < len(text) <= _MAX_KEY_CHARACTERS and text.isascii() and text.isprintable()
