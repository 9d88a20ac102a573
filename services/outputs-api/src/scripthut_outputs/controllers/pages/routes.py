"""The addresses of the pages."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from scripthut_outputs.access import Action
from scripthut_outputs.access.may import visible_owner
from scripthut_outputs.catalog.views import RunOverview
from scripthut_outputs.controllers.answers import Cursor
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.routing import asks

from . import assets, banners, file_routes, gathering, giving, showing, templating
from .giving import PageRequest

_RUNS_A_PAGE = 40
_REFRESH_S = 3
_REFRESH_LIST_S = 15
_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}


@get("/static/{version:str}/{name:str}", opt=asks(Action.ENTER), include_in_schema=False)
async def static(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Give a style or a script; the page for signing in needs them too."""
    asset = assets.find(version, name)
    return Response(asset.body, media_type=asset.media_type, headers=_FOR_EVER)


@get("/", opt=asks(Action.LIST_RUNS), include_in_schema=False)
async def runs(request: PageRequest, parts: NamedDependency[Parts], cursor: Cursor = None) -> Response[str]:
    """List the runs that the reader may see, newest first."""
    found = await parts.reading.runs(owner=visible_owner(request.user), limit=_RUNS_A_PAGE, cursor=cursor)
    cards = tuple(showing.run_card(run) for run in found.runs)
    html = templating.write(
        "runs.html",
        runs=cards,
        banners=await _banners(parts, found.runs),
        is_later=cursor is not None,
        next_url=found.next and f"/ui/?cursor={found.next}",
        viewer=request.user.name,
        refresh_s=_REFRESH_S if any(card.is_alive for card in cards) else _REFRESH_LIST_S,
    )
    return giving.fresh(request, html)


@get("/runs/{run_id:str}", opt=asks(Action.READ_RUN), include_in_schema=False)
async def run(
    request: PageRequest,
    run_id: FromPath[str],
    parts: NamedDependency[Parts],
    cursor: Cursor = None,
) -> Response[str]:
    """Show a run."""
    head = await parts.reading.head(run_id)
    told = await _banners(parts, [await parts.reading.run(run_id)])

    async def make() -> bytes:
        found = await gathering.run_page(parts.reading, parts.blobs, parts.max_inline, run_id, cursor)
        return _page("run.html", request, found, told, cursor, is_moving=found.is_moving)

    return await giving.kept(
        request, parts.reading, run_id, ("run", cursor, head.version, told, request.user.name), make
    )


@get("/runs/{run_id:str}/tasks/{task_id:str}", opt=asks(Action.READ_RUN), include_in_schema=False)
async def task(
    request: PageRequest,
    run_id: FromPath[str],
    task_id: FromPath[str],
    parts: NamedDependency[Parts],
    cursor: Cursor = None,
) -> Response[str]:
    """Show one task with all its files."""
    head = await parts.reading.head(run_id)
    item = await parts.reading.item(run_id, task_id)
    told = await _banners(parts, [await parts.reading.run(run_id)])

    async def make() -> bytes:
        found = await gathering.task_page(parts.reading, parts.blobs, parts.max_inline, item, cursor)
        return _page("task.html", request, found, told, cursor, is_moving=found.is_moving)

    return await giving.kept(
        request, parts.reading, run_id, ("task", task_id, cursor, head.version, told, request.user.name), make
    )


@post("/runs/{run_id:str}/tasks/{task_id:str}/collect", opt=asks(Action.COLLECT_AGAIN), include_in_schema=False)
async def collect(run_id: FromPath[str], task_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Collect a task's outputs once more, and lead back to it."""
    await parts.creating.collect_again(run_id, task_id)
    return Response("", status_code=303, headers={"location": f"/ui/runs/{run_id}/tasks/{task_id}"})


@post("/runs/{run_id:str}/pin", opt=asks(Action.PIN_RUN), include_in_schema=False)
async def pin(request: PageRequest, run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Keep a run's files whatever the retention says, and lead back to it."""
    await parts.pins.pin(run_id, by=request.user.name)
    return Response("", status_code=303, headers={"location": f"/ui/runs/{run_id}"})


@post("/runs/{run_id:str}/unpin", opt=asks(Action.PIN_RUN), include_in_schema=False)
async def unpin(run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Leave a run to the retention again, and lead back to it."""
    await parts.pins.unpin(run_id)
    return Response("", status_code=303, headers={"location": f"/ui/runs/{run_id}"})


ROUTER = Router("/ui", route_handlers=[static, runs, run, task, file_routes.file, file_routes.log, collect, pin, unpin])


async def _banners(parts: Parts, shown: Sequence[RunOverview]) -> tuple[banners.Banner, ...]:
    moment = banners.Moment(
        clusters=await parts.reading.clusters(),
        served=parts.clusters,
        bounds=parts.bounds,
        now=datetime.now(UTC),
        is_bus_away=parts.bus_fault() is not None,
    )
    return banners.of_runs(shown, moment)


def _page(
    template: str,
    request: PageRequest,
    found: msgspec.Struct,
    told: tuple[banners.Banner, ...],
    cursor: str | None,
    *,
    is_moving: bool,
) -> bytes:
    return templating.write(
        template,
        banners=told,
        is_later=cursor is not None,
        viewer=request.user.name,
        refresh_s=_REFRESH_S if is_moving else None,
        **msgspec.structs.asdict(found),
    ).encode()
