"""The pages of those who run this installation: quiet tables, and the few buttons that they need."""

import platform
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from scripthut_common import text
from scripthut_common.bus import QUEUES
from scripthut_outputs.access import Action
from scripthut_outputs.catalog.auditing import Asked
from scripthut_outputs.controllers.admin import ByActor, OfRun, clusters_now, holders_now
from scripthut_outputs.controllers.answers import Cursor
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.routing import asks
from scripthut_outputs.rendering import RENDERER

from . import assets, giving, templating
from .filters import Choice
from .giving import PageRequest
from .readers import reader

_ROWS = 100
_SECTIONS = {
    "": "Clusters",
    "collections": "Collections",
    "storage": "Storage",
    "tokens": "Tokens",
    "audit": "Audit log",
}
_MAX_WORDS = 400


@get("/admin", opt=asks(Action.ADMINISTER), include_in_schema=False)
async def clusters(request: PageRequest, parts: NamedDependency[Parts]) -> Response[str]:
    """Show how clusters do, what could not be taken, and what runs here."""
    burials = parts.burials
    return _page(
        request,
        "",
        clusters=await clusters_now(parts),
        letters=[(queue.name, burials.counts.get(queue.name)) for queue in QUEUES],
        counted_at=burials.counted_at,
        versions=(("Pages", assets.version()), ("Renderer", RENDERER), ("Python", platform.python_version())),
    )


@get("/admin/collections", opt=asks(Action.ADMINISTER), include_in_schema=False)
async def collections(request: PageRequest, parts: NamedDependency[Parts], cursor: Cursor = None) -> Response[str]:
    """Show what is not here, though it should be."""
    found = await parts.administering.stuck(limit=_ROWS, cursor=cursor)
    return _page(request, "collections", cursor, found.next, rows=found.collections)


@post("/admin/collect/{run:str}/{task:str}", opt=asks(Action.ADMINISTER), include_in_schema=False)
async def collect(
    request: PageRequest, run: FromPath[str], task: FromPath[str], parts: NamedDependency[Parts]
) -> Response[str]:
    """Collect a task's outputs once more, and lead back to the list."""
    act = parts.noting.act(request.scope, "run.collected_again")
    await parts.creating.collect_again(run, task, act=act)
    return Response("", status_code=303, headers={"location": "/ui/admin/collections"})


@get("/admin/storage", opt=asks(Action.ADMINISTER), include_in_schema=False)
async def storage(request: PageRequest, parts: NamedDependency[Parts]) -> Response[str]:
    """Show who holds how much, against what they may."""
    return _page(request, "storage", holders=await holders_now(parts))


@get("/admin/tokens", opt=asks(Action.ADMINISTER), include_in_schema=False)
async def tokens(request: PageRequest, parts: NamedDependency[Parts], cursor: Cursor = None) -> Response[str]:
    """Show everybody's tokens."""
    found = await parts.administering.tokens(limit=_ROWS, cursor=cursor)
    return _page(request, "tokens", cursor, found.next, tokens=found.tokens)


@get("/admin/audit", opt=asks(Action.ADMINISTER), include_in_schema=False)
async def audit(
    request: PageRequest,
    parts: NamedDependency[Parts],
    run: OfRun = "",
    actor: ByActor = "",
    cursor: Cursor = None,
) -> Response[str]:
    """Show who saw or changed what."""
    run, actor = run.strip(), actor.strip()
    found = await parts.audit.read(Asked(run_id=run, actor=actor), limit=_ROWS, cursor=cursor)
    kept = {name: value for name, value in (("run", run), ("actor", actor)) if value}
    return _page(
        request,
        "audit",
        cursor,
        found.next,
        kept=kept,
        entries=[(entry, _told(entry.details)) for entry in found.entries],
        run_id=run,
        actor=actor,
    )


ROUTES = (clusters, collections, collect, storage, tokens, audit)


def _page(
    request: PageRequest,
    section: str,
    cursor: str | None = None,
    next_cursor: str | None = None,
    kept: Mapping[str, str] = {},
    **shown: Any,
) -> Response[Any]:
    here = _url(section)
    html = templating.write(
        f"admin_{section or 'clusters'}.html",
        sections=[Choice(label=label, url=_url(name), is_current=name == section) for name, label in _SECTIONS.items()],
        title=_SECTIONS[section],
        first_url=f"{here}?{urlencode(kept)}" if kept else here,
        next_url=next_cursor and f"{here}?{urlencode({**kept, 'cursor': next_cursor})}",
        is_later=cursor is not None,
        **reader(request.user),
        name=text.name,
        line=text.line,
        size=text.size,
        duration=_duration,
        share=_share,
        **shown,
    )
    return giving.fresh(request, html)


def _url(section: str) -> str:
    return f"/ui/admin/{section}" if section else "/ui/admin"


def _told(details: Mapping[str, object] | None) -> str:
    """`tasks 3, cluster daint`."""
    if not details:
        return ""
    plain = (f"{name} {value if isinstance(value, str) else _json(value)}" for name, value in details.items())
    return text.line(", ".join(plain))[:_MAX_WORDS]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _duration(seconds: float) -> str:
    return text.duration(timedelta(seconds=seconds))


def _share(used: int, limit: int | None) -> int | None:
    """How many hundredths are used; `None` where there is no end."""
    if limit is None:
        return None
    return 100 if not limit else min(999, used * 100 // limit)
