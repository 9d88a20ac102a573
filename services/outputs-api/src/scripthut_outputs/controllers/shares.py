"""Share links: made, listed and taken back by a run's owner; opened by whoever has one."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from scripthut_common.errors import InvalidInput, NotFound, Problem
from scripthut_outputs.access import Action, Actor
from scripthut_outputs.catalog.shares import DEFAULT_DAYS, MAX_DAYS, MAX_LABEL_CHARACTERS, ShareLink

from .answers import encoded
from .parts import Parts
from .routing import asks

SHARED = "/share/"
# The address is as good as a password: it is told to nobody, and kept nowhere.
_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-robots-tag": "noindex"}


class ShareJson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A share link. `url` is told once, when it is made; whoever has it may read the run until `expires_at`."""

    share_id: str
    run_id: str
    label: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    url: str | None = None


class ShareListJson(msgspec.Struct, frozen=True, kw_only=True):
    """A run's share links that were not taken back, newest first."""

    shares: tuple[ShareJson, ...]


class ShareAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link as asked for: for how many days it is good, and what its maker calls it."""

    days: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS
    label: Annotated[str, msgspec.Meta(max_length=MAX_LABEL_CHARACTERS)] = ""


class SharesOfRuns(Controller):
    """The links of one run."""

    path = "/runs/{run_id:str}/shares"
    tags = ("sharing",)

    @post(opt=asks(Action.SHARE_RUN), status_code=201, summary="Make a link that lets whoever has it read the run")
    async def create(
        self, request: Request[Actor, Any, Any], run_id: FromPath[str], parts: NamedDependency[Parts]
    ) -> Response[ShareJson]:
        """Make it; its `url` is told this once."""
        link = await make(request, parts, run_id, read_asked(await request.body()))
        url = SHARED + parts.access.shares.signed(link.share_id)
        return encoded(share_json(link, url), status_code=201, **{"cache-control": "no-store"})

    @get(opt=asks(Action.SHARE_RUN), summary="List the links that were not taken back")
    async def index(self, run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[ShareListJson]:
        """List them, newest first; those that are too old are left out."""
        links = await alive(parts, run_id)
        return encoded(ShareListJson(shares=tuple(share_json(link) for link in links)))

    @delete("/{share_id:str}", opt=asks(Action.SHARE_RUN), status_code=200, summary="Take a link back")
    async def revoke(
        self,
        request: Request[Actor, Any, Any],
        run_id: FromPath[str],
        share_id: FromPath[str],
        parts: NamedDependency[Parts],
    ) -> Response[ShareListJson]:
        """Take it back: whoever has it sees nothing more, at once; the links that are left are answered."""
        await take_back(request, parts, run_id, share_id)
        return await self.index.fn(self, run_id, parts)  # type: ignore[no-any-return]


@get(SHARED + "{signed:str}", opt=asks(Action.ENTER), include_in_schema=False)
async def opened(
    request: Request[Actor, Any, Any], signed: FromPath[str], parts: NamedDependency[Parts]
) -> Response[str]:
    """Keep a link in the browser that opened it, and lead to the run."""
    link = await parts.access.shares.open(signed, time.time())
    if link is None:
        raise NotFound("there is no such share link")
    await parts.audit.did(parts.noting.act(request.scope, "share.opened", run_id=link.run_id, target=link.share_id))
    cookies = dict(request.scope["headers"]).get(b"cookie")
    cookie = parts.access.shares.cookie(link, cookies, time.time())
    return Response(
        "", status_code=303, headers={**_HEADERS, "location": f"/ui/runs/{link.run_id}", "set-cookie": cookie}
    )


async def make(request: Request[Actor, Any, Any], parts: Parts, run_id: str, asked: ShareAsked) -> ShareLink:
    """Make a link on the word of whoever asks."""
    act = parts.noting.act(request.scope, "share.created", run_id=run_id)
    return await parts.share_links.create(run_id, by=request.user.name, days=asked.days, label=asked.label, act=act)


async def take_back(request: Request[Actor, Any, Any], parts: Parts, run_id: str, share_id: str) -> None:
    """Take a link back."""
    await parts.share_links.revoke(
        run_id, share_id, act=parts.noting.act(request.scope, "share.revoked", run_id=run_id)
    )


async def alive(parts: Parts, run_id: str) -> tuple[ShareLink, ...]:
    """Give a run's links that are good now."""
    at = datetime.now(UTC)
    return tuple(link for link in await parts.share_links.of_run(run_id) if link.is_good_at(at))


def read_asked(body: bytes) -> ShareAsked:
    """Read what is asked for; nothing asks for a link as they usually are.

    Raises:
        InvalidInput: it is written otherwise.
    """
    try:
        asked = msgspec.json.decode(body, type=ShareAsked) if body.strip() else ShareAsked()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        expected = f'expected {{"days": 1 to {MAX_DAYS}, "label": up to {MAX_LABEL_CHARACTERS} characters}}'
        raise InvalidInput(f"not readable: {error}; {expected}", [Problem(field="", message=str(error))]) from error
    return check_asked(asked)


def check_asked(asked: ShareAsked) -> ShareAsked:
    """Give it as it is.

    Raises:
        InvalidInput: no column holds its label.
    """
    if "\0" in asked.label:
        raise InvalidInput("this link cannot be made", [Problem(field="label", message="must have no NUL")])
    return asked


def share_json(link: ShareLink, url: str | None = None) -> ShareJson:
    """A share link; its address only for whoever has just made it."""
    fields = (name for name in ShareJson.__struct_fields__ if name != "url")
    return ShareJson(**{name: getattr(link, name) for name in fields}, url=url)
