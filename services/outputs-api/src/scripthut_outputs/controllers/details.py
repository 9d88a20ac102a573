"""One task: what is known of it, and the texts about it that people ask for."""

from io import StringIO
from typing import Annotated, Literal

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from scripthut_common.events import Extension, ItemState
from scripthut_outputs.access import Action
from scripthut_outputs.catalog.views import Item
from scripthut_outputs.ledger import FileState, Place

from .answers import encoded
from .noting import FILE_READ
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

    @get("/detail/{kind:str}", opt=asks(Action.READ_RUN, look=FILE_READ), summary="Show one text about a task")
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
        found = await _found(parts, item, kind)
        if found.content is not None and tail is not None:
            found = msgspec.structs.replace(found, content=_last_lines(found.content, tail))
        return encoded(_detail(item, found))


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """A text, or why there is none, and where it lies on the cluster."""

    content: str | None = None
    error: str | None = None
    path: str | None = None
    truncated: bool = False


async def _found(parts: Parts, item: Item, kind: str) -> _Found:
    if kind in _LOGS:
        return await _log(parts, item, _LOGS[kind])
    return await _generated(parts, item) if kind == "generated" else _text(item, kind)


async def _log(parts: Parts, item: Item, place: Place) -> _Found:
    path = item.stdout_path if place is Place.STDOUT else item.stderr_path
    row = await parts.reading.log(item.run_id, item.task_id, place)
    if row is None:
        return _Found(error=_why_no_log(item), path=path)
    if row.state is not FileState.STORED or row.sha256 is None:
        if row.removed_at is not None:
            return _Found(error=row.reason, path=path)
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


async def _generated(parts: Parts, item: Item) -> _Found:
    """Show what became of the list: ids and names of its tasks, which are all that is known of them here."""
    source = generates_source(item)
    if source is None and item.extension is None:
        return _Found(error="this task generates no tasks")
    if item.extension is Extension.REFUSED:
        return _Found(error=item.extension_error, path=source)
    if item.extension is Extension.DONE:
        generated = await parts.reading.generated(item.run_id, item.task_id)
        listed = {"tasks": [{"id": id_, "name": name} for id_, name in generated]}
        return _Found(content=msgspec.json.format(msgspec.json.encode(listed), indent=2).decode(), path=source)
    if item.is_extending:
        return _Found(error="the list that it generates is being read", path=source)
    if item.state is ItemState.FINAL:
        return _Found(error="the task did not succeed; the list that it generates is not read", path=source)
    return _Found(
        error=f"the task is {item.state}; the list that it generates is read when it has succeeded", path=source
    )


def _text(item: Item, kind: str) -> _Found:
    if item.generated_by is not None:
        return _Found(error=f"this task was generated by {item.generated_by}; its definition is not known here")
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
