"""The addresses of pages that show one file: an output file by the exact bytes of its path, or a log."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromPath

from scripthut_outputs.access import Action
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.previewing import View
from scripthut_outputs.controllers.routing import asks
from scripthut_outputs.ledger import Place
from scripthut_outputs.rendering.previews import Format

from . import addresses, filing, giving, templating
from .filing import Filed
from .giving import PageRequest

_POLICIES = {Format.NOTEBOOK: templating.POLICY_WITH_PICTURES, Format.PDF: templating.POLICY_WITH_FRAME}


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What an address asks of a file: `?page=2&sort=3&order=desc`, `?view=source`, `?end=tail`, `?fragment=1`."""

    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    sort: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    order: Literal["asc", "desc"] = "asc"
    view: Literal["preview", "source"] = "preview"
    end: Literal["head", "tail"] = "head"
    fragment: Literal["0", "1"] = "0"


@get("/runs/{run_id:str}/tasks/{task_id:str}/files/{path:path}", opt=asks(Action.READ_RUN), include_in_schema=False)
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


@get("/runs/{run_id:str}/tasks/{task_id:str}/{place:str}", opt=asks(Action.READ_RUN), include_in_schema=False)
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
    view = _view(request)
    if filed.subject is None:
        html = await filing.left_out_page(parts, filed, viewer=request.user.name)
        return templating.answer(html, status=404)
    choice = await parts.previewer.choose(filed.subject)

    async def make_fragment() -> bytes:
        return (await filing.content(parts, filed, choice, view, reader=request.user.name)).html.encode()

    async def make_page() -> bytes:
        return (await filing.page(parts, filed, choice, view, viewer=request.user.name)).encode()

    if view.is_fragment:
        made_of: tuple[object, ...] = ("fragment", filed.subject, view, await filing.standing(parts, filed, choice))
        return await giving.kept(request, parts.reading, filed.run_id, made_of, make_fragment)
    head = await parts.reading.head(filed.run_id)
    policy = _POLICIES.get(choice.format, templating.POLICY)
    made_of = ("file", filed.subject, view, head.version, request.user.name)
    return await giving.kept(request, parts.reading, filed.run_id, made_of, make_page, policy=policy)


def _view(request: PageRequest) -> View:
    """Read what the address asks for.

    Raises:
        ValidationException: nothing can be asked for so.
    """
    try:
        asked = msgspec.convert(dict(request.query_params), Query, strict=False)
    except msgspec.ValidationError as error:
        raise ValidationException(extra=[{"key": "query", "message": str(error)}]) from error
    return View(
        page=asked.page,
        sort=asked.sort,
        is_descending=asked.order == "desc",
        is_source=asked.view == "source",
        is_tail=asked.end == "tail",
        is_fragment=asked.fragment == "1",
    )
