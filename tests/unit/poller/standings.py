"""How an item may stand and what may be observed of it, for the tests of verdicts: job 42, a thousand seconds old."""

from datetime import UTC, datetime, timedelta

import msgspec

from scripthut_common.events import ItemState, Outcome
from scripthut_common.manifest import ExitRecord
from scripthut_poller.records import Trace
from scripthut_poller.schedulers.job import ABSENT, Absent, Accounted, Job, JobState, Seen, Sighting, Unreachable
from scripthut_poller.transitions import (
    Clock,
    Decision,
    Observation,
    Standing,
    decide,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AWAY = Unreachable(reason="connection lost")
LIVE = (ItemState.SUBMITTED, ItemState.QUEUED, ItemState.RUNNING, ItemState.SETTLING)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def clock(now: datetime = NOW) -> Clock:
    return Clock(now=now, interval_s=10.0)


def standing(state: ItemState, **changes: object) -> Standing:
    plain = Standing(
        state=state,
        job_id="42",
        nonce="n1",
        submitted_at=ago(1000),
        entered_at=ago(100),
        observed_at=ago(10),
        job_submitted_at=ago(1000),
        started_at=ago(500) if state in {ItemState.RUNNING, ItemState.SETTLING, ItemState.FINAL} else None,
    )
    return msgspec.structs.replace(plain, **changes)


def seen(state: JobState = JobState.RUNNING, **changes: object) -> Seen:
    return Seen(job=msgspec.structs.replace(Job(id="42", state=state, word=state.upper(), node="n1"), **changes))


def record(exit_code: int = 0, **changes: object) -> Trace:
    plain = ExitRecord(
        exit_code=exit_code,
        attempt=1,
        job_id="42",
        nonce="n1",
        host="node7",
        started_at=ago(500),
        ended_at=ago(20),
        flags=frozenset(),
        entries=(),
    )
    return Trace(record=msgspec.structs.replace(plain, **changes))


def row(outcome: Outcome | None, **changes: object) -> tuple[Accounted, ...]:
    plain = Accounted(id="42", outcome=outcome, word=(outcome or "running").upper(), submitted_at=ago(1000))
    return (msgspec.structs.replace(plain, **changes),)


def after(
    before: Standing,
    queue: Sighting = ABSENT,
    trace: Trace | Unreachable | None = Trace(),  # noqa: B008  frozen
    accounting: tuple[Accounted, ...] | Absent | Unreachable | None = ABSENT,
    now: datetime = NOW,
) -> Decision:
    return decide(before, Observation(queue=queue, trace=trace, accounting=accounting), clock(now))
