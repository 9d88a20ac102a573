"""Items that other programs have submitted and announced."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from scripthut_common.database import Database
from scripthut_common.errors import Conflict, LimitExceeded
from scripthut_common.events import ItemEvent, ItemState, RunState
from scripthut_common.tasks import MAX_TASKS
from scripthut_poller.tables import ITEMS, RUNS

_TAKEN = (
    "run_id", "task_id", "position", "cluster", "task_name", "job_id", "attempt", "sequence",
    "submitted_at", "output_dir", "run_summary_path", "stdout_path", "stderr_path",
)  # fmt: skip


async def register(
    database: Database, item: ItemEvent, *, log_dir: str, job_user: str | None = None, max_tasks: int = MAX_TASKS
) -> bool:
    """Watch an announced item; `False` when it was known before.

    Args:
        database: where items are kept.
        item: what was announced.
        log_dir: what its paths lie beneath.
        job_user: the account that it runs as; `None` for the one that we log in as.
        max_tasks: how many a run may have.

    Raises:
        Conflict: its run belongs to somebody else, or to another cluster.
        LimitExceeded: its run has as many tasks as a run may have.
    """
    run = {
        "run_id": item.run_id,
        "name": item.run_name,
        "cluster": item.cluster,
        "owner": item.owner,
        "log_dir": log_dir,
        "state": RunState.RUNNING,
    }
    row: dict[str, Any] = {name: getattr(item, name) for name in _TAKEN}
    row |= {
        "state": ItemState.SUBMITTED,
        "submitted_at": item.submitted_at or func.now(),
        "entered_at": func.now(),
        "handed_in_at": item.job_submitted_at,
        "job_user": job_user,
    }
    async with database.transaction() as connection:
        await connection.execute(insert(RUNS).values(run).on_conflict_do_nothing())
        known = await connection.execute(
            select(RUNS.c.cluster, RUNS.c.owner).where(RUNS.c.run_id == item.run_id).with_for_update()
        )
        found = known.one()
        if (found.cluster, found.owner) != (item.cluster, item.owner):
            raise Conflict(f"run {item.run_id!r} is on cluster '{found.cluster}' and belongs to somebody else")
        known_tasks = set(await connection.scalars(select(ITEMS.c.task_id).where(ITEMS.c.run_id == item.run_id)))
        if item.task_id in known_tasks:
            return False
        if len(known_tasks) >= max_tasks:
            raise LimitExceeded(f"run {item.run_id!r} has {max_tasks} tasks, and may have no more")
        added = await connection.execute(insert(ITEMS).values(row).on_conflict_do_nothing().returning(ITEMS.c.task_id))
        return added.first() is not None
