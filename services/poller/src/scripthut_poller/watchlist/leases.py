"""Which poller process asks which cluster: one at a time, by a lease whose epoch every transition checks."""

from collections.abc import Callable
from datetime import timedelta

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost
from scripthut_poller.tables import LEASES


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """The time for which one process holds a cluster; whatever is concluded in it is written in it or not at all."""

    cluster: str
    epoch: int


async def take(
    database: Database, cluster: str, holder: str, lease_s: float, is_gone: Callable[[str], bool] = lambda _: False
) -> Term | None:
    """Take a cluster that nobody holds, or go on holding it; `None` while somebody else does.

    Args:
        database: where leases are kept.
        cluster: its name.
        holder: who asks.
        lease_s: for how long.
        is_gone: says of another holder, before its lease is over, that it surely will never come back.
    """
    until = func.now() + timedelta(seconds=lease_s)
    free = insert(LEASES).values(cluster=cluster, holder=holder, until=until, epoch=1).on_conflict_do_nothing()
    held = select(LEASES.c.holder, LEASES.c.epoch, (LEASES.c.until < func.now()).label("is_over"))
    async with database.transaction() as connection:
        await connection.execute(free)
        row = (await connection.execute(held.where(LEASES.c.cluster == cluster).with_for_update())).one()
        if row.holder != holder and not row.is_over and not is_gone(row.holder):
            return None
        epoch = row.epoch + (row.holder != holder)
        mine = update(LEASES).where(LEASES.c.cluster == cluster).values(holder=holder, until=until, epoch=epoch)
        await connection.execute(mine)
        return Term(cluster=cluster, epoch=epoch)


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
