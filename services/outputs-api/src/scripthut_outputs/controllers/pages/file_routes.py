"""The addresses of pages that show one file: an output file by the exact bytes of its path, or a log."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromPath

from scripthut_outputs.access import Action
from scripthut_outputs.controllers.noting import FILE_READ
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.previewing import View
from scripthut_outputs.controllers.routing import asks
from scripthut_outputs.ledger import Place
from scripthut_outputs.rendering.previews import Format

from . import addresses, filing, giving, templating
from .filing import Filed, Standing
from .giving import PageRequest

_READS = asks(Action.READ_RUN, look=FILE_READ)
_POLICIES = {Format.NOTEBOOK: templating.POLICY_WITH_PICTURES, Format.PDF: templating.POLICY_WITH_FRAME}


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What an address asks of a file: `?page=2&sort=3&order=desc`, `?view=source`, `?end=tail`, `?fragment=1`.

    `since`: the page stands already and asks for its parts alone.
    """

    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    sort: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    order: Literal["asc", "desc"] = "asc"
    view: Literal["preview", "source"] = "preview"
    end: Literal["head", "tail"] = "head"
    fragment: Literal["0", "1"] = "0"
    since: Annotated[str, msgspec.Meta(max_length=64)] | None = None


@get(
    "/runs/{run_id:str}/tasks/{task_id:str}/files/{path:path}",
    opt=asks(Action.READ_RUN, look=FILE_READ),
    include_in_schema=False,
)
async def file(
    request: PageRequest,
    run_id: FromPath[str],
    task_id: FromPath[str],
    parts: NamedDependency[Parts],
) -> Response[str]:
    """Show one output file."""
    path = addresses.read_file_path(request.scope["raw_path"], run_id, task_id)
    filed = await filing.find(parts.reading, run_id, task_id, path)
    return await _answer(request, parts, filed)


@get(
    "/runs/{run_id:str}/tasks/{task_id:str}/{place:str}",
    opt=asks(Action.READ_RUN, look=FILE_READ),
    include_in_schema=False,
)
async def log(
    request: PageRequest,
    run_id: FromPath[str],
    task_id: FromPath[str],
    place: FromPath[Literal["stdout", "stderr"]],
    parts: NamedDependency[Parts],
) -> Response[str]:
    """Show all that is kept of standard output or error."""
    filed = await filing.find_log(parts.reading, run_id, task_id, Place(place))
    return await _answer(request, parts, filed)


async def _answer(request: PageRequest, parts: Parts, filed: Filed) -> Response[Any]:
    """Answer with the page, or with the preview alone, which depends on nothing but what it shows."""
    asked = _asked(request)
    view, head = _view(asked), await parts.reading.head(filed.run_id)
    frame = giving.frame(request, head, asked.since) | {"task": filed.task_id}
    if filed.subject is None:
        return templating.answer(await filing.left_out_page(parts, filed, frame | {"events": None}), status=404)
    choice = await parts.previewer.choose(filed.subject)
    standing = await filing.standing(parts, filed, choice)
    if asked.since is None and filed.row.followed_at is None and standing is not Standing.WAITING:
        # What changes no more is not followed: browsers have but few streams to give.
        frame["events"] = None
    shows = (filed.subject, view, str(standing))

    async def make_fragment() -> bytes:
        return (await filing.content(parts, filed, choice, view, reader=request.user.name)).html.encode()

    async def make_page() -> bytes:
        name, made_of = request.user.name, giving.name_of(shows)
        return (await filing.page(parts, filed, choice, view, frame, reader=name, made_of=made_of)).encode()

    if view.is_fragment:
        return await giving.kept(request, parts.reading, filed.run_id, ("fragment", *shows), make_fragment)
    policy = _POLICIES.get(choice.format, templating.POLICY)
    made_of = ("file", *shows, sorted(frame.items()))
    return await giving.kept(request, parts.reading, filed.run_id, made_of, make_page, policy=policy)


def _asked(request: PageRequest) -> Query:
    """Read what the address asks for.

    Raises:
        ValidationException: nothing can be asked for so.
    """
    try:
        return msgspec.convert(dict(request.query_params), Query, strict=False)
    except msgspec.ValidationError as error:
        raise ValidationException(extra=[{"key": "query", "message": str(error)}]) from error


def _view(asked: Query) -> View:
    return View(
        page=asked.page,
        sort=asked.sort,
        is_descending=asked.order == "desc",
        is_source=asked.view == "source",
        is_tail=asked.end == "tail",
        is_fragment=asked.fragment == "1",
    )
