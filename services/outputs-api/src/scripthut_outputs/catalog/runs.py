"""Runs: what they are and what became of their items as a whole."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.errors import NotFound
from scripthut_common.events import Extension, Outcome
from scripthut_outputs.ledger import MOVING, OutputsState
from scripthut_outputs.tables import ITEMS, RUNS

from .run_states import state_of
from .views import RunHead, RunOverview

HEAD = tuple(RUNS.c[name] for name in RunHead.__struct_fields__)
# What is there in part of a task that runs was followed; nobody waits for the rest.
_IS_FOLLOWED = and_(ITEMS.c.outcome.is_(None), ITEMS.c.outputs_state == OutputsState.PARTIAL)
_IS_COLLECTING = and_(ITEMS.c.outputs_state.in_(list(MOVING)), ~_IS_FOLLOWED)
_UNFINISHED = (OutputsState.INCOMPLETE, OutputsState.FAILED)


async def read_head(connection: AsyncConnection, run_id: str) -> RunHead:
    """Read a run without its items.

    Raises:
        NotFound: there is no such run.
    """
    row = (await connection.execute(select(*HEAD).where(RUNS.c.run_id == run_id))).one_or_none()
    if row is None:
        raise NotFound("there is no such run")
    return RunHead(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it


async def read_overview(connection: AsyncConnection, run_id: str) -> RunOverview:
    """Read a run with the counts of its items.

    Raises:
        NotFound: there is no such run.
    """
    head = await read_head(connection, run_id)
    (found,) = await overviews(connection, [head])
    return found


class Counted(msgspec.Struct, frozen=True, array_like=True):
    """What of a run's items has one word, an outcome or the state of those that are alive; a row of `counted`."""

    word: str
    is_alive: bool
    extension: str | None
    items: int
    is_collecting: bool
    is_unfinished: bool
    started_at: datetime | None
    ended_at: datetime | None


def counted() -> Select[*tuple[Any, ...]]:
    """Count items as `overview` wants them."""
    return select(
        func.coalesce(ITEMS.c.outcome, ITEMS.c.state).label("word"),
        ITEMS.c.outcome.is_(None).label("is_alive"),
        ITEMS.c.extension,
        func.count().label("items"),
        func.bool_or(_IS_COLLECTING).label("is_collecting"),
        func.bool_or(ITEMS.c.outputs_state.in_(_UNFINISHED)).label("is_unfinished"),
        func.min(ITEMS.c.started_at).label("started_at"),
        func.max(ITEMS.c.ended_at).label("ended_at"),
    ).group_by("word", "is_alive", ITEMS.c.extension)


async def overviews(connection: AsyncConnection, heads: Sequence[RunHead]) -> list[RunOverview]:
    """Count the items of some runs."""
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
        is_unfinished=any(row.is_unfinished for row in rows),
        started_at=min((row.started_at for row in rows if row.started_at), default=None),
        ended_at=max((row.ended_at for row in rows if row.ended_at), default=None),
        pinned_at=head.pinned_at,
        pinned_by=head.pinned_by,
        visibility=head.visibility,
        group=head.group,
    )
