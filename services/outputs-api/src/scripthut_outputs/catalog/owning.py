"""Whose runs are that nobody asked us for: the scheduler says which account, the clusters file whose that is."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import accounts
from scripthut_common.clusters import Cluster
from scripthut_common.events import ItemEvent
from scripthut_outputs.tables import IDENTITIES, RUNS

from .auditing import Act, write
from .changes import CHANNEL, touch_access

Clusters = Mapping[str, Cluster]
NO_CLUSTERS: Clusters = MappingProxyType({})


async def of_item(connection: AsyncConnection, item: ItemEvent, clusters: Clusters) -> dict[str, str | None]:
    """Say whose a run is by the word of its first item: `owner`, and `told_owner` where events name somebody else.

    Where an event names no account, the owner that it claims is taken at its word. An account that is nobody's makes
    a name that no identity can have: admins alone see such a run.
    """
    owner = item.owner
    if item.account is not None:
        owner = await _whose(connection, clusters.get(item.cluster), item.cluster, item.account)
    return {"owner": owner, "told_owner": None if owner == item.owner else item.owner}


async def give_runs(
    connection: AsyncConnection, clusters: Clusters, identity: str, claimed: str | None, act: Act | None = None
) -> int:
    """Give somebody the runs of their accounts that were nobody's so far, in the caller's transaction; tell how many.

    Args:
        connection: of the caller's transaction, in which the identity stands with what it claims.
        clusters: by name.
        identity: who has come in.
        claimed: which account is theirs on clusters whose `accounts` is `claim`.
        act: who they are, for the audit log; what they did is filled in.
    """
    theirs = [
        f"{cluster.name}:{account}"
        for cluster in clusters.values()
        if (account := accounts.account_of(cluster, identity, claimed=claimed)) is not None
        and await _whose(connection, cluster, cluster.name, account) == identity
    ]
    if not theirs:
        return 0
    given = update(RUNS).where(RUNS.c.owner.in_(theirs)).values(owner=identity, version=RUNS.c.version + 1)
    moved = given.returning(RUNS.c.run_id).cte("moved")
    count = len((await connection.execute(select(func.pg_notify(CHANNEL, moved.c.run_id)))).all())
    if count:
        await touch_access(connection)
        told = {"count": count, "accounts": theirs}
        await write(connection, act and msgspec.structs.replace(act, act="run.owner", details=told))
    return count


async def _whose(connection: AsyncConnection, cluster: Cluster | None, name: str, account: str) -> str:
    if cluster is None:
        return f"{name}:{account}"
    claimed_by = None
    if cluster.accounts == "claim":
        query = select(IDENTITIES.c.name).where(IDENTITIES.c.account == account, IDENTITIES.c.disabled_at.is_(None))
        names = (await connection.scalars(query.limit(2))).all()
        # What two people claim is nobody's.
        claimed_by = names[0] if len(names) == 1 else None
    return accounts.identity_of(cluster, account, claimed_by=claimed_by)
