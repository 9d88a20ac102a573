"""Give pages and parts of pages: made once for all who ask until what they show has changed."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from litestar import Request, Response

from scripthut_outputs.access import Actor
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.catalog.views import RunHead, RunOverview
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.rendering import RENDERER
from scripthut_outputs.rendering.previews import PREVIEWS

from . import assets, banners, templating
from .readers import reader

REFRESH_S = 3
REFRESH_LIST_S = 15
EVERYTHING = -1
PageRequest = Request[Actor, Any, Any]


async def told(parts: Parts, shown: Sequence[RunOverview]) -> tuple[banners.Banner, ...]:
    """Say what keeps these runs from being shown as they are."""
    moment = banners.Moment(
        clusters=await parts.reading.clusters(),
        served=parts.clusters,
        bounds=parts.bounds,
        now=datetime.now(UTC),
        is_bus_away=parts.bus_fault() is not None,
    )
    return banners.of_runs(shown, moment)


def frame(request: PageRequest, head: RunHead, since: str | None) -> dict[str, Any]:
    """Say what stands around the parts: a whole page that names its reader, or the parts alone.

    Those are the same for all who are known here, and for all guests.
    """
    shown = {"version": head.version, "events": f"/runs/{head.run_id}/events", "is_guest": request.user.is_guest}
    if since is not None:
        return {"layout": "changes.html", "viewer": None, **shown}
    return {"layout": "base.html", **shown, **reader(request.user)}


def read_since(text: str | None, version: int) -> int:
    """Say which version a page stands at; what is no version that the run has had asks for everything."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 19:
        return EVERYTHING
    return int(text) if int(text) <= version else EVERYTHING


async def kept(
    request: PageRequest,
    reading: Reading,
    run_id: str,
    made_of: tuple[object, ...],
    make: Callable[[], Awaitable[bytes]],
    *,
    policy: str = templating.POLICY,
) -> Response[Any]:
    """Answer with a page that changes only with what it is made of; readers who ask again are told so."""
    etag = f'W/"{name_of(made_of)}"'
    if request.headers.get("if-none-match") == etag:
        return templating.not_modified(etag, policy=policy)
    return templating.answer(await reading.cache.get(run_id, ("page", etag), make), etag=etag, policy=policy)


def name_of(made_of: tuple[object, ...]) -> str:
    """Name what is made of these by the code as it is: another name, another look."""
    return sha256(repr((*made_of, assets.version(), RENDERER, PREVIEWS)).encode()).hexdigest()[:32]


def fresh(request: PageRequest, html: str) -> Response[Any]:
    """Answer with a page that was just made."""
    etag = f'W/"{sha256(html.encode()).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == etag:
        return templating.not_modified(etag)
    return templating.answer(html, etag=etag)
