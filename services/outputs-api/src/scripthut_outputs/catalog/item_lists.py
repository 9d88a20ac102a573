"""Lists of a run's items: filtered, sorted, page by page, rolled up by what their ids begin with."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Text, case, cast, func, literal, null, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.tables import ITEMS

from . import cursors
from .asked import ItemsAsked, ItemSort
from .items import item_of, select_items
from .views import Chosen, Group, ItemList

MAX_GROUPS = 60
_word = func.coalesce(ITEMS.c.outcome, ITEMS.c.state)
# Bounded as the columns are, so that a cursor which somebody made up is no number that they cannot hold.
_Position = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_Key = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
_BY_NUMBER = tuple[_Key, _Position, str]
_NEVER = 2**62


def _microseconds(span: Any) -> ColumnElement[int]:
    return cast(func.extract("epoch", span) * 1_000_000, BigInteger)


# What failed, then what nobody knows, what runs, what waits, what went well.
_RANK = case(
    (ITEMS.c.outcome == Outcome.SUCCEEDED, 4),
    (ITEMS.c.outcome.not_in([Outcome.UNKNOWN, Outcome.CANCELLED]), 0),
    (ITEMS.c.outcome.is_not(None), 1),
    (ITEMS.c.state.in_([ItemState.RUNNING, ItemState.SETTLING]), 2),
    else_=3,
)
# Each ascending, so that one comparison with the last row of a page says what comes after it.
_KEYS: Mapping[ItemSort, tuple[ColumnElement[Any], Any]] = {
    ItemSort.ORDER: (ITEMS.c.position, tuple[_Position, _Position, str]),
    ItemSort.STATE: (_RANK, _BY_NUMBER),
    ItemSort.DURATION: (func.coalesce(-_microseconds(ITEMS.c.ended_at - ITEMS.c.started_at), _NEVER), _BY_NUMBER),
    ItemSort.STARTED: (func.coalesce(-_microseconds(ITEMS.c.started_at), _NEVER), _BY_NUMBER),
    ItemSort.NAME: (func.lower(ITEMS.c.task_name), tuple[str, _Position, str]),
}


async def read_items(
    connection: AsyncConnection, run_id: str, asked: ItemsAsked, *, limit: int, cursor: str | None
) -> ItemList:
    """Read a page of a run's items."""
    key, type_ = _KEYS[asked.sort]
    place = (key, ITEMS.c.position, ITEMS.c.task_id)
    query = select_items(null().label("definition"), null().label("collection_reason"), key.label("key"))
    query = query.where(ITEMS.c.run_id == run_id, *_chosen(asked))
    if cursor is not None:
        query = query.where(tuple_(*place) > cursors.read(cursor, type_))
    rows = (await connection.execute(query.order_by(*place).limit(limit + 1))).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return ItemList(
        items=tuple(item_of(row) for row in rows[:limit]),
        next=None if last is None else cursors.write(last.key, last.position, last.task_id),
    )


async def read_chosen(connection: AsyncConnection, run_id: str, asked: ItemsAsked) -> Chosen:
    """Count what a filter leaves, and group it by the next part of the ids, up to the next dot."""
    rest = func.substr(ITEMS.c.task_id, len(asked.under) + 1)
    part = case((func.strpos(rest, ".") > 0, func.split_part(rest, ".", 1)), else_=None).label("part")
    counted = (
        select(part, _word.label("word"), func.count().label("items"), func.min(ITEMS.c.position).label("first"))
        .where(ITEMS.c.run_id == run_id, *_chosen(asked))
        .group_by(part, "word")
        .subquery()
    )
    items = func.sum(counted.c["items"])
    query = (
        select(
            counted.c.part,
            cast(items, BigInteger).label("items"),
            func.jsonb_object_agg(counted.c.word, counted.c["items"]).label("counts"),
            cast(func.sum(items).over(), BigInteger).label("all_items"),
        )
        .group_by(counted.c.part)
        .order_by(or_(counted.c.part.is_(None), items < literal(2)), func.min(counted.c.first), counted.c.part)
        .limit(MAX_GROUPS + 1)
    )
    rows = (await connection.execute(query)).all()
    groups = [
        Group(prefix=f"{asked.under}{row.part}.", counts=row.counts)
        for row in rows
        if row.part is not None and row.items > 1
    ]
    return Chosen(
        count=rows[0].all_items if rows else 0,
        groups=tuple(groups[:MAX_GROUPS]),
        has_more_groups=len(groups) > MAX_GROUPS,
    )


def _chosen(asked: ItemsAsked) -> Iterator[ColumnElement[bool]]:
    if asked.under:
        yield func.starts_with(ITEMS.c.task_id, asked.under)
    if asked.word:
        yield _word == asked.word
    if asked.text:
        wanted = func.lower(cast(asked.text, Text))
        named = (func.lower(ITEMS.c.task_name), func.lower(ITEMS.c.task_id))
        yield or_(*(func.strpos(column, wanted) > 0 for column in named))
