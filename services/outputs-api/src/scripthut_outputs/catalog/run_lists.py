"""Lists of runs: filtered, sorted, page by page."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Annotated, Any

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, or_, select, true, tuple_, union
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_outputs.tables import RUNS

from . import cursors, runs
from .asked import RunsAsked, RunSort, Visible
from .views import RunHead, RunList
from .visible import IS_OPEN_TO_ALL, IS_OPEN_TO_GROUP, groups_of, is_visible

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Bounded, so that a cursor which somebody made up is no time that a calendar cannot hold.
_Age = Annotated[int, msgspec.Meta(ge=0, lt=2**52)]
_age_and_id = tuple_(RUNS.c.created_at, RUNS.c.run_id)
_name = func.lower(RUNS.c.name)
_LISTED = (*runs.HEAD, RUNS.c.state, _name.label("sorted_name"))
_Query = Select[*tuple[Any, ...]]


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    """One way to sort: how a page is ordered, what its cursor holds, and which runs come after it."""

    by: Callable[[Any], tuple[ColumnElement[Any], ...]]
    position: Callable[[Any], tuple[object, ...]]
    type: Any
    after: Callable[[Any], ColumnElement[bool]]


def _age(row: Any) -> int:
    return int((row.created_at - _EPOCH) // _MICROSECOND)


def _at(age: int) -> datetime:
    return _EPOCH + age * _MICROSECOND


def _newest_first(of: Any) -> tuple[ColumnElement[Any], ...]:
    return (of.created_at.desc(), of.run_id.desc())


# What runs are sorted by, of the table as of rows that were chosen from it.
_OF_RUNS = SimpleNamespace(created_at=RUNS.c.created_at, run_id=RUNS.c.run_id, state=RUNS.c.state, sorted_name=_name)
_ORDERS: Mapping[RunSort, _Order] = {
    RunSort.NEWEST: _Order(
        by=_newest_first,
        position=lambda row: (_age(row), row.run_id),
        type=tuple[_Age, str],
        after=lambda place: _age_and_id < (_at(place[0]), place[1]),
    ),
    RunSort.OLDEST: _Order(
        by=lambda of: (of.created_at, of.run_id),
        position=lambda row: (_age(row), row.run_id),
        type=tuple[_Age, str],
        after=lambda place: _age_and_id > (_at(place[0]), place[1]),
    ),
    RunSort.NAME: _Order(
        by=lambda of: (of.sorted_name, of.run_id),
        position=lambda row: (row.sorted_name, row.run_id),
        type=tuple[str, str],
        after=lambda place: tuple_(_name, RUNS.c.run_id) > place,
    ),
    RunSort.STATE: _Order(
        by=lambda of: (of.state, *_newest_first(of)),
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
    place = None if cursor is None else order.after(cursors.read(cursor, order.type))
    query = _page(asked, visible, order, limit=limit + 1, after=place)
    rows = (await connection.execute(query)).all()
    heads = [RunHead(**{name: getattr(row, name) for name in RunHead.__struct_fields__}) for row in rows[:limit]]
    more = cursors.write(*order.position(rows[limit - 1])) if len(rows) > limit else None
    return RunList(runs=tuple(await runs.overviews(connection, heads)), next=more)


def _page(
    asked: RunsAsked, visible: Visible, order: _Order, *, limit: int, after: ColumnElement[bool] | None
) -> _Query:
    """Choose the first runs after a place: the first of each way in which they are visible, merged."""

    def first(where: ColumnElement[bool]) -> _Query:
        query = _filtered(asked).where(where)
        return (query if after is None else query.where(after)).order_by(*order.by(_OF_RUNS)).limit(limit)

    if visible.is_all:
        return first(is_visible(visible))
    if asked.owner and asked.owner == visible.owner:
        return first(RUNS.c.owner == visible.owner)
    each = [first(IS_OPEN_TO_ALL)]
    if not asked.owner:
        each.append(first(RUNS.c.owner == visible.owner))
    if visible.groups:
        theirs = groups_of(visible)
        of_group = first(and_(IS_OPEN_TO_GROUP, RUNS.c.group == theirs.c.theirs)).lateral()
        each.append(select(*of_group.c).select_from(theirs).join(of_group, true()))
    # A run may be visible in two ways.
    merged = union(*(select(*one.subquery().c) for one in each)).subquery()
    return select(*merged.c).order_by(*order.by(merged.c)).limit(limit)


def _filtered(asked: RunsAsked) -> _Query:
    query = select(*_LISTED)
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
