"""What of a run is newer than a version of it: a page at a time, each by one query that sees one moment."""

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Integer, Row, Text, and_, bindparam, cast, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB

from scripthut_common.database import Database
from scripthut_common.errors import NotFound
from scripthut_outputs.tables import ITEMS, RUNS

from . import items, runs
from .runs import Counted
from .views import Item, RunHead, RunOverview

_HEAD = RunHead.__struct_fields__
_COUNTED = runs.counted().where(ITEMS.c.run_id == bindparam("_run")).subquery("counted")
# One value beside every row: the counts and the items are those of the same moment.
_COUNTS = select(
    cast(func.coalesce(func.jsonb_agg(func.jsonb_build_array(*_COUNTED.c)), literal([], JSONB)), Text)
).scalar_subquery()
_VERSION = bindparam("_version", type_=BigInteger)
_NEWER = and_(
    ITEMS.c.run_id == RUNS.c.run_id,
    ITEMS.c.version >= _VERSION,
    tuple_(ITEMS.c.version, ITEMS.c.task_id) > tuple_(_VERSION, bindparam("_task", type_=Text)),
)
_UPDATE = (
    select(*(RUNS.c[name].label(f"run_{name}") for name in _HEAD), _COUNTS.label("counts"), *items.LISTED)
    .select_from(RUNS.outerjoin(ITEMS, _NEWER))
    .where(RUNS.c.run_id == bindparam("_run"))
    .order_by(ITEMS.c.version, ITEMS.c.task_id)
    .limit(bindparam("_limit", type_=Integer))
)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the order in which items changed; what stands at it was read, what comes after it was not."""

    version: int
    task_id: str = ""


END = Mark(version=2**62)


def after(version: int) -> Mark:
    """Where to read on for somebody who has seen this version; 0: nothing, not even what is as it was created."""
    return Mark(version=version + 1 if version else 0)


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """A run at one moment, and items that changed, those that did longest ago first; `next` is where more follow."""

    run: RunOverview
    items: tuple[Item, ...]
    next: Mark | None


class Updates:
    """Reads what changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, run_id: str, mark: Mark, *, limit: int) -> Update:
        """Read a run and up to `limit` items that stand after `mark`; none after `END`.

        Raises:
            NotFound: there is no such run.
        """
        asked = {"_run": run_id, "_version": mark.version, "_task": mark.task_id, "_limit": limit + 1}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_UPDATE, asked)).all()
        if not rows:
            raise NotFound("there is no such run")
        changed = tuple(items.item_of(row) for row in rows[:limit] if row.task_id is not None)
        last = changed[-1] if len(rows) > limit else None
        more = None if last is None else Mark(version=last.version, task_id=last.task_id)
        return Update(run=_overview(rows[0]), items=changed, next=more)


def _overview(row: Row[*tuple[Any, ...]]) -> RunOverview:
    counts = msgspec.json.decode(row.counts, type=list[Counted])
    head = RunHead(**{name: getattr(row, f"run_{name}") for name in _HEAD})
    return runs.overview(head, counts)
