"""Commands that were taken: the parts of a run until all are in, then the run and its items at once."""

from collections.abc import Sequence
from graphlib import TopologicalSorter
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import layout, tasks
from scripthut_common.database import Database
from scripthut_common.errors import BadMessage, Conflict, InvalidInput
from scripthut_common.events import Extension, ItemState, Outcome, RunCancelRequested, RunRequested
from scripthut_common.tasks import TaskSpec
from scripthut_poller.tables import ITEMS, RUN_PARTS, RUNS

from .items import places, query, read
from .recording import CANCELLED, End, ended, lock_runs, record

_CANCELLED_EARLY = "cancelled before all parts came"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Under which terms a run is taken: where its outputs lie unless it says so, or why nothing of it can run."""

    log_dir: str = ""
    refusal: str | None = None


async def store(database: Database, part: RunRequested, terms: Terms) -> bool:
    """Keep one part of a run; with the last one the run and its items stand.

    Returns: whether the run stands now.

    Raises:
        Conflict: the run exists, or is arriving, with another document.
        InvalidInput: its tasks break the rules that the door should have kept.
        BadMessage: its parts contradict each other.
    """
    async with database.transaction() as connection:
        await _one_at_a_time(connection, part.run_id)
        if await _is_known(connection, part):
            return True
        await _keep(connection, part)
        parts = await _parts(connection, part)
        if len(parts) < part.parts:
            return False
        await _start(connection, parts, terms)
        return True


async def cancel(database: Database, command: RunCancelRequested) -> None:
    """End what was not submitted yet, and note that the rest is to be cancelled; harmless when said twice.

    A run that has not arrived yet is remembered as cancelled.
    """
    async with database.transaction() as connection:
        await _one_at_a_time(connection, command.run_id)
        noted = await connection.execute(
            update(RUNS)
            .where(RUNS.c.run_id == command.run_id)
            .values(cancel_requested_at=func.coalesce(RUNS.c.cancel_requested_at, func.now()))
        )
        if noted.rowcount:
            await _end_pending(connection, command.run_id, CANCELLED)
        else:
            await connection.execute(
                upsert(RUN_PARTS)
                .values(run_id=command.run_id, document_sha256=_CANCELLED_EARLY, part=0, body=b"")
                .on_conflict_do_nothing()
            )


async def _one_at_a_time(connection: AsyncConnection, run_id: str) -> None:
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(run_id, 0))))


async def _is_known(connection: AsyncConnection, part: RunRequested) -> bool:
    known = (await connection.execute(select(RUNS.c.document_sha256).where(RUNS.c.run_id == part.run_id))).first()
    arriving = select(RUN_PARTS.c.document_sha256).where(
        RUN_PARTS.c.run_id == part.run_id,
        RUN_PARTS.c.document_sha256.not_in([part.document_sha256, _CANCELLED_EARLY]),
    )
    other = known.document_sha256 != part.document_sha256 if known else await connection.scalar(arriving)
    if other:
        raise Conflict(f"run {part.run_id!r} was requested before with another document; this one is not taken")
    return known is not None


async def _keep(connection: AsyncConnection, part: RunRequested) -> None:
    await connection.execute(
        upsert(RUN_PARTS)
        .values(
            run_id=part.run_id,
            document_sha256=part.document_sha256,
            part=part.part,
            body=msgspec.json.encode(part),
        )
        .on_conflict_do_nothing()
    )


async def _parts(connection: AsyncConnection, part: RunRequested) -> list[RunRequested]:
    kept = (
        select(RUN_PARTS.c.body)
        .where(RUN_PARTS.c.run_id == part.run_id, RUN_PARTS.c.document_sha256 == part.document_sha256)
        .order_by(RUN_PARTS.c.part)
    )
    return [msgspec.json.decode(body, type=RunRequested) for body in await connection.scalars(kept)]


async def _start(connection: AsyncConnection, parts: Sequence[RunRequested], terms: Terms) -> None:
    first = parts[0]
    _check(parts)
    log_dir = first.log_dir or terms.log_dir
    await connection.execute(
        insert(RUNS).values(
            run_id=first.run_id,
            name=first.run_name,
            cluster=first.cluster,
            owner=first.owner,
            log_dir=log_dir,
            document_sha256=first.document_sha256,
        )
    )
    await connection.execute(insert(ITEMS), _item_rows(parts, log_dir))
    gone = await connection.execute(
        delete(RUN_PARTS).where(RUN_PARTS.c.run_id == first.run_id).returning(RUN_PARTS.c.document_sha256)
    )
    if terms.refusal:
        await _end_pending(connection, first.run_id, End(outcome=Outcome.SUBMISSION_FAILED, reason=terms.refusal))
    elif _CANCELLED_EARLY in set(gone.scalars()):
        await connection.execute(
            update(RUNS).where(RUNS.c.run_id == first.run_id).values(cancel_requested_at=func.now())
        )
        await _end_pending(connection, first.run_id, CANCELLED)


def _check(parts: Sequence[RunRequested]) -> None:
    common = {(part.parts, part.owner, part.account, part.run_name, part.cluster, part.log_dir) for part in parts}
    if len(common) > 1:
        raise BadMessage(
            f"run {parts[0].run_id!r}: its parts name different owners, accounts, clusters or counts of parts"
        )
    layout.require_id(parts[0].run_id, "run_id")
    problems = tasks.check([task for part in parts for task in part.tasks])
    if parts[0].log_dir is not None:
        problems += tasks.check_log_dir(parts[0].log_dir, "log_dir")
    if problems:
        shown = "; ".join(f"{problem.field} {problem.message}" for problem in problems[:5])
        raise InvalidInput(f"run {parts[0].run_id!r}: {shown}", problems)


def _item_rows(parts: Sequence[RunRequested], log_dir: str) -> list[dict[str, Any]]:
    run = [(part, part.first_position + index, task) for part in parts for index, task in enumerate(part.tasks)]
    turns = turns_of([task for _, _, task in run])
    parents = {dep for _, _, task in run for dep in task.deps}
    return [
        {
            "run_id": part.run_id,
            "cluster": part.cluster,
            "position": position,
            "turn": turns[task.id],
            "job_user": part.account,
            "is_held": task.id in parents,
            **of_task(task),
            **places(log_dir, part.run_id, task.id),
        }
        for part, position, task in run
    ]


def of_task(task: TaskSpec) -> dict[str, Any]:
    """Say what an item's row takes from its task alone."""
    return {
        "task_id": task.id,
        "task": msgspec.to_builtins(task),
        "task_name": task.display_name,
        "extension": None if task.generates_source is None else Extension.PENDING,
    }


def turns_of(wanted: Sequence[TaskSpec]) -> dict[str, int]:
    """Number tasks so that parents come before children, and else in the order in which they were written."""
    sorter = TopologicalSorter({task.id: task.deps for task in wanted})
    sorter.prepare()
    written_at = {task.id: place for place, task in enumerate(wanted)}
    free = [written_at[id_] for id_ in sorter.get_ready()]
    heapify(free)
    turns: dict[str, int] = {}
    while free:
        id_ = wanted[heappop(free)].id
        turns[id_] = len(turns)
        sorter.done(id_)
        for child in sorter.get_ready():
            heappush(free, written_at[child])
    return turns


async def _end_pending(connection: AsyncConnection, run_id: str, end: End) -> None:
    """End the items of a run that no scheduler can know of."""
    await lock_runs(connection, [run_id])
    untouched = query().where(
        ITEMS.c.run_id == run_id,
        ITEMS.c.state == ItemState.PENDING,
        ITEMS.c.submission_started_at.is_(None),
    )
    items = read(await connection.execute(untouched.with_for_update(of=ITEMS)))
    await record(connection, [ended(item, end) for item in items])
