"""What every write of the watchlist shares: locks in one order, changes in bulk, events beside them, finished runs.

Whoever ends items locks their runs first and in order of their ids: so no two transactions wait for each
other, and the one that ends a run's last item sees that it is the last.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import JSON, BigInteger, Text, and_, bindparam, cast, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import column
from sqlalchemy.sql.dml import ReturningUpdate

from scripthut_common import database
from scripthut_common.events import Extension, ItemState, Outcome, RunCompleted, RunState, Type, event
from scripthut_common.outbox import Outbox
from scripthut_poller.tables import ITEMS, OUTBOX, RUNS

from .items import SOURCE, Item, Key, is_extending

outbox = Outbox(OUTBOX)
_SAID = ("reason", "scheduler_word", "node")
_WRITTEN = (
    "state", "outcome", "confirmed", "evidence", "exit_code", "signal", "reason", "scheduler_word", "job_id",
    "job_submitted_at", "handed_in_at", "attempt", "revision", "sequence", "submitted_at", "started_at", "ended_at",
    "node", "output_dir", "run_summary_path", "stdout_path", "stderr_path", "entered_at", "waited_s", "observed_at",
    "announced_at", "is_unannounced", "is_held",
)  # fmt: skip


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one item, and the event that tells it, if any."""

    before: Item
    after: Item
    tells: Type | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How an item ended that never ran."""

    outcome: Outcome
    reason: str


CANCELLED = End(outcome=Outcome.CANCELLED, reason="cancelled before it was submitted")


def ended(item: Item, end: End) -> Change:
    """End an item that never ran; we know that ourselves, no scheduler needs to confirm it."""
    after = msgspec.structs.replace(
        item, state=ItemState.FINAL, outcome=end.outcome, confirmed=True, reason=end.reason, is_held=False
    )
    return Change(before=item, after=after, tells=Type.ITEM_COMPLETED)


async def lock_runs(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Let nobody else end items of these runs until this transaction ends."""
    wanted = select(RUNS.c.run_id).where(RUNS.c.run_id.in_(sorted(set(run_ids)))).order_by(RUNS.c.run_id)
    await connection.execute(wanted.with_for_update())


async def record(connection: AsyncConnection, changes: Sequence[Change]) -> set[Key]:
    """Write changes with their events and what follows for the runs.

    An item that somebody else has changed since it was read is left alone, and nothing is said of it.

    Returns: the items that were written.
    """
    if not changes:
        return set()
    run_ids = {change.after.run_id for change in changes if change.before.state != change.after.state or change.tells}
    await lock_runs(connection, run_ids)
    now = await database.now(connection)
    numbered = [_numbered(_readable(change), now) for change in changes]
    written = await _update(connection, numbered)
    told = [one.after.told(one.tells, now) for one in numbered if one.tells and one.after.key in written]
    await outbox.add(connection, told)
    await _settle_runs(connection, run_ids, now)
    return written


def _readable(change: Change) -> Change:
    """Bound and clean what schedulers and nodes said: their bytes need not fit a database or an event."""
    said = {name: database.storable(text) for name in _SAID if (text := getattr(change.after, name))}
    return msgspec.structs.replace(change, after=msgspec.structs.replace(change.after, **said)) if said else change


def _numbered(change: Change, now: datetime) -> Change:
    if change.tells is None:
        return change
    announced_at = now if change.tells is Type.ITEM_CHANGED else change.after.announced_at
    after = msgspec.structs.replace(
        change.after, sequence=change.before.sequence + 1, announced_at=announced_at, is_unannounced=False
    )
    return msgspec.structs.replace(change, after=after)


async def _update(connection: AsyncConnection, changes: Sequence[Change]) -> set[Key]:
    names = _changed(changes)
    rows = await connection.execute(_update_of(names), {"changes": _rows(changes, names)})
    return {(row.run_id, row.task_id) for row in rows}


def _changed(changes: Sequence[Change]) -> tuple[str, ...]:
    """Name the columns that any of these changes: what stays as it is need not travel."""
    pairs = [(change.before, change.after) for change in changes]
    return tuple(
        name for name in _WRITTEN if any(getattr(before, name) != getattr(after, name) for before, after in pairs)
    )


@cache
def _update_of(names: tuple[str, ...]) -> ReturningUpdate[tuple[str, str]]:
    types: Mapping[str, Any] = {name: ITEMS.c[name].type for name in ("run_id", "task_id", *names)}
    change = (
        func.json_to_recordset(cast(bindparam("changes", type_=Text), JSON))
        .table_valued(
            *(column(name, type_) for name, type_ in types.items()),
            column("was_state", Text),
            column("was_sequence", BigInteger),
            name="change",
        )
        .render_derived(with_types=True)
    )
    return (
        update(ITEMS)
        .where(
            ITEMS.c.run_id == change.c.run_id,
            ITEMS.c.task_id == change.c.task_id,
            ITEMS.c.state == change.c.was_state,
            ITEMS.c.sequence == change.c.was_sequence,
        )
        .values({name: change.c[name] for name in names} or {"sequence": ITEMS.c.sequence})
        .returning(ITEMS.c.run_id, ITEMS.c.task_id)
    )


def _rows(changes: Sequence[Change], names: Sequence[str]) -> str:
    rows = [
        {
            "run_id": one.after.run_id,
            "task_id": one.after.task_id,
            "was_state": one.before.state,
            "was_sequence": one.before.sequence,
        }
        | {name: getattr(one.after, name) for name in names}
        for one in changes
    ]
    return msgspec.json.encode(rows).decode()


async def _settle_runs(connection: AsyncConnection, run_ids: Collection[str], now: datetime) -> None:
    """Bring the state of runs up to that of their items; tell when a run has ended, or has ended otherwise."""
    for run_id, state in (await _states(connection, run_ids)).items():
        changed = (
            update(RUNS)
            .where(RUNS.c.run_id == run_id, RUNS.c.state != state)
            .values(state=state, sequence=RUNS.c.sequence + int(_is_end(state)))
            .returning(RUNS.c.name, RUNS.c.cluster, RUNS.c.owner, RUNS.c.sequence)
        )
        row = (await connection.execute(changed)).first()
        if row is None or not _is_end(state):
            continue
        ended = RunCompleted(
            run_id=run_id, run_name=row.name, cluster=row.cluster, owner=row.owner, state=state, sequence=row.sequence
        )
        await outbox.add(connection, [event(Type.RUN_COMPLETED, ended, source=SOURCE, at=now)])


async def _states(connection: AsyncConnection, run_ids: Collection[str]) -> dict[str, RunState]:
    final = ITEMS.c.state == ItemState.FINAL
    failed = and_(final, ITEMS.c.outcome.not_in([Outcome.SUCCEEDED, Outcome.UNKNOWN]))
    counted = (
        select(
            ITEMS.c.run_id,
            func.bool_and(ITEMS.c.state == ItemState.PENDING).label("untouched"),
            func.bool_or(or_(~final, is_extending())).label("alive"),
            func.bool_or(and_(final, ITEMS.c.outcome == Outcome.UNKNOWN)).label("unknown"),
            func.bool_or(or_(failed, ITEMS.c.extension == Extension.REFUSED)).label("failed"),
        )
        .where(ITEMS.c.run_id.in_(sorted(set(run_ids))))
        .group_by(ITEMS.c.run_id)
    )
    return {row.run_id: _state(row) for row in await connection.execute(counted)}


def _state(row: Any) -> RunState:
    if row.untouched:
        return RunState.PENDING
    if row.alive:
        return RunState.RUNNING
    if row.failed:
        return RunState.FAILED
    return RunState.UNKNOWN if row.unknown else RunState.SUCCEEDED


def _is_end(state: RunState) -> bool:
    return state not in {RunState.PENDING, RunState.RUNNING}
