"""A task's outputs: the ledger with rendered documents, in both shapes; collect again."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from scripthut_common.errors import NotFound
from scripthut_outputs.access import Action, Actor
from scripthut_outputs.catalog.views import OutputFile, TaskOutputs
from scripthut_outputs.ledger import FileState, Place
from scripthut_outputs.rendering import fill

from .answers import Cursor, Limit, encoded, kept
from .inlining import Allowance
from .noting import FILE_READ
from .parts import Parts
from .problems import LeftOut
from .routing import asks
from .shapes import (
    OlderOutputJson,
    OlderOutputsJson,
    OutputJson,
    OutputsJson,
    RenderedJson,
    TaskJson,
    generates_source,
    older_status,
    output_json,
    task_json,
)

_EncodedPath = Annotated[
    str,
    QueryParameter(
        name="path",
        description="`path_b64` of the file, in the letters of URL-safe base64",
        schema_extra={"pattern": "^[A-Za-z0-9_-]+={0,2}$"},
    ),
]
# More than the rows that a ledger may have: named ones, and as many that are stored from earlier attempts.
_WHOLE_LEDGER = 25_000


class Outputs(Controller):
    """What a task wrote for people."""

    path = "/runs/{run_id:str}/tasks/{task_id:str}"
    tags = ("outputs",)

    @get("/outputs", opt=asks(Action.READ_RUN), summary="List a task's outputs")
    async def index(
        self,
        run_id: FromPath[str],
        task_id: FromPath[str],
        parts: NamedDependency[Parts],
        cursor: Cursor = None,
        limit: Limit = 1000,
    ) -> Response[OutputsJson]:
        """Every file of the ledger, stored or left out with its reason; the task summary first."""

        async def make() -> OutputsJson:
            found = await parts.reading.outputs(run_id, task_id, limit=limit, cursor=cursor)
            return _outputs(found, Allowance(parts.max_inline))

        return await kept(parts.reading.cache, run_id, ("outputs", task_id, cursor, limit), make)

    @get("/detail/outputs", opt=asks(Action.READ_RUN), summary="List a task's stored outputs, older shape")
    async def older(
        self,
        run_id: FromPath[str],
        task_id: FromPath[str],
        parts: NamedDependency[Parts],
    ) -> Response[OlderOutputsJson]:
        """Every stored file, in the shape that existing frontends read."""

        async def make() -> OlderOutputsJson:
            found = await parts.reading.outputs(run_id, task_id, limit=_WHOLE_LEDGER, cursor=None)
            return _older_outputs(found, Allowance(parts.max_inline))

        return await kept(parts.reading.cache, run_id, ("older", task_id), make)

    @get("/outputs/file/{path:path}", opt=asks(Action.READ_RUN), summary="The bytes of one file")
    async def file(self, run_id: FromPath[str], task_id: FromPath[str], path: FromPath[str]) -> Response[bytes]:  # noqa: ARG002  for the schema
        """Stand for the files in the schema; `files` answers them, by the exact bytes of their names."""
        raise NotFound("there is no such file")

    @get("/outputs/rendered", opt=asks(Action.READ_RUN, look=FILE_READ), summary="Show one Markdown file as HTML")
    async def rendered(
        self,
        run_id: FromPath[str],
        task_id: FromPath[str],
        parts: NamedDependency[Parts],
        path_b64: _EncodedPath,
    ) -> Response[RenderedJson]:
        """Show the document that an answer was too small to hold."""
        path = decode_path(path_b64)
        row = await parts.reading.file(run_id, task_id, path)
        if row.removed_at is not None:
            raise LeftOut(f"this document is no longer here: {row.reason}")
        found = await parts.reading.rendered(run_id, task_id, Place.OUTPUT, path)
        html = None if found.html is None else fill(found.html, run_id=run_id, task_id=task_id, path=path)
        return encoded(RenderedJson(path=path.decode("utf-8", "replace"), rendered_html=html))

    @post("/outputs/collect", opt=asks(Action.COLLECT_AGAIN), status_code=202, summary="Collect a task's outputs again")
    async def collect(
        self,
        request: Request[Actor, Any, Any],
        run_id: FromPath[str],
        task_id: FromPath[str],
        parts: NamedDependency[Parts],
    ) -> Response[TaskJson]:
        """Ask for it; what is stored already stays."""
        act = parts.noting.act(request.scope, "run.collected_again")
        await parts.creating.collect_again(run_id, task_id, act=act)
        return encoded(task_json(await parts.reading.item(run_id, task_id)), status_code=202)


def decode_path(path_b64: str) -> bytes:
    """Give the path that stands in a query as URL-safe base64.

    Raises:
        NotFound: it is none.
    """
    try:
        return urlsafe_b64decode(path_b64 + "=" * (-len(path_b64) % 4))
    except ValueError as error:
        raise NotFound("there is no such file") from error


def _outputs(found: TaskOutputs, allowance: Allowance) -> OutputsJson:
    item = found.item
    return OutputsJson(
        run_id=item.run_id,
        task_id=item.task_id,
        task_name=item.task_name,
        state=item.state,
        outcome=item.outcome,
        outputs_state=item.outputs_state,
        output_dir=item.output_dir,
        has_outputs=item.has_outputs,
        truncated=any(state is not FileState.STORED and count for state, count in found.counts.items()),
        collected_at=item.collected_at,
        followed_at=item.followed_at,
        collection_reason=item.collection_reason,
        counts=found.counts,
        outputs=tuple(_with_html(file, item.run_id, item.task_id, allowance) for file in found.files),
        next=found.next,
    )


def _with_html(file: OutputFile, run_id: str, task_id: str, allowance: Allowance) -> OutputJson:
    plain = output_json(run_id, task_id, file.row)
    if file.rendered is None or file.rendered.html is None:
        return plain
    html = fill(file.rendered.html, run_id=run_id, task_id=task_id, path=file.row.path)
    if allowance.takes(html):
        return msgspec.structs.replace(plain, rendered_html=html)
    path_b64 = urlsafe_b64encode(file.row.path).decode("ascii").rstrip("=")
    return msgspec.structs.replace(plain, html_url=f"/runs/{run_id}/tasks/{task_id}/outputs/rendered?path={path_b64}")


def _older_outputs(found: TaskOutputs, allowance: Allowance) -> OlderOutputsJson:
    item = found.item
    plain = (_with_html(file, item.run_id, item.task_id, allowance) for file in found.files)
    return OlderOutputsJson(
        outputs=tuple(
            OlderOutputJson(
                path=output.path,
                size=output.size,
                kind=output.kind,
                url=output.url,
                rendered_html=output.rendered_html,
                html_url=output.html_url,
            )
            for output in plain
            if output.url is not None
        ),
        output_dir=item.output_dir,
        has_outputs=item.has_outputs,
        status=older_status(item),
        task_name=item.task_name,
        task_id=item.task_id,
        path=item.output_dir,
        backend_name=item.cluster,
        generates_source=generates_source(item),
    )
