"""One task: what is known of it, and the texts about it that people ask for."""

from io import StringIO
from typing import Annotated, Literal

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from scripthut_common.events import ItemState
from scripthut_outputs.access import Action
from scripthut_outputs.catalog.views import Item
from scripthut_outputs.ledger import FileState, Place

from .answers import encoded
from .parts import Parts
from .routing import asks
from .shapes import DetailJson, TaskJson, generates_source, older_status, task_json

Tail = Annotated[int | None, QueryParameter(ge=1, le=10_000_000, description="only the last lines, so many")]
_LOGS = {"output": Place.STDOUT, "error": Place.STDERR}


class Details(Controller):
    """What is known of one task."""

    path = "/runs/{run_id:str}/tasks/{task_id:str}"
    tags = ("tasks",)

    @get(opt=asks(Action.READ_RUN), summary="Show one task")
    async def show(
        self, run_id: FromPath[str], task_id: FromPath[str], parts: NamedDependency[Parts]
    ) -> Response[TaskJson]:
        """Show one task with its definition; values of its environment are never among it."""
        return encoded(task_json(await parts.reading.item(run_id, task_id)))

    @get("/detail/{kind:str}", opt=asks(Action.READ_RUN), summary="Show one text about a task")
    async def detail(
        self,
        run_id: FromPath[str],
        task_id: FromPath[str],
        kind: FromPath[Literal["output", "error", "script", "json", "generated"]],
        parts: NamedDependency[Parts],
        tail: Tail = None,
    ) -> Response[DetailJson]:
        """Show standard output or error, the script, the definition or the generated list."""
        item = await parts.reading.item(run_id, task_id)
        found = await _log(parts, item, _LOGS[kind]) if kind in _LOGS else _text(item, kind)
        if found.content is not None and tail is not None:
            found = msgspec.structs.replace(found, content=_last_lines(found.content, tail))
        return encoded(_detail(item, found))


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """A text, or why there is none, and where it lies on the cluster."""

    content: str | None = None
    error: str | None = None
    path: str | None = None
    truncated: bool = False


async def _log(parts: Parts, item: Item, place: Place) -> _Found:
    path = item.stdout_path if place is Place.STDOUT else item.stderr_path
    row = await parts.reading.log(item.run_id, item.task_id, place)
    if row is None:
        return _Found(error=_why_no_log(item), path=path)
    if row.state is not FileState.STORED or row.sha256 is None:
        return _Found(error=f"not collected ({row.state})" + (f": {row.reason}" if row.reason else ""), path=path)
    content = (await parts.blobs.read(row.sha256)).decode("utf-8", "replace")
    return _Found(content=content, path=path, truncated=(row.stored_bytes or 0) < (row.size_bytes or 0))


def _last_lines(content: str, count: int) -> str:
    """A line ends at a newline alone: what a progress bar writes over itself is one."""
    return "".join(StringIO(content, newline="\n").readlines()[-count:])


def _why_no_log(item: Item) -> str:
    if item.state is not ItemState.FINAL:
        return f"the task is {item.state}; its output is collected when it has ended"
    return item.collection_reason or f"not collected ({item.outputs_state})"


def _text(item: Item, kind: str) -> _Found:
    if kind == "generated":
        source = generates_source(item)
        if source is None:
            return _Found(error="this task generates no tasks")
        return _Found(error="the list that it generates is not read by this version", path=source)
    if item.definition is None:
        return _Found(error="this task was announced by another program; its definition is not known here")
    if kind == "script":
        return _Found(content=str(item.definition["command"]))
    return _Found(content=msgspec.json.format(msgspec.json.encode(item.definition), indent=2).decode())


def _detail(item: Item, found: _Found) -> DetailJson:
    return DetailJson(
        content=found.content,
        error=found.error,
        task_name=item.task_name,
        task_id=item.task_id,
        path=found.path,
        job_id=item.job_id,
        status=older_status(item),
        node=item.node,
        backend_name=item.cluster,
        run_id=item.run_id,
        generates_source=generates_source(item),
        has_outputs=item.has_outputs,
        truncated=found.truncated,
    )
