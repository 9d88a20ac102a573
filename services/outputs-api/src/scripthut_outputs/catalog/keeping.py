"""Write what was collected: ledger, item, documents to render and the event, for a whole batch in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Double,
    Integer,
    LargeBinary,
    Text,
    case,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.type_api import TypeEngine

from scripthut_common import events
from scripthut_common.database import Database, now
from scripthut_common.events import CloudEvent, OutputsCollected, Type
from scripthut_common.outbox import Outbox
from scripthut_outputs.ledger import COLLECTING_AGAIN, FileState, Kind, LedgerRow, OutputsState, Place, Removal, above
from scripthut_outputs.tables import COLLECTIONS, FILES, ITEMS, OUTBOX

from . import documents
from .changes import by_run, touch
from .claims import Claim
from .collections import of_items
from .creating import SOURCE
from .rows import KEYS, LEDGER, has_fragment, has_output, of_tasks, unnested

_FILE: dict[str, TypeEngine[Any]] = {"place": Text(), "path": LargeBinary()}
_WORDS: dict[str, TypeEngine[Any]] = {"said": Text(), "again_s": Double(), "stalls": Boolean(), "seen": Text()}
_ITEM: dict[str, TypeEngine[Any]] = {
    **KEYS,
    "outputs_state": Text(),
    "has_outputs": Boolean(),
    "has_run_summary": Boolean(),
    "is_collected": Boolean(),
    "is_over": Boolean(),
}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one claim: its whole ledger, or why nothing could be collected.

    Args:
        claim: what was claimed.
        rows: of the ledger, but for the files of `kept`.
        kept: stored files that have not changed, by place and path; their rows stay.
        is_all_named: whether no file is there but those of `rows` and `kept`.
        state: how pages and endpoints call it.
        reason: in words for people.
        again_s: after so long somebody looks again; `None` when the collection rests.
        is_alone: that look takes trips of its own, since this one kept others waiting.
        listing_sha256: what was seen, where no exit record vouches for it.
    """

    claim: Claim
    rows: tuple[LedgerRow, ...] = ()
    kept: frozenset[tuple[Place, bytes]] = frozenset()
    is_all_named: bool = True
    state: OutputsState
    reason: str | None = None
    again_s: float | None = None
    is_alone: bool = False
    listing_sha256: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether the collection rests with all that it could have."""
        return self.again_s is None and self.state is not OutputsState.FAILED

    @property
    def stored(self) -> list[LedgerRow]:
        """The files that arrived."""
        return [row for row in self.rows if row.state is FileState.STORED]

    @property
    def vanished(self) -> set[tuple[Place, bytes]]:
        """The files that we hold and the cluster does not any more; who could not look does not know."""
        if self.state is OutputsState.FAILED or not self.is_all_named:
            return set()
        closed = {
            row.path.rstrip(b"/")
            for row in self.rows
            if row.place is Place.OUTPUT and row.state is FileState.UNREADABLE
        }
        held = {file for file, ours in self.claim.held.items() if not ours.is_removed}
        unseen = held - self.kept - {(row.place, row.path) for row in self.rows}
        return {(place, path) for place, path in unseen if place is not Place.OUTPUT or closed.isdisjoint(above(path))}

    @property
    def shown_state(self) -> OutputsState:
        """Nothing found where something was found before is a vanished source, not a task without outputs."""
        is_vanished = self.state is OutputsState.NONE and bool(self.claim.held)
        return OutputsState.COLLECTED if is_vanished else self.state


class Keeping:
    """The writer of what was collected.

    Args:
        renderer: version of the renderer that documents are wanted for.
    """

    def __init__(self, database: Database, renderer: str) -> None:
        self._database = database
        self._renderer = renderer
        self._outbox = Outbox(OUTBOX)

    async def finish(self, results: Sequence[Result]) -> list[Claim]:
        """Write results whose lease still holds; give the claims of the others, of which nothing is written.

        One that was asked for again meanwhile is due at once, and begins anew. Stored rows are never removed: where a
        file cannot be had any more, its row only says so. The event is told of what rests.
        """
        stored = [row for result in results for row in result.stored if row.kind is Kind.MARKDOWN and row.sha256]
        async with self._database.transaction() as connection:
            await documents.want(connection, [str(row.sha256) for row in stored], self._renderer)
            ours = await self._hold(connection, results)
            await _write_files(connection, ours)
            await _write_items(connection, ours)
            at = await now(connection)
            await self._outbox.add(connection, [_event(result, at) for result in ours if result.again_s is None])
            summarised = {result.claim.run_id for result in ours if any(_is_fragment(row) for row in result.rows)}
            for run_id, task_ids in by_run(result.claim.key for result in ours).items():
                await touch(connection, run_id, outputs=task_ids, is_summary=run_id in summarised)
        kept = {result.claim.key for result in ours}
        return [result.claim for result in results if result.claim.key not in kept]

    async def _hold(self, connection: AsyncConnection, results: Sequence[Result]) -> list[Result]:
        """Lock the items, end the collections that are still ours, and give their results."""
        lock = select(ITEMS.c.run_id).where(of_items([result.claim for result in results]))
        await connection.execute(lock.order_by(ITEMS.c.run_id, ITEMS.c.task_id).with_for_update())
        wishes = unnested(
            {**KEYS, "lease": COLLECTIONS.c.lease.type, "wanted": Integer(), **_WORDS},
            [
                (
                    *(*result.claim.key, result.claim.lease, result.claim.wanted),
                    *(result.reason, result.again_s, result.is_alone, result.listing_sha256),
                )
                for result in results
            ],
        )
        end = (
            update(COLLECTIONS)
            .where(
                COLLECTIONS.c.run_id == wishes.c.run_id,
                COLLECTIONS.c.task_id == wishes.c.task_id,
                COLLECTIONS.c.lease == wishes.c.lease,
            )
            .values(
                lease=None,
                lease_until=None,
                failures=0,
                first_failed_at=None,
                reason=wishes.c.said,
                **_next_look(wishes),
            )
            .returning(COLLECTIONS.c.run_id, COLLECTIONS.c.task_id)
        )
        held = {(run_id, task_id) for run_id, task_id in await connection.execute(end)}
        return [result for result in results if result.claim.key in held]


def _is_fragment(row: LedgerRow) -> bool:
    return row.place is Place.RUN_SUMMARY


def _next_look(wishes: Any) -> dict[str, Any]:
    """When to look again, with whom, what to remember until then; of a wish that is no longer the same, nothing."""
    is_same = COLLECTIONS.c.wanted == wishes.c.wanted
    is_again = wishes.c.again_s.is_not(None)
    is_seen = COLLECTIONS.c.listing_sha256 == wishes.c.seen
    later = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, wishes.c.again_s)
    remembered: dict[str, tuple[Any, Any]] = {
        "looks": (COLLECTIONS.c.looks + 1, 0),
        "first_looked_at": (func.coalesce(COLLECTIONS.c.first_looked_at, func.now()), null()),
        "listing_sha256": (wishes.c.seen, null()),
        "listed_at": (case((is_seen, COLLECTIONS.c.listed_at), (wishes.c.seen.is_not(None), func.now())), null()),
    }
    values = {
        name: case((~is_same, COLLECTIONS.c[name]), (is_again, waiting), else_=resting)
        for name, (waiting, resting) in remembered.items()
    }
    # Whose first look was large or had failed shares trips again: that it still is, the next look tells.
    values["is_alone"] = case((is_same, wishes.c.stalls), else_=COLLECTIONS.c.is_alone)
    # Without `again_s` there is no later: null.
    return {"due_at": case((is_same, later), else_=func.now()), **values}


async def _write_files(connection: AsyncConnection, results: Sequence[Result]) -> None:
    looked = [result.claim for result in results if result.state is not OutputsState.FAILED]
    again = [claim.key for claim in looked if claim.collected_at is not None]
    if again:
        never_held = FILES.c.removed_at.is_(None) & (FILES.c.state != FileState.STORED)
        await connection.execute(delete(FILES).where(of_tasks(again), never_held))
    rows = [(*result.claim.key, *(getattr(row, name) for name in LEDGER)) for result in results for row in result.rows]
    if rows:
        await connection.execute(_upsert(unnested({**KEYS, **LEDGER}, rows)))
    await _drop_followed(connection, results)
    await _note_vanished(connection, results)
    await _note_lost(connection, results)


async def _drop_followed(connection: AsyncConnection, results: Sequence[Result]) -> None:
    """Forget what was seen while a task ran and is not there at its end; of whom nothing could be had, it stays."""
    ended = [
        result.claim.key for result in results if result.again_s is None and result.state is not OutputsState.FAILED
    ]
    if ended:
        await connection.execute(delete(FILES).where(of_tasks(ended), FILES.c.followed_at.is_not(None)))


async def _note_vanished(connection: AsyncConnection, results: Sequence[Result]) -> None:
    """Say of what we hold that the cluster has it no longer."""
    vanished = [(*result.claim.key, *file) for result in results for file in sorted(result.vanished)]
    if vanished:
        gone = unnested({**KEYS, **_FILE}, vanished)
        of_file = [FILES.c[name] == gone.c[name] for name in (*KEYS, *_FILE)]
        note = update(FILES).where(*of_file, FILES.c.reason.is_(None))
        await connection.execute(note.values(reason="it is no longer on the cluster"))


async def _note_lost(connection: AsyncConnection, results: Sequence[Result]) -> None:
    """Say of what was damaged in the store, and did not come back, that nothing is to be waited for any more."""
    ended = [result for result in results if result.again_s is None and result.claim.collected_at is not None]
    for has_failed, told in ((False, "; the cluster has it no longer"), (True, "; it could not be collected again")):
        keys = [result.claim.key for result in ended if (result.state is OutputsState.FAILED) is has_failed]
        if keys:
            lost = (of_tasks(keys), FILES.c.removal == Removal.DAMAGE)
            reason = func.replace(FILES.c.reason, COLLECTING_AGAIN, told)
            await connection.execute(update(FILES).where(*lost).values(reason=reason))


def _upsert(rows: Any) -> Any:
    names = [*KEYS, *LEDGER]
    added = insert(FILES).from_select(names, select(*(rows.c[name] for name in names)))
    new = added.excluded
    # What we collected stays, whatever became of its source; what was seen while the task ran gives way.
    is_removed = FILES.c.removed_at.is_not(None)
    is_ours = ((FILES.c.state == FileState.STORED) | is_removed) & FILES.c.followed_at.is_(None)
    stays = is_ours & (new.state != FileState.STORED)
    changed: dict[str, Any] = {
        name: case((stays, FILES.c[name]), else_=new[name]) for name in LEDGER if name not in {"place", "path"}
    }
    no_longer = case(
        (new.state == FileState.OVER_QUOTA, new.reason),
        else_=literal("the cluster has it no longer as it was: ") + new.state,
    )
    changed["reason"] = case((stays, case((is_removed, FILES.c.reason), else_=no_longer)), else_=new.reason)
    changed |= {name: case((stays, FILES.c[name]), else_=None) for name in ("removed_at", "removal")}
    changed["collected_at"] = case((stays, FILES.c.collected_at), else_=func.now())
    changed["followed_at"] = null()
    return added.on_conflict_do_update(index_elements=["run_id", "task_id", "place", "path"], set_=changed)


async def _write_items(connection: AsyncConnection, results: Sequence[Result]) -> None:
    if not results:
        return
    found = unnested(_ITEM, [_item_row(result) for result in results])
    write = update(ITEMS).where(ITEMS.c.run_id == found.c.run_id, ITEMS.c.task_id == found.c.task_id)
    is_over = found.c.is_over
    # Of what was seen while the task ran, its rows alone tell what is left.
    is_replaced = is_over & ITEMS.c.followed_at.is_not(None)
    await connection.execute(
        write.values(
            outputs_state=found.c.outputs_state,
            has_outputs=case((is_replaced, has_output()), else_=or_(ITEMS.c.has_outputs, found.c.has_outputs)),
            has_run_summary=case(
                (is_replaced, has_fragment()), else_=or_(ITEMS.c.has_run_summary, found.c.has_run_summary)
            ),
            followed_at=case((is_over, None), else_=ITEMS.c.followed_at),
            collected_at=case((found.c.is_collected, func.now()), else_=ITEMS.c.collected_at),
        )
    )


def _item_row(result: Result) -> tuple[object, ...]:
    has_outputs = any(row.place is Place.OUTPUT for row in result.rows)
    fragments = [row for row in result.rows if _is_fragment(row)]
    has_run_summary = any(row.stored_bytes or row.state is not FileState.STORED for row in fragments)
    state = result.shown_state
    is_empty_so_far = state is OutputsState.PARTIAL and not result.rows
    return (
        *(*result.claim.key, state, has_outputs, has_run_summary),
        state is not OutputsState.FAILED and not is_empty_so_far,
        result.is_over,
    )


def _event(result: Result, at: datetime) -> CloudEvent:
    claim, stored = result.claim, result.stored
    kept_bytes = sum(claim.held[file].stored_bytes for file in result.kept)
    told = OutputsCollected(
        run_id=claim.run_id,
        task_id=claim.task_id,
        cluster=claim.cluster,
        owner=claim.owner,
        attempt=claim.attempt,
        sequence=claim.wanted,
        outputs_state=result.shown_state,
        stored_files=len(stored) + len(result.kept),
        left_out_files=sum(row.count for row in result.rows) - len(stored),
        stored_bytes=sum(row.stored_bytes or 0 for row in stored) + kept_bytes,
    )
    return events.event(Type.OUTPUTS_COLLECTED, told, source=SOURCE, at=at)
