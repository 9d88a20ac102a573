"""Jobs of cancelled runs that the scheduler still has to be told of, once each."""

from collections.abc import Collection

from sqlalchemy import func, select, tuple_, update

from scripthut_common.database import Database
from scripthut_common.events import ItemState
from scripthut_poller.tables import ITEMS, RUNS

from . import leases
from .items import JOB, Job, Key, jobs, not_of
from .leases import Term


async def due(database: Database, cluster: str, *, limit: int, refused: Collection[str] = ()) -> list[Job]:
    """Say which jobs are to be cancelled, besides those of accounts that refuse us.

    Children come before parents: a job may see what it waits for end before it is cancelled itself.
    """
    wanted = (
        select(*JOB)
        .join_from(ITEMS, RUNS, ITEMS.c.run_id == RUNS.c.run_id)
        .where(
            ITEMS.c.cluster == cluster,
            ITEMS.c.state.not_in([ItemState.PENDING, ItemState.FINAL]),
            ITEMS.c.job_id.is_not(None),
            ITEMS.c.cancel_sent_at.is_(None),
            RUNS.c.cancel_requested_at.is_not(None),
            not_of(refused),
        )
    )
    async with database.transaction() as connection:
        return jobs(await connection.execute(wanted.order_by(ITEMS.c.run_id, ITEMS.c.turn.desc()).limit(limit)))


async def sent(database: Database, term: Term, keys: Collection[Key]) -> None:
    """Note that the scheduler was told."""
    async with database.transaction() as connection:
        await leases.require(connection, term)
        await connection.execute(
            update(ITEMS).where(tuple_(ITEMS.c.run_id, ITEMS.c.task_id).in_(keys)).values(cancel_sent_at=func.now())
        )
