"""What a run is as a whole, by its items: said of counted items, and kept in the run's row for lists to filter by."""

from collections.abc import Collection

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


async def keep(connection: AsyncConnection, run_id: str) -> None:
    """Write into a run's row what it is now; the caller's transaction holds the row, so that none reads less than it.

    It probes an index a few times, however many items the run has.
    """
    await connection.execute(_KEEP, {"_run": run_id})


def _has(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(ITEMS.c.run_id == RUNS.c.run_id, *conditions)


_IS_ALIVE = ITEMS.c.outcome.is_(None)
# The same as `state_of`, in the same order.
STATE = case(
    (
        ~_has(ITEMS.c.outcome.is_not(None)) & ~_has(_IS_ALIVE, ITEMS.c.state.not_in(sorted(_WAITING))),
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
    # Not `!=`, which no index answers.
    (or_(_has(ITEMS.c.outcome < Outcome.SUCCEEDED), _has(ITEMS.c.outcome > Outcome.SUCCEEDED)), RunState.UNKNOWN.value),
    else_=RunState.SUCCEEDED.value,
)
_KEEP = update(RUNS).where(RUNS.c.run_id == bindparam("_run"), RUNS.c.state != STATE).values(state=STATE)
