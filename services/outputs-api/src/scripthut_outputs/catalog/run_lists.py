"""Lists of runs: filtered, sorted, page by page."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_outputs.tables import RUNS

from . import cursors, runs
from .asked import RunsAsked, RunSort, Visible
from .views import RunHead, RunList
from .visible import is_visible

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Bounded, so that a cursor which somebody made up is no time that a calendar cannot hold.
_Age = Annotated[int, msgspec.Meta(ge=0, lt=2**52)]
_age_and_id = tuple_(RUNS.c.created_at, RUNS.c.run_id)
_name = func.lower(RUNS.c.name)


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    """One way to sort: how a page is ordered, what its cursor holds, and which runs come after it."""

    by: tuple[ColumnElement[Any], ...]
    position: Callable[[Any], tuple[object, ...]]
    type: Any
    after: Callable[[Any], ColumnElement[bool]]


def _age(row: Any) -> int:
    return int((row.created_at - _EPOCH) // _MICROSECOND)


def _at(age: int) -> datetime:
    return _EPOCH + age * _MICROSECOND


_NEWEST_FIRST = (RUNS.c.created_at.desc(), RUNS.c.run_id.desc())
_ORDERS: Mapping[RunSort, _Order] = {
    RunSort.NEWEST: _Order(
        by=_NEWEST_FIRST,
        position=lambda row: (_age(row), row.run_id),
        type=tuple[_Age, str],
        after=lambda place: _age_and_id < (_at(place[0]), place[1]),
    ),
    RunSort.OLDEST: _Order(
        by=(RUNS.c.created_at, RUNS.c.run_id),
        position=lambda row: (_age(row), row.run_id),
        type=tuple[_Age, str],
        after=lambda place: _age_and_id > (_at(place[0]), place[1]),
    ),
    RunSort.NAME: _Order(
        by=(_name, RUNS.c.run_id),
        position=lambda row: (row.sorted_name, row.run_id),
        type=tuple[str, str],
        after=lambda place: tuple_(_name, RUNS.c.run_id) > place,
    ),
    RunSort.STATE: _Order(
        by=(RUNS.c.state, *_NEWEST_FIRST),
        position=lambda row: (row.state, _age(row), row.run_id),
        type=tuple[str, _Age, str],
        # Said twice, so that the index begins where the page does.
        after=lambda place: (
            (RUNS.c.state >= place[0]) & or_(RUNS.c.state > place[0], _age_and_id < (_at(place[1]), place[2]))
        ),
    ),
}


async def read_list(
    connection: AsyncConnection, asked: RunsAsked, *, visible: Visible, limit: int, cursor: str | None
) -> RunList:
    """Read a page of runs.

    Args:
        connection: of the caller's transaction.
        asked: which runs, in which order.
        visible: which of them the reader may see.
        limit: how many at most.
        cursor: the `next` of the page before, of the same list.
    """
    order = _ORDERS[asked.sort]
    query = _chosen(asked, visible).order_by(*order.by).limit(limit + 1)
    if cursor is not None:
        query = query.where(order.after(cursors.read(cursor, order.type)))
    rows = (await connection.execute(query)).all()
    heads = [RunHead(**{name: getattr(row, name) for name in RunHead.__struct_fields__}) for row in rows[:limit]]
    more = cursors.write(*order.position(rows[limit - 1])) if len(rows) > limit else None
    return RunList(runs=tuple(await runs.overviews(connection, heads)), next=more)


def _chosen(asked: RunsAsked, visible: Visible) -> Select[*tuple[Any, ...]]:
    query = select(*runs.HEAD, RUNS.c.state, _name.label("sorted_name")).where(is_visible(visible))
    for column, value in (
        (RUNS.c.owner, asked.owner),
        (RUNS.c.cluster, asked.cluster),
        (RUNS.c.state, asked.state),
    ):
        if value:
            query = query.where(column == value)
    if asked.text:
        wanted = func.lower(asked.text)
        query = query.where(or_(*(func.strpos(column, wanted) > 0 for column in (_name, func.lower(RUNS.c.run_id)))))
    return query
