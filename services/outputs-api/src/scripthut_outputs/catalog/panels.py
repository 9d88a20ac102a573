"""What a run's page shows of many tasks at once, in three queries however many they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.layout import TASK_SUMMARY_NAME
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, Place
from scripthut_outputs.tables import COLLECTIONS, DOCUMENTS, FILES

from . import wording
from .files import ROW, WORDS, ledger_row, rendering_of
from .views import OutputFile, Panel

_SHOWN = (Place.OUTPUT, Place.STDOUT, Place.STDERR)


async def read_panels(
    connection: AsyncConnection,
    run_id: str,
    task_ids: Sequence[str],
    *,
    renderer: str,
    max_files: int,
    max_html_bytes: int,
) -> dict[str, Panel]:
    """Read the panels of some tasks of a run, by task.

    Args:
        connection: of the caller's transaction.
        run_id: the run.
        task_ids: whose panels.
        renderer: version of the renderer whose documents are shown.
        max_files: at most so many files of each task.
        max_html_bytes: longer documents are named, and not given.
    """
    found: dict[str, list[Row[*tuple[Any, ...]]]] = {task_id: [] for task_id in task_ids}
    for row in await connection.execute(_files(run_id, task_ids, renderer, max_files, max_html_bytes)):
        found[row.task_id].append(row)
    waiting = select(COLLECTIONS.c.task_id, COLLECTIONS.c.reason).where(
        COLLECTIONS.c.run_id == run_id, COLLECTIONS.c.task_id.in_(task_ids), COLLECTIONS.c.reason.is_not(None)
    )
    reasons = {row.task_id: row.reason for row in await connection.execute(waiting)}
    counts: dict[str, dict[FileState, int]] = {task_id: {} for task_id in task_ids}
    for task_id, state, count in await connection.execute(_counts(run_id, task_ids)):
        counts[task_id][wording.read(FileState, state)] = int(count)
    return {task_id: _panel(rows, counts[task_id], reasons.get(task_id)) for task_id, rows in found.items()}


def _counts(run_id: str, task_ids: Sequence[str]) -> Select[str, str, int]:
    return (
        select(FILES.c.task_id, FILES.c.state, func.sum(FILES.c["count"]))
        .where(FILES.c.run_id == run_id, FILES.c.task_id.in_(task_ids), FILES.c.place == Place.OUTPUT)
        .group_by(FILES.c.task_id, FILES.c.state)
    )


def _files(run_id: str, task_ids: Sequence[str], renderer: str, max_files: int, max_html_bytes: int) -> Any:
    is_later = FILES.c.path != TASK_SUMMARY_NAME.encode()
    of_task = [FILES.c.task_id, FILES.c.place]
    numbered = (
        select(
            *FILES.c,
            func.row_number().over(partition_by=of_task, order_by=[is_later, FILES.c.path]).label("number"),
            func.count(FILES.c.removed_at).over(partition_by=of_task).label("removed"),
        )
        .where(FILES.c.run_id == run_id, FILES.c.task_id.in_(task_ids), FILES.c.place.in_(_SHOWN))
        .subquery()
    )
    same = and_(
        DOCUMENTS.c.sha256 == numbered.c.sha256, DOCUMENTS.c.renderer == renderer, numbered.c.kind == Kind.MARKDOWN
    )
    is_long = func.octet_length(DOCUMENTS.c.html) > max_html_bytes
    columns = [numbered.c[column.name] for column in (*ROW, *WORDS) if column.name != "files_count"]
    return (
        select(
            numbered.c.task_id,
            *columns,
            numbered.c["count"].label("files_count"),
            numbered.c.removed,
            DOCUMENTS.c.state.label("document_state"),
            case((is_long, None), else_=DOCUMENTS.c.html).label("html"),
            func.coalesce(is_long, False).label("is_long"),
            DOCUMENTS.c.reason.label("document_reason"),
        )
        .outerjoin(DOCUMENTS, same)
        .where(numbered.c.number <= max_files)
        .order_by(numbered.c.task_id, numbered.c.place, numbered.c.number)
    )


def _panel(
    rows: Sequence[Row[*tuple[Any, ...]]], counts: Mapping[FileState, int], collection_reason: str | None
) -> Panel:
    outputs = [row for row in rows if row.place == Place.OUTPUT]
    return Panel(
        files=tuple(OutputFile(row=ledger_row(row), rendered=rendering_of(row)) for row in outputs),
        files_count=sum(counts.values()),
        counts=counts,
        removed_count=int(outputs[0].removed) if outputs else 0,
        too_long=frozenset(row.path for row in outputs if row.is_long),
        stdout=_log(rows, Place.STDOUT),
        stderr=_log(rows, Place.STDERR),
        collection_reason=collection_reason,
    )


def _log(rows: Sequence[Row[*tuple[Any, ...]]], place: Place) -> LedgerRow | None:
    return next((ledger_row(row) for row in rows if row.place == place), None)
