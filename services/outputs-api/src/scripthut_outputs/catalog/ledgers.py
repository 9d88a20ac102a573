"""Whole ledgers, task by task, each from one query: for those who hand out everything at once."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import msgspec
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.layout import TASK_SUMMARY_NAME
from scripthut_outputs.ledger import FileState, LedgerRow, Place
from scripthut_outputs.tables import FILES, ITEMS

from .files import ROW, WORDS, ledger_row

_ORDER = {Place.OUTPUT: 0, Place.RUN_SUMMARY: 1, Place.STDOUT: 2, Place.STDERR: 3}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a ledger; `removed_at` says when what had been stored was removed."""

    row: LedgerRow
    removed_at: datetime | None

    @property
    def is_held(self) -> bool:
        """Whether we have its bytes."""
        return self.row.state is FileState.STORED and self.removed_at is None


Ledger = tuple[Entry, ...]


async def read_ledgers(
    connection: AsyncConnection, run_id: str, task_ids: Sequence[str], *, max_rows: int
) -> list[Ledger]:
    """Read the ledgers of the first of these tasks, each whole, as many as have `max_rows` rows; at least one.

    Rows come as the pages show them: the task summary, outputs by path, the fragment of the run's summary, the logs.

    Args:
        connection: of the caller's transaction.
        run_id: the run.
        task_ids: in submission order.
        max_rows: what is read at once; one ledger may be longer.
    """
    found = await _read(connection, run_id, task_ids, max_rows + 1)
    complete = len(task_ids)
    if sum(map(len, found.values())) > max_rows:
        complete = task_ids.index(list(found)[-1])
    if complete == 0 and task_ids:
        found, complete = await _read(connection, run_id, task_ids[:1], None), 1
    return [found.get(task_id, ()) for task_id in task_ids[:complete]]


async def read_stored_bytes(connection: AsyncConnection, run_id: str) -> int:
    """Read how many bytes of a run we hold, equal files as often as they stand in ledgers."""
    held = (FILES.c.state == FileState.STORED) & FILES.c.removed_at.is_(None)
    query = select(func.coalesce(func.sum(FILES.c.stored_bytes), 0)).where(FILES.c.run_id == run_id, held)
    return int((await connection.execute(query)).scalar_one())


async def _read(
    connection: AsyncConnection, run_id: str, task_ids: Sequence[str], limit: int | None
) -> dict[str, Ledger]:
    query = (
        select(FILES.c.task_id, FILES.c.removed_at, *ROW, *WORDS)
        .join(ITEMS, (ITEMS.c.run_id == FILES.c.run_id) & (ITEMS.c.task_id == FILES.c.task_id))
        .where(FILES.c.run_id == run_id, FILES.c.task_id.in_(task_ids))
        .order_by(
            ITEMS.c.position,
            ITEMS.c.task_id,
            case(_ORDER, value=FILES.c.place),
            FILES.c.path != TASK_SUMMARY_NAME.encode(),
            FILES.c.path,
        )
        .limit(limit)
    )
    rows = groupby(await connection.execute(query), key=lambda row: row.task_id)
    return {
        task_id: tuple(Entry(row=ledger_row(row), removed_at=row.removed_at) for row in of_task)
        for task_id, of_task in rows
    }
