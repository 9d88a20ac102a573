"""Which poller process asks which cluster: one at a time, by a lease whose epoch every transition checks."""

from datetime import timedelta

import msgspec
from sqlalchemy import case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost
from scripthut_poller.tables import LEASES


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """The time for which one process holds a cluster; whatever is concluded in it is written in it or not at all."""

    cluster: str
    epoch: int


async def take(database: Database, cluster: str, holder: str, lease_s: float) -> Term | None:
    """Take a cluster that nobody holds, or go on holding it; `None` while somebody else does."""
    until = func.now() + timedelta(seconds=lease_s)
    row = insert(LEASES).values(cluster=cluster, holder=holder, until=until, epoch=1)
    taken = row.on_conflict_do_update(
        index_elements=[LEASES.c.cluster],
        set_={
            "holder": holder,
            "until": until,
            "epoch": LEASES.c.epoch + case((LEASES.c.holder == holder, 0), else_=1),
        },
        where=or_(LEASES.c.holder == holder, LEASES.c.until < func.now()),
    ).returning(LEASES.c.epoch)
    async with database.transaction() as connection:
        epoch = await connection.scalar(taken)
        return None if epoch is None else Term(cluster=cluster, epoch=epoch)


async def release(database: Database, term: Term) -> None:
    """Let the next one have the cluster at once."""
    mine = update(LEASES).where(LEASES.c.cluster == term.cluster, LEASES.c.epoch == term.epoch)
    async with database.transaction() as connection:
        await connection.execute(mine.values(until=func.now() - timedelta(seconds=1)))


async def require(connection: AsyncConnection, term: Term) -> None:
    """See that the term is not over, and keep it so until this transaction ends; first of all that it does.

    Raises:
        LeaseLost: another process holds the cluster now.
    """
    mine = select(LEASES.c.epoch).where(LEASES.c.cluster == term.cluster, LEASES.c.epoch == term.epoch)
    if await connection.scalar(mine.with_for_update(read=True)) is None:
        raise LeaseLost(f"cluster '{term.cluster}' is watched by another poller now; what this one saw is not written")
