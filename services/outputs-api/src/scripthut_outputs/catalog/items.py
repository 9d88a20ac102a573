"""Items: one task's place in a run and all that is known of it."""

from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.errors import NotFound
from scripthut_common.events import Evidence, Extension, ItemState, Outcome
from scripthut_outputs.ledger import OutputsState
from scripthut_outputs.tables import COLLECTIONS, ITEMS, RUNS

from . import wording
from .views import Item

_PLAIN = (
    ITEMS.c.run_id,
    ITEMS.c.task_id,
    ITEMS.c.task_name,
    RUNS.c.cluster,
    ITEMS.c.position,
    ITEMS.c.attempt,
    ITEMS.c.confirmed,
    ITEMS.c.exit_code,
    ITEMS.c.signal,
    ITEMS.c.reason,
    ITEMS.c.scheduler_word,
    ITEMS.c.job_id,
    ITEMS.c.submitted_at,
    ITEMS.c.started_at,
    ITEMS.c.ended_at,
    ITEMS.c.node,
    ITEMS.c.output_dir,
    ITEMS.c.stdout_path,
    ITEMS.c.stderr_path,
    ITEMS.c.has_outputs,
    ITEMS.c.has_run_summary,
    ITEMS.c.collected_at,
    ITEMS.c.extension_error,
    ITEMS.c.generated_by,
    ITEMS.c.version,
    ITEMS.c.outputs_version,
    ITEMS.c.followed_at,
)
_WORDS = (ITEMS.c.state, ITEMS.c.outcome, ITEMS.c.evidence, ITEMS.c.outputs_state, ITEMS.c.extension)


def select_items(*more: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Ask for items with their run; `more` columns must name definition and collection_reason."""
    return select(*_PLAIN, *_WORDS, *more).join(RUNS, RUNS.c.run_id == ITEMS.c.run_id)


async def read_item(connection: AsyncConnection, run_id: str, task_id: str) -> Item:
    """Read one item with its definition and why its collection waits or failed.

    Raises:
        NotFound: there is no such item.
    """
    same = (COLLECTIONS.c.run_id == ITEMS.c.run_id) & (COLLECTIONS.c.task_id == ITEMS.c.task_id)
    query = select_items(ITEMS.c.definition, COLLECTIONS.c.reason.label("collection_reason")).outerjoin(
        COLLECTIONS, same
    )
    found = await connection.execute(query.where(ITEMS.c.run_id == run_id, ITEMS.c.task_id == task_id))
    row = found.one_or_none()
    if row is None:
        raise NotFound("there is no such task in this run")
    return item_of(row)


async def read_generated(connection: AsyncConnection, run_id: str, task_id: str) -> list[tuple[str, str]]:
    """Read ids and names of the tasks that one task has generated, in submission order."""
    query = select(ITEMS.c.task_id, ITEMS.c.task_name).where(ITEMS.c.run_id == run_id, ITEMS.c.generated_by == task_id)
    return [(id_, name) for id_, name in await connection.execute(query.order_by(ITEMS.c.position, ITEMS.c.task_id))]


def item_of(row: Row[*tuple[Any, ...]]) -> Item:
    """Make an item of a row of `select_items`."""
    return Item(
        **{column.name: getattr(row, column.name) for column in _PLAIN},
        state=wording.read(ItemState, row.state),
        outcome=None if row.outcome is None else wording.read(Outcome, row.outcome),
        evidence=wording.read(Evidence, row.evidence),
        outputs_state=wording.read(OutputsState, row.outputs_state),
        extension=None if row.extension is None else wording.read(Extension, row.extension),
        definition=row.definition,
        collection_reason=row.collection_reason,
    )
