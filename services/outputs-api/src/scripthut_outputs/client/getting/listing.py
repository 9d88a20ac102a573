"""Which files are wanted, as the service's ledger has them."""

from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase
from urllib.parse import quote_from_bytes

import msgspec

from scripthut_common.errors import NotFound, TransientError
from scripthut_common.layout import is_id
from scripthut_outputs.client.answers import Item, Output, Outputs
from scripthut_outputs.client.api import Api
from scripthut_outputs.client.paging import files, run_with_items, task_path

from .naming import is_wanted


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a task; `prefix` are the folders that it lies in here besides its own."""

    task_id: str
    prefix: tuple[bytes, ...]
    path: bytes
    address: str
    output: Output

    @property
    def is_stored(self) -> bool:
        """Whether the service has it."""
        return self.output.state == "stored" and self.output.sha256 is not None and self.output.size is not None


class Tasks(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a task, and what the service says of its collection."""

    task_id: str
    listed: tuple[Listed, ...]
    told: Outputs


async def tasks(api: Api, run_id: str, task: str | None, patterns: Sequence[str]) -> AsyncIterator[Tasks]:
    """Yield the tasks that are wanted: one by its id, all that match a wildcard, or all.

    Raises:
        NotFound: there is no such run or task.
    """
    if task is not None and is_id(task):
        yield await _files_of(api, run_id, task, (), patterns)
        return
    _, run = await run_with_items(api, run_id)
    matching = [item for item in run.items if task is None or fnmatchcase(item.task_id, task)]
    if not matching:
        raise NotFound(f"run {run_id} has no task that matches {task!a}" if task else f"run {run_id} has no tasks")
    for item in matching:
        if _may_have_files(item):
            _require(item.task_id)
            yield await _files_of(api, run_id, item.task_id, (item.task_id.encode(),), patterns)


async def _files_of(api: Api, run_id: str, task_id: str, prefix: tuple[bytes, ...], patterns: Sequence[str]) -> Tasks:
    found, told = await files(api, run_id, task_id)
    listed = []
    for output in found:
        path = b64decode(output.path_b64)
        if is_wanted(path, patterns):
            address = f"{task_path(run_id, task_id)}/outputs/file/{quote_from_bytes(path)}"
            listed.append(Listed(task_id=task_id, prefix=prefix, path=path, address=address, output=output))
    return Tasks(task_id=task_id, listed=tuple(listed), told=told)


def _may_have_files(item: Item) -> bool:
    return item.has_outputs or item.outputs_state != "none"


def _require(task_id: str) -> None:
    if not is_id(task_id):
        raise TransientError(f"the service names a task {task_id!a}, which is no id: nothing is written for it")
