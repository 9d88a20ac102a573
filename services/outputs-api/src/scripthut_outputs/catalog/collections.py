"""Collections: which task's outputs are wanted, due, leased, failed."""

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_outputs.ledger import OutputsState
from scripthut_outputs.tables import COLLECTIONS, ITEMS


async def want(connection: AsyncConnection, run_id: str, task_id: str, attempt: int, cluster: str) -> None:
    """Ask for a task's outputs, now and from the first try on, in the caller's transaction.

    One that is being collected just now keeps its lease; `wanted` tells its collector that it was asked again.
    """
    asked = {"attempt": attempt, "due_at": func.now(), "failures": 0, "first_failed_at": None, "reason": None}
    added = insert(COLLECTIONS).values(run_id=run_id, task_id=task_id, cluster=cluster, **asked)
    again = added.on_conflict_do_update(
        index_elements=["run_id", "task_id"], set_={**asked, "wanted": COLLECTIONS.c.wanted + 1}
    )
    await connection.execute(again)
    of_item = (ITEMS.c.run_id == run_id, ITEMS.c.task_id == task_id)
    await connection.execute(update(ITEMS).where(*of_item).values(outputs_state=OutputsState.PENDING))
