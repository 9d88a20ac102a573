"""What events change in the catalog: each once, whatever their order, in one transaction with the inbox row."""

from typing import Any

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import layout
from scripthut_common.database import Database
from scripthut_common.errors import BadMessage
from scripthut_common.events import (
    CloudEvent,
    ClusterObserved,
    ItemEvent,
    ItemState,
    Outcome,
    RunCompleted,
    RunExtended,
    RunState,
)
from scripthut_common.inbox import Inbox
from scripthut_outputs.tables import INBOX, ITEMS, RUNS

from . import clusters, owning, run_states
from .changes import touch, touching, write_item
from .collections import want
from .owning import NO_CLUSTERS, Clusters

_FRESH = -1
_NEVER_STARTED = frozenset({Outcome.DEPENDENCY_FAILED, Outcome.SUBMISSION_FAILED})
_OF_THE_RUN = frozenset({"run_id", "run_name", "task_id", "cluster", "owner", "account"})
_TOLD = tuple(name for name in ItemEvent.__struct_fields__ if name not in _OF_THE_RUN)
# Built once: making a statement costs more than running it, and events come by the thousand.
_OF_ITEM = (ITEMS.c.run_id == bindparam("_run"), ITEMS.c.task_id == bindparam("_task"))
_TOLD_OWNER = func.coalesce(RUNS.c.told_owner, RUNS.c.owner).label("told_owner")
_RUN = select(RUNS.c.cluster, RUNS.c.owner, RUNS.c.account, _TOLD_OWNER).where(RUNS.c.run_id == bindparam("_run"))
_HOLD = (
    select(ITEMS.c.attempt, ITEMS.c.revision, ITEMS.c.sequence, ITEMS.c.state, ITEMS.c.outcome, ITEMS.c.extension)
    .where(*_OF_ITEM)
    .with_for_update()
)
_WRITE = touching(update(ITEMS).values({name: bindparam(name) for name in _TOLD}))


class Applying:
    """Takes events into the catalog.

    Args:
        database: the catalog.
        clusters: by name; they say whose an account is.
    """

    def __init__(self, database: Database, clusters: Clusters = NO_CLUSTERS) -> None:
        self._database = database
        self._clusters = clusters
        self._inbox = Inbox(INBOX)

    async def apply(self, event: CloudEvent) -> None:
        """Take one event; one that was taken before changes nothing.

        A cluster's ids start anew with its counter when the poller's database does: its row alone says what is new.

        Raises:
            BadMessage: it contradicts what its run is.
            InvalidInput: an id is none, or a value is one that no column holds.
        """
        async with self._database.transaction() as connection:
            if isinstance(event.data, ClusterObserved) or await self._inbox.take(connection, event.id):
                await _apply(connection, event, self._clusters)


async def _apply(connection: AsyncConnection, event: CloudEvent, known: Clusters) -> None:
    match event.data:
        case ItemEvent() as item:
            await _apply_item(connection, item, known)
        case ClusterObserved() as observed:
            await clusters.apply(connection, event.time, observed)
        case RunCompleted(run_id=run_id) | RunExtended(run_id=run_id):
            await touch(connection, run_id)
        case _:
            pass


async def _apply_item(connection: AsyncConnection, item: ItemEvent, known: Clusters) -> None:
    layout.require_id(item.run_id, "run_id")
    layout.require_id(item.task_id, "task_id")
    await _ensure_run(connection, item, known)
    held = await _hold_item(connection, item)
    if item.order <= (held.attempt, held.revision, held.sequence):
        return
    if _is_to_be_collected(item, held):
        has_succeeded = item.outcome is Outcome.SUCCEEDED
        await want(connection, item.run_id, item.task_id, item.attempt, item.cluster, has_succeeded=has_succeeded)
    before = None if held.sequence == _FRESH else _told(held)
    after = _told(item)
    state = RunState.RUNNING if after.is_going else None
    await write_item(connection, _WRITE, (item.run_id, item.task_id), _columns(item), state)
    if run_states.bears(before, after):
        await run_states.keep(connection, item.run_id)


async def _ensure_run(connection: AsyncConnection, item: ItemEvent, clusters: Clusters) -> None:
    """Make the run of an item that nobody has heard of yet, or refuse an item that is not of its run.

    Raises:
        BadMessage: it contradicts what its run is.
    """
    found = (await connection.execute(_RUN, {"_run": item.run_id})).one_or_none()
    if found is None:
        run = {"run_id": item.run_id, "name": item.run_name, "cluster": item.cluster, "account": item.account}
        whose = await owning.of_item(connection, item, clusters)
        await connection.execute(insert(RUNS).values({**run, **whose}).on_conflict_do_nothing())
        found = (await connection.execute(_RUN, {"_run": item.run_id})).one()
    if (found.cluster, found.told_owner) != (item.cluster, item.owner):
        told = f"{item.owner}'s on {item.cluster}"
        raise BadMessage(
            f"run {item.run_id} is {found.told_owner}'s on {found.cluster}; an event says that it is {told}"
        )
    if item.account in {None, found.account}:
        return
    # The scheduler's word on whose a job is goes before what its tag or its announcement claims.
    if (await owning.of_item(connection, item, clusters))["owner"] != found.owner:
        raise BadMessage(f"run {item.run_id} is {found.owner}'s; no job of the account {item.account} belongs to it")


async def _hold_item(connection: AsyncConnection, item: ItemEvent) -> Row[*tuple[Any, ...]]:
    """Lock the item's row, made if need be, so that two events of one item take turns."""
    key = {"_run": item.run_id, "_task": item.task_id}
    found = (await connection.execute(_HOLD, key)).one_or_none()
    if found is None:
        fresh = {name: getattr(item, name) for name in ("run_id", "task_id", "task_name", "position")}
        await connection.execute(insert(ITEMS).values(**fresh, sequence=_FRESH).on_conflict_do_nothing())
        found = (await connection.execute(_HOLD, key)).one()
    return found


def _told(of: ItemEvent | Row[*tuple[Any, ...]]) -> run_states.Told:
    return run_states.Told(state=of.state, outcome=of.outcome, extension=of.extension)


def _columns(item: ItemEvent) -> dict[str, object]:
    return {name: getattr(item, name) for name in _TOLD}


def _is_to_be_collected(item: ItemEvent, held: Row[*tuple[Any, ...]]) -> bool:
    """Every ending is collected; one that says again what was known only in other words is not."""
    if item.state is not ItemState.FINAL or item.outcome in _NEVER_STARTED:
        return False
    return (held.state, held.attempt, held.outcome) != (ItemState.FINAL, item.attempt, item.outcome)
