"""Whose turn it is: the statement that picks what to collect next, in turns over runs, failures first.

A run with 10,000 due items must not keep another's three waiting, and a claim must not read all 10,000. So the runs
that have something due are found first, by one step down the index `ix_collections_due` for each (a "loose index
scan"), and of each run the next few items, which stand in that index in the order wanted. What is read is bounded by
the limit and by `MAX_READ`, not by how much is due: measured with 50,000 due rows in `tests/bench`.
"""

from typing import Any
from zlib import crc32

import msgspec
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    all_,
    bindparam,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.sql.selectable import CTE, FromClause

from scripthut_common.database import Presence
from scripthut_outputs.tables import COLLECTIONS, RUNS

_COLLECTORS = 0x5C01
# So many rows are read at most, whatever the number of runs.
MAX_READ = 1000


def is_free(rows: FromClause) -> ColumnElement[bool]:
    """Match what is due and nobody holds."""
    return (rows.c.due_at <= func.now()) & or_(rows.c.lease_until.is_(None), rows.c.lease_until < func.now())


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """Of one cluster what is collected alone, or else what is collected together; some runs apart.

    `owner`: only of runs that are theirs.
    """

    cluster: str
    is_alone: bool
    skipped_runs: tuple[str, ...] = ()
    owner: str | None = None


def pick(lane: Lane, *, runs: int, items: int, after: str, with_leased: bool) -> Select[str, str, bool]:
    """Pick at most `items` keys from at most `runs` runs that come after the run `after`; tell which are free.

    The first items of all runs come before the second ones; among equals failures come first, then what waits longest.
    `with_leased` gives what somebody holds besides.
    """
    turns = _turns(lane, runs, after) if lane.owner is None else _turns_of(lane.owner, lane, runs, after)
    rows = COLLECTIONS.alias("item")
    turn = func.row_number().over(order_by=(rows.c.succeeded, rows.c.due_at)).label("turn")
    wanted = rows.c.due_at <= func.now() if with_leased else is_free(rows)
    of_run = (
        select(rows.c.run_id, rows.c.task_id, rows.c.succeeded, rows.c.due_at, is_free(rows).label("is_free"), turn)
        .where(_of_lane(rows, lane), rows.c.run_id == turns.c.run_id, wanted)
        .order_by(rows.c.succeeded, rows.c.due_at)
        .limit(_each(turns, items))
        .lateral("of_run")
    )
    picked = select(of_run.c.run_id, of_run.c.task_id, of_run.c.is_free).select_from(turns.join(of_run, true()))
    return picked.order_by(of_run.c.turn, of_run.c.succeeded, of_run.c.due_at).limit(items)


def owners(lane: Lane, *, after: str) -> Select[str, int, str]:
    """Name those who have something for us in the next runs after `after`, how many runs, and the last of these.

    `MAX_READ` runs are looked at; where there are not so many, these are all.
    """
    turns = _turns(lane, MAX_READ, after)
    named = select(RUNS.c.owner, func.count(), func.max(turns.c.run_id)).join(turns, turns.c.run_id == RUNS.c.run_id)
    return named.group_by(RUNS.c.owner)


def presence(cluster: str) -> Presence:
    """What a collector that listens is there for, so that others leave it its part."""
    return _COLLECTORS, crc32(cluster.encode()) >> 1


def _turns(lane: Lane, runs: int, after: str) -> CTE:
    """The runs that have something for us, in the order of their ids, at most `runs`; the last may be null."""
    skipped: ColumnElement[Any] = bindparam("skipped", list(lane.skipped_runs), type_=ARRAY(Text))

    def next_run(later_than: ColumnElement[str]) -> Select[str]:
        rows = COLLECTIONS.alias()
        wanted = (_of_lane(rows, lane), rows.c.run_id > later_than, rows.c.run_id != all_(skipped), is_free(rows))
        return select(rows.c.run_id).where(*wanted).order_by(rows.c.run_id).limit(1)

    first = select(next_run(literal(after)).scalar_subquery().label("run_id"), literal(1).label("number"))
    turns = first.cte("turns", recursive=True)
    following = next_run(turns.c.run_id).correlate(turns).scalar_subquery()
    more = select(following, turns.c.number + 1).where(turns.c.run_id.is_not(None), turns.c.number < runs)
    return turns.union_all(more)


def _turns_of(owner: str, lane: Lane, runs: int, after: str) -> CTE:
    """The same of one owner, out of as many runs as are looked at to know whose turn it is."""
    turns = _turns(lane, MAX_READ, after)
    theirs = select(turns.c.run_id).join(RUNS, RUNS.c.run_id == turns.c.run_id).where(RUNS.c.owner == owner)
    return theirs.order_by(turns.c.run_id).limit(runs).cte("theirs")


def _each(turns: CTE, items: int) -> ColumnElement[int]:
    """How many items of each run to read: all of them where runs are few, a fair part at least."""
    count = func.greatest(func.count(turns.c.run_id), 1)
    fair, most = func.ceil(cast(items, Float) / count), func.least(items, MAX_READ / count)
    each = cast(func.greatest(fair, most), Integer)
    return select(each).select_from(turns).scalar_subquery()


def _of_lane(rows: FromClause, lane: Lane) -> ColumnElement[bool]:
    is_alone = rows.c.is_alone.is_(true() if lane.is_alone else false())
    return (rows.c.cluster == lane.cluster) & is_alone & rows.c.due_at.is_not(None)
