"""Structs of the catalog as a run might give them, with anything changed by name."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from scripthut_common.events import Evidence, ItemState, Outcome, RunState
from scripthut_outputs.catalog.views import Contribution, Item, OutputFile, Panel, Rendered, RunOverview
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, OutputsState, Place, kind_of
from scripthut_outputs.rendering import render

AT = datetime(2026, 11, 3, 17, 5, 9, tzinfo=UTC)
_ITEM = Item(
    run_id="r1",
    task_id="train-0",
    task_name="Train",
    cluster="daint",
    position=0,
    attempt=1,
    state=ItemState.FINAL,
    outcome=Outcome.SUCCEEDED,
    confirmed=True,
    evidence=Evidence.SCHEDULER,
    exit_code=0,
    signal=None,
    reason=None,
    scheduler_word=None,
    job_id="42",
    submitted_at=AT,
    started_at=AT,
    ended_at=AT + timedelta(seconds=12),
    node="n1",
    output_dir="/s/outputs/r1/train-0",
    stdout_path=None,
    stderr_path=None,
    outputs_state=OutputsState.COLLECTED,
    has_outputs=True,
    has_run_summary=False,
    collected_at=AT,
)
_RUN = RunOverview(
    run_id="r1", name="A run", cluster="daint", owner="ada", created_at=AT, state=RunState.SUCCEEDED, counts={}
)


def item(**changed: Any) -> Item:
    """An item that succeeded."""
    return msgspec.structs.replace(_ITEM, **changed)


def run(**changed: Any) -> RunOverview:
    """A run without items."""
    return msgspec.structs.replace(_RUN, **changed)


def row(path: bytes, state: FileState = FileState.STORED, **changed: Any) -> LedgerRow:
    """A file of the output directory."""
    stored = {"stored_bytes": 2048, "sha256": "a" * 64} if state is FileState.STORED else {}
    plain = {"place": Place.OUTPUT, "kind": kind_of(path), "attempt": 1, "size_bytes": 2048, **stored, **changed}
    return LedgerRow(path=path, state=state, **plain)


def log(place: Place, **changed: Any) -> LedgerRow:
    """A kept log."""
    return row(b"", place=place, kind=Kind.OTHER, **changed)


def rendered(document: str) -> Rendered:
    """What the renderer makes of a document."""
    raw = document.encode()
    html = render(raw, size_bytes=len(raw), max_bytes=1024 * 1024).html
    return Rendered(sha256="a" * 64, html=html, is_escaped=False, reason=None)


def file(path: bytes, document: str | None = None, **changed: Any) -> OutputFile:
    """A file, rendered when it is a document."""
    return OutputFile(row=row(path, **changed), rendered=None if document is None else rendered(document))


def panel(*files: OutputFile, **changed: Any) -> Panel:
    """What a task left behind."""
    counts = Counter[FileState]()
    for found in files:
        counts[found.row.state] += found.row.count
    return Panel(files=files, files_count=counts.total(), counts=counts, **changed)


def contribution(document: str, task_id: str = "train-0", task_name: str = "Train") -> Contribution:
    """A section of the run's summary."""
    return Contribution(task_id=task_id, task_name=task_name, sha256="a" * 64, rendered=rendered(document))
