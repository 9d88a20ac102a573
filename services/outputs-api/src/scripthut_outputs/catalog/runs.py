"""Runs: what they are and what became of their items as a whole."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.errors import NotFound
from scripthut_common.events import Extension, ItemState, Outcome, RunState
from scripthut_outputs.ledger import MOVING
from scripthut_outputs.tables import ITEMS, RUNS

from . import cursors
from .views import RunHead, RunList, RunOverview

_HEAD = tuple(RUNS.c[name] for name in RunHead.__struct_fields__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Bounded, so that a cursor which somebody made up is no time that a calendar cannot hold.
_Age = Annotated[int, msgspec.Meta(ge=0, lt=2**52)]
_WAITING = frozenset({ItemState.PENDING, ItemState.SUBMITTED, ItemState.QUEUED})
_FAILURES = frozenset(Outcome) - {Outcome.SUCCEEDED, Outcome.UNKNOWN}


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
    (overview,) = await _overviews(connection, [head])
    return overview


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
    more = (
        cursors.write((heads[-1].created_at - _EPOCH) // _MICROSECOND, heads[-1].run_id) if len(rows) > limit else None
    )
    return RunList(runs=tuple(await _overviews(connection, heads)), next=more)


def state_of(alive: Collection[str], ended: Collection[str], extensions: Collection[str | None] = ()) -> RunState:
    """What a run is. An outcome that this version does not know is neither success nor failure.

    Args:
        alive: states of its items that are alive.
        ended: outcomes of those that ended.
        extensions: what became of lists that its items generate, waiting ones only of items that have succeeded.
    """
    if not ended and _WAITING.issuperset(alive):
        return RunState.PENDING
    if alive or Extension.PENDING in extensions:
        return RunState.RUNNING
    if Extension.REFUSED in extensions or _FAILURES.intersection(ended):
        return RunState.FAILED
    return RunState.SUCCEEDED if set(ended) == {Outcome.SUCCEEDED} else RunState.UNKNOWN


class Counted(msgspec.Struct, frozen=True):
    """How many items have this word, an outcome or the state of one that is alive; a row of `counted`."""

    word: str
    is_alive: bool
    extension: str | None
    items: int
    is_collecting: bool


def counted() -> Select[*tuple[Any, ...]]:
    """Count items as `overview` wants them."""
    return select(
        func.coalesce(ITEMS.c.outcome, ITEMS.c.state).label("word"),
        ITEMS.c.outcome.is_(None).label("is_alive"),
        ITEMS.c.extension,
        func.count().label("items"),
        func.bool_or(ITEMS.c.outputs_state.in_(list(MOVING))).label("is_collecting"),
    ).group_by("word", "is_alive", ITEMS.c.extension)


async def _overviews(connection: AsyncConnection, heads: Sequence[RunHead]) -> list[RunOverview]:
    found: dict[str, list[Counted]] = {}
    query = counted().add_columns(ITEMS.c.run_id).group_by(ITEMS.c.run_id)
    for row in await connection.execute(query.where(ITEMS.c.run_id.in_([head.run_id for head in heads]))):
        found.setdefault(row.run_id, []).append(Counted(*row[:-1]))
    return [overview(head, found.get(head.run_id, [])) for head in heads]


def overview(head: RunHead, rows: Sequence[Counted]) -> RunOverview:
    """A run as a whole, of what was counted of its items."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.word] += row.items
    extensions = {row.extension for row in rows if row.extension == Extension.REFUSED or row.word == Outcome.SUCCEEDED}
    return RunOverview(
        run_id=head.run_id,
        name=head.name,
        cluster=head.cluster,
        owner=head.owner,
        created_at=head.created_at,
        state=state_of(
            {row.word for row in rows if row.is_alive}, {row.word for row in rows if not row.is_alive}, extensions
        ),
        counts=dict(counts),
        version=head.version,
        summary_version=head.summary_version,
        is_collecting=any(row.is_collecting for row in rows),
        pinned_at=head.pinned_at,
        pinned_by=head.pinned_by,
    )
