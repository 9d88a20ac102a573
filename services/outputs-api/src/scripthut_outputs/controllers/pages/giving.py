"""Give pages and parts of pages: made once for all who ask until what they show has changed."""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

from litestar import Request, Response

from scripthut_outputs.access import Actor
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.rendering import RENDERER
from scripthut_outputs.rendering.previews import PREVIEWS

from . import assets, templating

PageRequest = Request[Actor, Any, Any]


async def kept(
    request: PageRequest,
    reading: Reading,
    run_id: str,
    made_of: tuple[object, ...],
    make: Callable[[], Awaitable[bytes]],
    *,
    status: int = 200,
    policy: str = templating.POLICY,
) -> Response[Any]:
    """Answer with a page of a run, made once until what it is made of changes; readers who ask again are told so."""
    etag = f'W/"{sha256(repr((*made_of, assets.version(), RENDERER, PREVIEWS)).encode()).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == etag:
        return templating.not_modified(etag, policy=policy)
    return templating.answer(
        await reading.cache.get(run_id, ("page", etag), make), status=status, etag=etag, policy=policy
    )


def fresh(request: PageRequest, html: str) -> Response[Any]:
    """Answer with a page that was just made."""
    etag = f'W/"{sha256(html.encode()).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == etag:
        return templating.not_modified(etag)
    return templating.answer(html, etag=etag)
