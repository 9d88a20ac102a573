"""What a run's owner sees and does of who else may read it: visibility, share links."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qs, quote

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from scripthut_common import text
from scripthut_common.errors import InvalidInput, Problem
from scripthut_outputs.access import Action, Actor, Role, Visibility
from scripthut_outputs.access.may import may
from scripthut_outputs.catalog.run_document import Open
from scripthut_outputs.catalog.shares import DEFAULT_DAYS, MAX_DAYS, MAX_LABEL_CHARACTERS
from scripthut_outputs.catalog.views import RunHead
from scripthut_outputs.controllers import shares
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.routing import asks
from scripthut_outputs.controllers.runs import set_open

from . import templating
from .acts import to
from .filters import Choice
from .giving import PageRequest
from .readers import reader

_MAX_FORM_BYTES = 8192
_MAX_FIELDS = 20
_OF_GROUP = "group:"


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """A share link as its run's page names it."""

    share_id: str
    label: str
    made_by: str
    expires_at: datetime


class Sharing(msgspec.Struct, frozen=True, kw_only=True):
    """The panel of those who may share a run. `mark` is another one when it shows something else."""

    choices: tuple[Choice, ...]
    links: tuple[Shared, ...]
    default_days: int = DEFAULT_DAYS
    max_days: int = MAX_DAYS
    max_label: int = MAX_LABEL_CHARACTERS

    @property
    def mark(self) -> str:
        """Names what is shown, for whoever has it already."""
        chosen = next((choice.value for choice in self.choices if choice.is_current), "")
        return quote(" ".join([chosen, *(link.share_id for link in self.links)]))


async def panel(request: PageRequest, parts: Parts, head: RunHead) -> Sharing | None:
    """Give what the reader may do to let others read a run; `None` for those who may not."""
    if not may(request.user, Action.SHARE_RUN, head):
        return None
    links = await shares.alive(parts, head.run_id)
    return Sharing(
        choices=_choices(head, _groups(request.user, parts, head)),
        links=tuple(
            Shared(
                share_id=link.share_id,
                label=text.name(link.label),
                made_by=text.name(link.created_by) if link.created_by != head.owner else "",
                expires_at=link.expires_at,
            )
            for link in links
        ),
    )


@post("/runs/{run_id:str}/visibility", opt=asks(Action.SHARE_RUN), include_in_schema=False)
async def set_visibility(request: PageRequest, run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Say who may read a run besides."""
    await set_open(request, parts, run_id, _read_choice((await _form(request)).get("visibility", "")))
    return to(f"/ui/runs/{run_id}")


@post("/runs/{run_id:str}/shares", opt=asks(Action.SHARE_RUN), include_in_schema=False)
async def share(request: PageRequest, run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Make a share link, and show it this once."""
    form = await _form(request)
    asked = {"days": form.get("days", str(DEFAULT_DAYS)), "label": form.get("label", "").strip()}
    try:
        found = shares.check_asked(msgspec.convert(asked, shares.ShareAsked, strict=False))
    except msgspec.ValidationError as error:
        message = f"A link is good for 1 to {MAX_DAYS} days and has at most {MAX_LABEL_CHARACTERS} characters of label"
        raise InvalidInput(message, [Problem(field="", message=str(error))]) from error
    link = await shares.make(request, parts, run_id, found)
    signed = parts.access.shares.signed(link.share_id)
    html = templating.write(
        "shared.html",
        **reader(request.user),
        run_url=f"/ui/runs/{run_id}",
        run_name=text.name((await parts.reading.head(run_id)).name),
        address=f"{_origin(request, parts)}{shares.SHARED}{signed}",
        expires_at=link.expires_at,
        label=text.name(link.label),
    )
    answer = templating.answer(html)
    answer.headers["cache-control"] = "no-store"
    return answer


@post("/runs/{run_id:str}/shares/{share_id:str}/revoke", opt=asks(Action.SHARE_RUN), include_in_schema=False)
async def revoke(
    request: PageRequest, run_id: FromPath[str], share_id: FromPath[str], parts: NamedDependency[Parts]
) -> Response[str]:
    """Take a share link back."""
    await shares.take_back(request, parts, run_id, share_id)
    return to(f"/ui/runs/{run_id}")


def _groups(actor: Actor, parts: Parts, head: RunHead) -> list[str]:
    known = set(actor.groups) | ({head.group} if head.group else set())
    if actor.role is Role.ADMIN:
        known |= set(parts.access.policy().groups)
    return sorted(known)


def _choices(head: RunHead, groups: list[str]) -> tuple[Choice, ...]:
    current = f"{_OF_GROUP}{head.group}" if head.visibility == Visibility.GROUP else head.visibility
    offered = {
        Visibility.PRIVATE.value: "its owner and admins alone",
        **{f"{_OF_GROUP}{group}": f"the group {text.name(group)}" for group in groups},
        Visibility.INSTANCE.value: "everybody who is known here",
    }
    return tuple(
        Choice(label=label, value=value, is_current=value == current, url="") for value, label in offered.items()
    )


def _read_choice(value: str) -> Open:
    """Read who was chosen.

    Raises:
        InvalidInput: nobody is called so.
    """
    if value.startswith(_OF_GROUP):
        return Open(visibility="group", group=value.removeprefix(_OF_GROUP))
    match value:
        case "private" | "instance":
            return Open(visibility=value)
        case _:
            fault = Problem(field="visibility", message="must be private, group or instance")
            raise InvalidInput("this run cannot be opened so", [fault])


async def _form(request: PageRequest) -> Mapping[str, str]:
    body = (await request.body())[:_MAX_FORM_BYTES].decode("utf-8", "replace")
    try:
        return {name: values[-1] for name, values in parse_qs(body, max_num_fields=_MAX_FIELDS).items()}
    except ValueError:
        return {}


def _origin(request: PageRequest, parts: Parts) -> str:
    """Where the reader reached us; behind a proxy that ends TLS the address that was set knows better."""
    scheme = "https" if parts.access.shares.is_secure else request.url.scheme
    return f"{scheme}://{request.headers.get('host', '')}"
