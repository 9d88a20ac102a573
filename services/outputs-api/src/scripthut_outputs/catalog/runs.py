"""Runs: what they are and what became of their items as a whole."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.errors import NotFound
from scripthut_common.events import Extension, Outcome, RunState
from scripthut_outputs.tables import ITEMS, RUNS

from . import cursors
from .views import RunHead, RunList, RunOverview

_HEAD = (RUNS.c.run_id, RUNS.c.name, RUNS.c.cluster, RUNS.c.owner, RUNS.c.created_at, RUNS.c.version)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Bounded, so that a cursor which somebody made up is no time that a calendar cannot hold.
_Age = Annotated[int, msgspec.Meta(ge=0, lt=2**52)]
_WAITING = frozenset({"pending", "submitted", "queued"})


async def read_head(connection: AsyncConnection, run_id: str) -> RunHead:
    """Read a run without its items.

    Raises:
        NotFound: there is no such run.
    """
    row = (await connection.execute(select(*_HEAD).where(RUNS.c.run_id == run_id))).one_or_none()
    if row is None:
        raise NotFound("there is no such run")
    return RunHead(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it


async def read_overview(connection: AsyncConnection, run_id: str) -> RunOverview:
    """Read a run with the counts of its items.

    Raises:
        NotFound: there is no such run.
    """
    head = await read_head(connection, run_id)
    return _overview(head, (await _tallies(connection, [run_id])).get(run_id, _Tally()))


async def read_list(connection: AsyncConnection, *, owner: str | None, limit: int, cursor: str | None) -> RunList:
    """Read a page of runs, newest first; `owner` `None` means everybody's."""
    query = select(*_HEAD).order_by(RUNS.c.created_at.desc(), RUNS.c.run_id.desc()).limit(limit + 1)
    if owner is not None:
        query = query.where(RUNS.c.owner == owner)
    if cursor is not None:
        age, run_id = cursors.read(cursor, tuple[_Age, str])
        query = query.where(tuple_(RUNS.c.created_at, RUNS.c.run_id) < (_EPOCH + age * _MICROSECOND, run_id))
    rows = (await connection.execute(query)).all()
    heads = [RunHead(**row._mapping) for row in rows[:limit]]  # noqa: SLF001  SQLAlchemy's public name for it
    tallies = await _tallies(connection, [head.run_id for head in heads])
    more = (
        cursors.write((heads[-1].created_at - _EPOCH) // _MICROSECOND, heads[-1].run_id) if len(rows) > limit else None
    )
    return RunList(runs=tuple(_overview(head, tallies.get(head.run_id, _Tally())) for head in heads), next=more)


def state_of(counts: Mapping[str, int], extensions: Collection[Extension] = ()) -> RunState:
    """What a run is.

    Args:
        counts: its items by state while alive, then by outcome.
        extensions: what became of lists that its items generate, waiting ones only of items that have succeeded.
    """
    words = {word for word, count in counts.items() if count}
    if words <= _WAITING:
        return RunState.PENDING
    if not words <= set(Outcome) or Extension.PENDING in extensions:
        return RunState.RUNNING
    if Extension.REFUSED in extensions:
        return RunState.FAILED
    if words == {Outcome.SUCCEEDED}:
        return RunState.SUCCEEDED
    return RunState.UNKNOWN if words <= {Outcome.SUCCEEDED, Outcome.UNKNOWN} else RunState.FAILED


class _Tally:
    """What the items of one run are."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.extensions: set[Extension] = set()


async def _tallies(connection: AsyncConnection, run_ids: Iterable[str]) -> dict[str, _Tally]:
    word = func.coalesce(ITEMS.c.outcome, ITEMS.c.state)
    query = select(ITEMS.c.run_id, word, ITEMS.c.extension, func.count()).where(ITEMS.c.run_id.in_(list(run_ids)))
    tallies: dict[str, _Tally] = {}
    for run_id, found, extension, number in await connection.execute(
        query.group_by(ITEMS.c.run_id, word, ITEMS.c.extension)
    ):
        tally = tallies.setdefault(run_id, _Tally())
        tally.counts[found] = tally.counts.get(found, 0) + number
        if extension == Extension.REFUSED or (extension is not None and found == Outcome.SUCCEEDED):
            tally.extensions.add(Extension(extension))
    return tallies


def _overview(head: RunHead, tally: _Tally) -> RunOverview:
    return RunOverview(
        run_id=head.run_id,
        name=head.name,
        cluster=head.cluster,
        owner=head.owner,
        created_at=head.created_at,
        state=state_of(tally.counts, tally.extensions),
        counts=tally.counts,
    )
