"""The ledger as readers see it: a task's files, what stands for them, and their renderings."""

from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.errors import NotFound
from scripthut_common.layout import TASK_SUMMARY_NAME
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, Place
from scripthut_outputs.rendering import notice
from scripthut_outputs.tables import DOCUMENTS, FILES, ITEMS

from . import cursors, wording
from .views import Contribution, Item, Neighbours, OutputFile, Rendered, RunHead, RunSummary, TaskOutputs

ROW = (
    FILES.c.path,
    FILES.c.attempt,
    FILES.c["count"].label("files_count"),
    FILES.c.size_bytes,
    FILES.c.modified_at,
    FILES.c.sha256,
    FILES.c.stored_bytes,
    FILES.c.remote_path,
    FILES.c.reason,
    FILES.c.collected_at,
    FILES.c.removed_at,
    FILES.c.followed_at,
)
WORDS = (FILES.c.place, FILES.c.kind, FILES.c.state)
RENDERED = (DOCUMENTS.c.state.label("document_state"), DOCUMENTS.c.html, DOCUMENTS.c.reason.label("document_reason"))


async def read_file(connection: AsyncConnection, run_id: str, task_id: str, place: Place, path: bytes) -> LedgerRow:
    """Read the ledger row of exactly these path bytes.

    Raises:
        NotFound: the ledger has no such file.
    """
    query = select(*ROW, *WORDS).where(*_of(run_id, task_id, place), FILES.c.path == path)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("there is no such file")
    return ledger_row(row)


async def read_rendered(
    connection: AsyncConnection, run_id: str, task_id: str, place: Place, path: bytes, *, renderer: str
) -> Rendered:
    """Read what stands for one Markdown file.

    Raises:
        NotFound: there is no such file, it is no Markdown, or we do not hold it.
    """
    query = with_rendering(select(*WORDS, FILES.c.sha256, *RENDERED), renderer)
    row = (await connection.execute(query.where(*_of(run_id, task_id, place), FILES.c.path == path))).one_or_none()
    rendered = None if row is None else rendering_of(row)
    if rendered is None:
        raise NotFound("there is no such document")
    return rendered


async def read_log(connection: AsyncConnection, run_id: str, task_id: str, place: Place) -> LedgerRow | None:
    """Read the row of standard output or standard error; `None` when nothing is known of it yet."""
    row = (await connection.execute(select(*ROW, *WORDS).where(*_of(run_id, task_id, place)).limit(1))).one_or_none()
    return row and ledger_row(row)


async def read_outputs(
    connection: AsyncConnection, item: Item, *, renderer: str, limit: int, cursor: str | None
) -> TaskOutputs:
    """Read a page of an item's output files, task summary first, and the sums over all of them."""
    of_item = _of(item.run_id, item.task_id, Place.OUTPUT)
    held = func.sum(FILES.c.stored_bytes).filter(FILES.c.state == FileState.STORED)
    totals = select(FILES.c.state, func.sum(FILES.c["count"]), func.coalesce(held, 0), func.count(FILES.c.removed_at))
    sums = (await connection.execute(totals.where(*of_item).group_by(FILES.c.state))).all()
    is_later = FILES.c.path != TASK_SUMMARY_NAME.encode()
    query = with_rendering(select(*ROW, *WORDS, *RENDERED), renderer).where(*of_item)
    if cursor is not None:
        path = cursors.read(cursor, tuple[bytes])[0]
        query = query.where(tuple_(is_later, FILES.c.path) > (path != TASK_SUMMARY_NAME.encode(), path))
    rows = (await connection.execute(query.order_by(is_later, FILES.c.path).limit(limit + 1))).all()
    files = tuple(OutputFile(row=ledger_row(row), rendered=rendering_of(row)) for row in rows[:limit])
    return TaskOutputs(
        item=item,
        counts={wording.read(FileState, state): int(count) for state, count, *_ in sums},
        stored_bytes=sum(int(stored) for *_, stored, _ in sums),
        removed_count=sum(removed for *_, removed in sums),
        files=files,
        next=cursors.write(files[-1].row.path) if len(rows) > limit else None,
    )


async def read_neighbours(connection: AsyncConnection, run_id: str, task_id: str, path: bytes) -> Neighbours:
    """Read which stored files stand before and after one, whether that is stored or not."""
    is_later = FILES.c.path != TASK_SUMMARY_NAME.encode()
    place, here = tuple_(is_later, FILES.c.path), (path != TASK_SUMMARY_NAME.encode(), path)
    stored = select(FILES.c.path).where(*_of(run_id, task_id, Place.OUTPUT), FILES.c.state == FileState.STORED).limit(1)
    before = stored.where(place < here).order_by(is_later.desc(), FILES.c.path.desc())
    after = stored.where(place > here).order_by(is_later, FILES.c.path)
    return Neighbours(before=await connection.scalar(before), after=await connection.scalar(after))


async def read_summary(connection: AsyncConnection, run: RunHead, *, renderer: str) -> RunSummary:
    """Read what tasks contributed to the run's summary, in submission order."""
    query = _contributions(run.run_id, renderer).order_by(ITEMS.c.position, ITEMS.c.task_id)
    return RunSummary(run=run, sections=tuple(_contribution(row) for row in await connection.execute(query)))


async def read_contribution(connection: AsyncConnection, run_id: str, task_id: str, *, renderer: str) -> Contribution:
    """Read one task's section.

    Raises:
        NotFound: the task contributed nothing.
    """
    query = _contributions(run_id, renderer).where(FILES.c.task_id == task_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("the task contributed nothing to the run's summary")
    return _contribution(row)


def _contributions(run_id: str, renderer: str) -> Select[*tuple[Any, ...]]:
    query = with_rendering(
        select(
            *(ITEMS.c.task_id, ITEMS.c.task_name),
            *(*WORDS, FILES.c.sha256, FILES.c.reason, FILES.c.removed_at),
            *RENDERED,
        ),
        renderer,
    )
    return query.join(ITEMS, (ITEMS.c.run_id == FILES.c.run_id) & (ITEMS.c.task_id == FILES.c.task_id)).where(
        FILES.c.run_id == run_id,
        FILES.c.place == Place.RUN_SUMMARY,
        func.coalesce(FILES.c.stored_bytes, 1) > 0,
    )


def _of(run_id: str, task_id: str, place: Place) -> tuple[ColumnElement[bool], ...]:
    return (FILES.c.run_id == run_id, FILES.c.task_id == task_id, FILES.c.place == place)


def with_rendering(query: Select[*tuple[Any, ...]], renderer: str) -> Select[*tuple[Any, ...]]:
    """Join what each Markdown file was rendered to."""
    same = (DOCUMENTS.c.sha256 == FILES.c.sha256) & (DOCUMENTS.c.renderer == renderer)
    return query.select_from(FILES).outerjoin(DOCUMENTS, same & (FILES.c.kind == Kind.MARKDOWN))


def _contribution(row: Row[*tuple[Any, ...]]) -> Contribution:
    if row.state == FileState.STORED:
        rendered = rendering_of(row) or Rendered(sha256=row.sha256, html=None, is_escaped=False, reason=None)
        return Contribution(task_id=row.task_id, task_name=row.task_name, sha256=row.sha256, rendered=rendered)
    if row.removed_at is not None:
        reason = row.reason
        html = notice(f"What this task wrote for the run's summary is no longer here: {reason}.")
    else:
        reason = f"{row.state}: {row.reason}" if row.reason else str(row.state)
        html = notice(f"What this task wrote for the run's summary was left out ({reason}).")
    left_out = Rendered(sha256="", html=html, is_escaped=True, reason=reason)
    return Contribution(task_id=row.task_id, task_name=row.task_name, sha256=None, rendered=left_out)


def rendering_of(row: Row[*tuple[Any, ...]]) -> Rendered | None:
    """What stands for a Markdown file: `None` for other kinds and for what we do not hold."""
    if row.kind != Kind.MARKDOWN or row.sha256 is None or row.state != FileState.STORED:
        return None
    is_escaped = row.document_state == "escaped"
    return Rendered(sha256=row.sha256, html=row.html, is_escaped=is_escaped, reason=row.document_reason)


def ledger_row(row: Row[*tuple[Any, ...]]) -> LedgerRow:
    """Turn a row of `ROW` and `WORDS` into its struct."""
    plain = {column.name: getattr(row, column.name) for column in ROW if column.name != "files_count"}
    return LedgerRow(
        **plain,
        count=row.files_count,
        place=Place(row.place),
        kind=wording.read(Kind, row.kind),
        state=wording.read(FileState, row.state),
    )
