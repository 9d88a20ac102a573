"""Tell readers that a run or a cluster has changed, and keep what they read of it until it does."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from sqlalchemy import ARRAY, Boolean, Select, Text, Update, any_, bindparam, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_common.events import RunState
from scripthut_outputs.tables import ITEMS, RUNS

CHANNEL = "outputs_runs"
# No run can have these ids.
CLUSTERS = "*clusters"
ACCESS = "*access"
_ASSUMED_BYTES = 1024
T = TypeVar("T")

_OUTPUTS = bindparam("_outputs", type_=ARRAY(Text))
_RAISED = (
    update(RUNS)
    .where(RUNS.c.run_id == bindparam("_run"))
    .values(
        version=RUNS.c.version + 1,
        summary_version=case(
            (bindparam("_is_summary", type_=Boolean), RUNS.c.version + 1), else_=RUNS.c.summary_version
        ),
        state=func.coalesce(bindparam("_state", type_=Text), RUNS.c.state),
    )
    .returning(RUNS.c.run_id, RUNS.c.version)
    .cte("raised")
)
_MARKED = (
    update(ITEMS)
    .where(ITEMS.c.run_id == _RAISED.c.run_id, ITEMS.c.task_id == any_(bindparam("_items", type_=ARRAY(Text))))
    .values(
        version=_RAISED.c.version,
        outputs_version=case((ITEMS.c.task_id == any_(_OUTPUTS), _RAISED.c.version), else_=ITEMS.c.outputs_version),
    )
    .returning(ITEMS.c.task_id)
    .cte("marked")
)
_TOUCH = select(func.pg_notify(CHANNEL, _RAISED.c.run_id)).add_cte(_MARKED)
_TOUCH_CLUSTERS = select(func.pg_notify(CHANNEL, CLUSTERS))
_TOUCH_ACCESS = select(func.pg_notify(CHANNEL, ACCESS))


async def touch(
    connection: AsyncConnection,
    run_id: str,
    *,
    items: Collection[str] = (),
    outputs: Collection[str] = (),
    is_summary: bool = False,
) -> None:
    """Raise the run's version and tell every reader, when the caller's transaction commits.

    Args:
        connection: of the caller's transaction, which holds the locks of all items named.
        run_id: the run.
        items: tasks that are no longer what they were.
        outputs: tasks whose files or documents are not.
        is_summary: the run's summary is not.
    """
    named = {"_items": sorted({*items, *outputs}), "_outputs": sorted(outputs)}
    await connection.execute(_TOUCH, {"_run": run_id, "_is_summary": is_summary, "_state": None, **named})


def touching(write: Update) -> Select[*tuple[Any, ...]]:
    """Make one statement of `touch` and of what is written of one item: such a row is written once, not twice.

    It is executed with `write_item`.
    """
    is_item = (ITEMS.c.run_id == _RAISED.c.run_id, ITEMS.c.task_id == bindparam("_task"))
    written = write.where(*is_item).values(version=_RAISED.c.version).returning(ITEMS.c.task_id).cte("written")
    return select(func.pg_notify(CHANNEL, _RAISED.c.run_id)).add_cte(written)


async def write_item(
    connection: AsyncConnection,
    statement: Select[*tuple[Any, ...]],
    key: tuple[str, str],
    values: Mapping[str, object],
    state: RunState | None,
) -> None:
    """Write an item, whose lock the caller's transaction holds, and tell every reader, as `touch` does.

    Args:
        connection: of the caller's transaction.
        statement: made by `touching`.
        key: the run and the task.
        values: the parameters of what is written.
        state: what the run is from now on, where that is known.
    """
    run_id, task_id = key
    named = {"_run": run_id, "_task": task_id, "_is_summary": False, "_state": state}
    await connection.execute(statement, {**named, **values})


def by_run(keys: Iterable[Any]) -> dict[str, list[str]]:
    """Group tasks by run, given as pairs or rows; runs in the order in which all lock them."""
    grouped: dict[str, list[str]] = {}
    for run_id, task_id in sorted(set(map(tuple, keys))):
        grouped.setdefault(run_id, []).append(task_id)
    return grouped


async def touch_clusters(connection: AsyncConnection) -> None:
    """Tell every reader that a cluster does otherwise than before, when the caller's transaction commits."""
    await connection.execute(_TOUCH_CLUSTERS)


async def touch_access(connection: AsyncConnection) -> None:
    """Tell every process that somebody may more or less than before, when the caller's transaction commits."""
    await connection.execute(_TOUCH_ACCESS)


class _Turn:
    """Those who want the same: one of them reads it."""

    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class _Entry:
    """What was read of one run since it last changed. Its identity is the run's generation."""

    __slots__ = ("size_bytes", "turns", "values")

    def __init__(self) -> None:
        self.values: dict[object, Any] = {}
        self.turns: dict[object, _Turn] = {}
        self.size_bytes = _ASSUMED_BYTES


class Cache:
    """Reads by run, dropped when the run changes; it keeps nothing while notifications cannot be heard.

    Args:
        max_bytes: about how much is kept; the runs read longest ago go first.
    """

    def __init__(self, *, max_bytes: int = 128 * 1024 * 1024) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self.is_listening = False

    async def get(self, run_id: str, key: object, load: Callable[[], Awaitable[T]]) -> T:
        """Give what `load` read of a run, from memory if the run has not changed since; many at once load it once.

        A value whose run changed while it was being loaded is given to those who asked before that and not kept.
        """
        if not self.is_listening:
            return await load()
        entry = self._entries.get(run_id)
        if entry is None:
            entry = self._entries[run_id] = _Entry()
            self._size_bytes += entry.size_bytes
        elif key in entry.values:
            self._entries.move_to_end(run_id)
            kept: T = entry.values[key]
            return kept
        turn = entry.turns.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                if key not in entry.values:
                    self._keep(run_id, entry, key, await load())
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                self._let_go(run_id, entry, key)
        loaded: T = entry.values[key]
        return loaded

    def held(self, run_id: str, key: object) -> Any:
        """Give what is in memory of a run under a key; `None` where nothing is."""
        entry = self._entries.get(run_id) if self.is_listening else None
        return None if entry is None else entry.values.get(key)

    def generation(self, run_id: str) -> object:
        """Give what is another object once the run has changed, and every time while nothing is kept of it."""
        entry = self._entries.get(run_id) if self.is_listening else None
        return entry or object()

    def begin(self) -> None:
        """Keep what is read from now on."""
        self.clear()
        self.is_listening = True

    def hear(self, run_id: str) -> None:
        """Forget what has changed."""
        self.drop(run_id)

    def end(self) -> None:
        """Keep nothing."""
        self.is_listening = False
        self.clear()

    def drop(self, run_id: str) -> None:
        """Forget a run; values of it that are being loaded will not be kept either."""
        entry = self._entries.pop(run_id, None)
        if entry is not None:
            self._size_bytes -= entry.size_bytes

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._size_bytes = 0

    def _let_go(self, run_id: str, entry: _Entry, key: object) -> None:
        """Leave nothing behind of what nobody waits for: ids that somebody guesses take no room from others."""
        entry.turns.pop(key, None)
        if not entry.values and not entry.turns and self._entries.get(run_id) is entry:
            self.drop(run_id)

    def _keep(self, run_id: str, entry: _Entry, key: object, value: object) -> None:
        entry.values[key] = value
        if self._entries.get(run_id) is not entry:
            return
        size_bytes = _ASSUMED_BYTES + (len(value) if isinstance(value, bytes) else 0)
        entry.size_bytes += size_bytes
        self._size_bytes += size_bytes
        while self._size_bytes > self._max_bytes and self._entries:
            self.drop(next(iter(self._entries)))


class Hearer(Protocol):
    """Somebody to be told of changes."""

    def begin(self) -> None:
        """From now on changes are heard; what happened before is to be read from the tables."""

    def hear(self, run_id: str) -> None:
        """A run has changed; `CLUSTERS`: a cluster has; `ACCESS`: what somebody may."""

    def end(self) -> None:
        """Changes are not heard until `begin`."""


class Listener:
    """Hears of changes, over one connection for all who want to know.

    Args:
        database: the catalog.
        hearers: told in this order; the cache comes before those who read through it.
    """

    def __init__(self, database: Database, *hearers: Hearer) -> None:
        self._database = database
        self._hearers = hearers

    async def step(self) -> None:
        """Listen until cancelled.

        Raises:
            DatabaseUnavailable: the connection is lost; nothing is heard until `step` is called again.
        """
        try:
            await self._database.listen(CHANNEL, self._begin, self._hear)
        finally:
            for hearer in self._hearers:
                hearer.end()

    async def _begin(self) -> None:
        for hearer in self._hearers:
            hearer.begin()

    async def _hear(self, run_id: str) -> None:
        for hearer in self._hearers:
            hearer.hear(run_id)
