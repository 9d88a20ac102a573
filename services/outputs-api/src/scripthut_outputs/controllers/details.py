"""One task: what is known of it, and the texts about it that people ask for."""

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
        if kind in _LOGS:
            content, error, path = await _log(parts, item, _LOGS[kind])
        else:
            content, error, path = _text(item, kind)
        if content is not None and tail is not None:
            content = "".join(content.splitlines(keepends=True)[-tail:])
        return encoded(_detail(item, content, error, path))


async def _log(parts: Parts, item: Item, place: Place) -> tuple[str | None, str | None, str | None]:
    """Give what we hold of a log, or why nothing, and where it lies on the cluster."""
    path = item.stdout_path if place is Place.STDOUT else item.stderr_path
    row = await parts.reading.log(item.run_id, item.task_id, place)
    if row is None:
        return None, _why_no_log(item), path
    if row.state is not FileState.STORED or row.sha256 is None:
        return None, f"not collected ({row.state})" + (f": {row.reason}" if row.reason else ""), path
    return (await parts.blobs.read(row.sha256)).decode("utf-8", "replace"), None, path


def _why_no_log(item: Item) -> str:
    if item.state is not ItemState.FINAL:
        return f"the task is {item.state}; its output is collected when it has ended"
    return item.collection_reason or f"not collected ({item.outputs_state})"


def _text(item: Item, kind: str) -> tuple[str | None, str | None, str | None]:
    if kind == "generated":
        if generates_source(item) is None:
            return None, "this task generates no tasks", None
        return None, "the list that it generates is not read by this version", generates_source(item)
    if item.definition is None:
        return None, "this task was announced by another program; its definition is not known here", None
    if kind == "script":
        return str(item.definition["command"]), None, None
    return msgspec.json.format(msgspec.json.encode(item.definition), indent=2).decode(), None, None


def _detail(item: Item, content: str | None, error: str | None, path: str | None) -> DetailJson:
    return DetailJson(
        content=content,
        error=error,
        task_name=item.task_name,
        task_id=item.task_id,
        path=path,
        job_id=item.job_id,
        status=older_status(item),
        node=item.node,
        backend_name=item.cluster,
        run_id=item.run_id,
        generates_source=generates_source(item),
        has_outputs=item.has_outputs,
    )
