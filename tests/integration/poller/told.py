"""What the poller's tests ask for and read back."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from scripthut_common.bus import Message, message_of
from scripthut_common.database import Database
from scripthut_common.events import (
    CloudEvent,
    RunCancelRequested,
    RunRequested,
    Type,
    decode,
    event,
)
from scripthut_common.tasks import TaskSpec
from scripthut_poller.tables import ITEMS, OUTBOX, RUNS
from scripthut_poller.watchlist import leases
from scripthut_poller.watchlist.leases import Term

AT = datetime(2026, 3, 1, tzinfo=UTC)


def tasks(*ids: str, **common: Any) -> tuple[TaskSpec, ...]:
    return tuple(TaskSpec(id=id_, **({"command": "true"} | common)) for id_ in ids)


def part_of_run(tasks_: Sequence[TaskSpec], **values: Any) -> RunRequested:
    """One part of a run, a whole run unless told otherwise."""
    defaults: dict[str, Any] = {
        "run_id": "r1",
        "part": 0,
        "parts": 1,
        "document_sha256": "0" * 64,
        "owner": "ada",
        "run_name": "a run",
        "cluster": "here",
        "log_dir": "/logs",
        "first_position": 0,
    }
    return RunRequested(tasks=tuple(tasks_), **(defaults | values))


def request(part: RunRequested) -> Message:
    return message_of(event(Type.RUN_REQUESTED, part, source="/test", at=AT))


def cancellation_of(run_id: str) -> RunCancelRequested:
    return RunCancelRequested(run_id=run_id, cluster="here", requested_by="ada", requested_at=AT)


def cancellation(run_id: str = "r1") -> Message:
    return message_of(event(Type.RUN_CANCEL_REQUESTED, cancellation_of(run_id), source="/test", at=AT))


async def events(database: Database, *types: Type) -> list[CloudEvent]:
    """What the outbox holds, oldest first."""
    async with database.transaction() as connection:
        bodies = (await connection.scalars(select(OUTBOX.c.body).order_by(OUTBOX.c.number))).all()
    told = [found for body in bodies if (found := decode(body))]
    return [one for one in told if not types or one.type in types]


async def rows(database: Database, run_id: str = "r1") -> dict[str, Any]:
    """The items of a run by task."""
    async with database.transaction() as connection:
        found = await connection.execute(select(ITEMS).where(ITEMS.c.run_id == run_id).order_by(ITEMS.c.position))
        return {row.task_id: row for row in found}


async def run_row(database: Database, run_id: str = "r1") -> Any:
    async with database.transaction() as connection:
        return (await connection.execute(select(RUNS).where(RUNS.c.run_id == run_id))).one_or_none()


async def term(database: Database, cluster: str = "here", *, holder: str = "this poller") -> Term:
    """Hold a cluster, as a running poller does."""
    held = await leases.take(database, cluster, holder, 60.0)
    assert held is not None
    return held
