"""Read lists that come in pages, and the addresses of what is asked for."""

from collections.abc import AsyncIterator
from typing import Any

from scripthut_common.errors import SettingsError
from scripthut_common.layout import ID_RULE, is_id

from .answers import Output, Outputs, RunWithItems, read
from .api import Api

A_PAGE = 1000


def run_path(run_id: str) -> str:
    """Where a run is asked for.

    Raises:
        SettingsError: nothing can have such an id.
    """
    return f"/runs/{_require(run_id, 'run')}"


def task_path(run_id: str, task_id: str) -> str:
    """Where a task is asked for; raises as `run_path` does."""
    return f"{run_path(run_id)}/tasks/{_require(task_id, 'task')}"


async def run_with_items(api: Api, run_id: str, limit: int | None = None) -> tuple[Any, RunWithItems]:
    """Give a run with so many of its tasks, or all: as the service tells it, and as we read it."""
    path = run_path(run_id)
    answer = await api.get(path, limit=min(limit or A_PAGE, A_PAGE))
    run = read(answer, RunWithItems)
    cursor = run.next
    while cursor is not None and (limit is None or len(answer["items"]) < limit):
        more = await api.get(path, limit=A_PAGE, cursor=cursor)
        cursor = read(more, RunWithItems).next
        answer = {**answer, "items": [*answer["items"], *more["items"]], "next": cursor}
    return answer, read(answer, RunWithItems)


async def outputs(api: Api, run_id: str, task_id: str) -> AsyncIterator[tuple[Any, Outputs]]:
    """Yield the pages of a task's ledger: as the service tells them, and as we read them."""
    cursor: str | None = None
    while True:
        answer = await api.get(f"{task_path(run_id, task_id)}/outputs", limit=A_PAGE, cursor=cursor)
        page = read(answer, Outputs)
        yield answer, page
        cursor = page.next
        if cursor is None:
            return


async def files(api: Api, run_id: str, task_id: str) -> tuple[list[Output], Outputs]:
    """Give all files of a task, and the last page for what it says of the collection."""
    found: list[Output] = []
    async for _, page in outputs(api, run_id, task_id):
        found += page.outputs
    return found, page


def _require(given: str, what: str) -> str:
    if not is_id(given):
        raise SettingsError(f"{ascii(given)[:200]} is no id of a {what}: those are {ID_RULE}")
    return given
