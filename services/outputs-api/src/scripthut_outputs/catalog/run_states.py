"""What a run is as a whole, by its items: said of counted items, and kept in the run's row for lists to filter by."""

from collections.abc import Collection
from itertools import pairwise

import msgspec
from sqlalchemy import ColumnElement, and_, bindparam, case, exists, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.events import Extension, ItemState, Outcome, RunState
from scripthut_outputs.tables import ITEMS, RUNS

_WAITING = frozenset({ItemState.PENDING, ItemState.SUBMITTED, ItemState.QUEUED})
_FAILURES = frozenset(Outcome) - {Outcome.SUCCEEDED, Outcome.UNKNOWN}


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


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What of an item bears on its run. `None` stands for an item that nobody knew."""

    state: str
    outcome: str | None
    extension: str | None

    @property
    def is_going(self) -> bool:
        """Whether it is alive and waits no longer: its run is running, whatever the others are."""
        return self.outcome is None and self.state not in _WAITING

    @property
    def is_waiting(self) -> bool:
        """Whether it has yet to start."""
        return self.outcome is None and self.state in _WAITING


def bears(before: Told | None, after: Told) -> bool:
    """Whether a run may be something else since one of its items is, and only looking at all of them tells what."""
    if after.is_going:
        return False
    if after.is_waiting:
        return before is None or not before.is_waiting
    return before != after


async def keep(connection: AsyncConnection, run_id: str) -> None:
    """Write into a run's row what it is now; the caller's transaction holds the row, so that none reads less than it.

    It probes an index a few times, however many items the run has.
    """
    await connection.execute(_KEEP, {"_run": run_id})


def _has(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(ITEMS.c.run_id == RUNS.c.run_id, *conditions)


def _has_other(
    column: ColumnElement[str], words: Collection[str], *conditions: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Whether a run has items with none of these words. No index answers `!=`; each gap between words is a range."""
    ordered = sorted(words)
    gaps = [column < ordered[0], column > ordered[-1]]
    gaps += [and_(column > low, column < high) for low, high in pairwise(ordered)]
    return or_(*(_has(*conditions, gap) for gap in gaps))


_IS_ALIVE = ITEMS.c.outcome.is_(None)
# The same as `state_of`, in the same order.
STATE = case(
    (
        ~_has(ITEMS.c.outcome.is_not(None)) & ~_has_other(ITEMS.c.state, _WAITING, _IS_ALIVE),
        RunState.PENDING.value,
    ),
    (
        or_(
            _has(_IS_ALIVE),
            _has(and_(ITEMS.c.extension == Extension.PENDING, ITEMS.c.outcome == Outcome.SUCCEEDED)),
        ),
        RunState.RUNNING.value,
    ),
    (
        or_(_has(ITEMS.c.extension == Extension.REFUSED), _has(ITEMS.c.outcome.in_(sorted(_FAILURES)))),
        RunState.FAILED.value,
    ),
    (_has_other(ITEMS.c.outcome, {Outcome.SUCCEEDED}), RunState.UNKNOWN.value),
    else_=RunState.SUCCEEDED.value,
)
_KEEP = update(RUNS).where(RUNS.c.run_id == bindparam("_run"), RUNS.c.state != STATE).values(state=STATE)
