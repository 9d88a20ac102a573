"""The addresses of the pages."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from scripthut_outputs.access import Action
from scripthut_outputs.access.may import may, visible
from scripthut_outputs.catalog.asked import ItemsAsked, ItemSort, RunSort
from scripthut_outputs.controllers.answers import Cursor
from scripthut_outputs.controllers.asking import (
    Cluster,
    ItemOrder,
    Owner,
    RunOrder,
    State,
    Text,
    Under,
    Word,
    runs_asked,
)
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.routing import asks

from . import acts, admin, assets, file_routes, filters, gathering, giving, sharing, templating, tokens
from .cards import run_card
from .giving import PageRequest
from .readers import reader

_RUNS_A_PAGE = 40
_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
Since = Annotated[
    str | None, QueryParameter(description="only the parts that changed after this version", max_length=64)
]
# What a button that was just pressed asked for.
Pressed = Annotated[Literal["", "cancel", "collect"], QueryParameter(name="asked")]


@get("/static/{version:str}/{name:str}", opt=asks(Action.ENTER), include_in_schema=False)
async def static(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Give a style or a script; the page for signing in needs them too."""
    asset = assets.find(version, name)
    return Response(asset.body, media_type=asset.media_type, headers=_FOR_EVER)


@get("/", opt=asks(Action.LIST_RUNS), include_in_schema=False)
async def runs(
    request: PageRequest,
    parts: NamedDependency[Parts],
    cluster: Cluster = "",
    owner: Owner = "",
    in_state: State = "",
    text: Text = "",
    sort: RunOrder = RunSort.NEWEST,
    cursor: Cursor = None,
) -> Response[str]:
    """List the runs that the reader may see."""
    seen = visible(request.user)
    asked = runs_asked(cluster, owner, in_state, text, sort)
    found = await parts.reading.runs(asked, visible=seen, limit=_RUNS_A_PAGE, cursor=cursor)
    clusters = sorted(await parts.reading.cluster_names(seen))
    cards = tuple(run_card(run) for run in found.runs)
    has_others = bool(asked.owner) or any(run.owner != request.user.name for run in found.runs)
    html = templating.write(
        "runs.html",
        runs=cards,
        bar=filters.runs_bar(asked, clusters, may_choose_owner=seen.is_all or has_others),
        banners=await giving.told(parts, found.runs),
        is_later=cursor is not None,
        next_url=found.next and filters.runs_url(asked, cursor=found.next),
        **reader(request.user),
        refresh_s=giving.REFRESH_S if any(card.is_alive for card in cards) else giving.REFRESH_LIST_S,
    )
    return giving.fresh(request, html)


@get("/runs/{run_id:str}", opt=asks(Action.READ_RUN), include_in_schema=False)
async def run(
    request: PageRequest,
    run_id: FromPath[str],
    parts: NamedDependency[Parts],
    under: Under = "",
    word: Word = "",
    text: Text = "",
    sort: ItemOrder = ItemSort.ORDER,
    cursor: Cursor = None,
    since: Since = None,
    pressed: Pressed = "",
) -> Response[str]:
    """Show a run; with `since` only what has changed of its page."""
    head = await parts.reading.head(run_id)
    told = await giving.told(parts, [await parts.reading.run(run_id)])
    view = gathering.View(
        asked=ItemsAsked(under=under, word=word, text=text.strip(), sort=sort),
        cursor=cursor,
        since=giving.read_since(since, head.version),
    )
    shown = {
        "banners": told,
        "pressed": pressed,
        "may_cancel": may(request.user, Action.CANCEL_RUN, head),
        "may_collect": may(request.user, Action.COLLECT_AGAIN, head),
        "may_pin": may(request.user, Action.PIN_RUN, head),
        "sharing": await sharing.panel(request, parts, head),
        **giving.frame(request, head, since),
    }

    async def make() -> bytes:
        found = await gathering.run_page(parts, head, view)
        return _page("run.html", found, shown, is_moving=found.is_moving)

    return await giving.kept(request, parts.reading, run_id, ("run", view, sorted(shown.items())), make)


@get("/runs/{run_id:str}/tasks/{task_id:str}", opt=asks(Action.READ_RUN), include_in_schema=False)
async def task(
    request: PageRequest,
    run_id: FromPath[str],
    task_id: FromPath[str],
    parts: NamedDependency[Parts],
    cursor: Cursor = None,
    since: Since = None,
) -> Response[str]:
    """Show one task with all its files; with `since` nothing of it that has not changed."""
    head = await parts.reading.head(run_id)
    item = await parts.reading.item(run_id, task_id)
    told = await giving.told(parts, [await parts.reading.run(run_id)])
    shown = {
        "banners": told,
        "is_same": item.version <= giving.read_since(since, head.version),
        "task": task_id,
        **giving.frame(request, head, since),
    }

    async def make() -> bytes:
        found = await gathering.task_page(parts, item, cursor)
        return _page("task.html", found, shown, is_moving=found.is_moving)

    return await giving.kept(request, parts.reading, run_id, ("task", task_id, cursor, sorted(shown.items())), make)


ROUTER = Router(
    "/ui",
    route_handlers=[
        *(static, runs, run, task, file_routes.file, file_routes.log),
        *(acts.cancel, acts.collect_run, acts.collect, acts.pin, acts.unpin),
        *(tokens.index, tokens.create, tokens.revoke, tokens.end_sessions),
        *(sharing.set_visibility, sharing.share, sharing.revoke),
        *admin.ROUTES,
    ],
)


def _page(template: str, found: msgspec.Struct, shown: dict[str, Any], *, is_moving: bool) -> bytes:
    refresh_s = giving.REFRESH_S if is_moving else None
    return templating.write(template, refresh_s=refresh_s, **shown, **msgspec.structs.asdict(found)).encode()
