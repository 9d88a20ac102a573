"""The JSON that endpoints answer: one struct for each, in the words of the contract."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime

import msgspec

from scripthut_common.events import Evidence, Extension, ItemState, Outcome, RunState
from scripthut_outputs.catalog.views import ClusterView, Item, RunOverview
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, OutputsState, Place
from scripthut_outputs.rendering import file_url

from .standing import Bounds, is_stale


class RunJson(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list. `pinned`: its files are kept whatever the retention says.

    `visibility`: who may read it besides its owner, `private`, `group`, which names the group, or `instance`.
    `version`: raised by every change; its stream of events tells what changed since.
    """

    run_id: str
    name: str
    cluster: str
    owner: str
    created_at: datetime
    state: RunState
    counts: dict[str, int]
    version: int
    pinned: bool
    pinned_at: datetime | None
    pinned_by: str | None
    visibility: str
    group: str | None


class RunListJson(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs, in the order asked for."""

    runs: tuple[RunJson, ...]
    next: str | None


class AskedJson(msgspec.Struct, frozen=True, kw_only=True):
    """Of how many tasks of a run the outputs will be collected again."""

    tasks: int


class ClusterJson(msgspec.Struct, frozen=True, kw_only=True):
    """How a cluster does, in the poller's words. `stale`: what is shown of its jobs may be out of date."""

    name: str
    state: str
    stale: bool
    error: str | None
    last_good_round_at: datetime | None
    observed_at: datetime | None
    commands_per_minute: float


class ClusterListJson(msgspec.Struct, frozen=True, kw_only=True):
    """A page of clusters, by name."""

    clusters: tuple[ClusterJson, ...]
    next: str | None


class ItemJson(msgspec.Struct, frozen=True, kw_only=True):
    """One task of a run.

    `extension`: what became of the list of tasks that it generates, `null` where it generates none; `extension_error`:
    why that list was refused; `generated_by`: the task whose list it comes from. `followed_at`: its files are shown
    as of then, while it runs; `null` once they are collected.
    """

    task_id: str
    task_name: str
    job_id: str | None
    attempt: int
    state: ItemState
    outcome: Outcome | None
    confirmed: bool
    evidence: Evidence
    exit_code: int | None
    signal: int | None
    reason: str | None
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    node: str | None
    has_outputs: bool
    has_run_summary: bool
    outputs_state: OutputsState
    followed_at: datetime | None
    extension: Extension | None
    extension_error: str | None
    generated_by: str | None


class RunWithItemsJson(RunJson, frozen=True, kw_only=True):
    """A run with a page of its items, in submission order; how its cluster does, as in the list of clusters."""

    cluster_state: str
    cluster_stale: bool

    items: tuple[ItemJson, ...]
    next: str | None


class RunToldJson(msgspec.Struct, frozen=True, kw_only=True):
    """A run in an event. `is_collecting`: outputs of some tasks wait to be collected, or are."""

    run_id: str
    state: RunState
    counts: dict[str, int]
    version: int
    is_collecting: bool


class OutputsToldJson(msgspec.Struct, frozen=True, kw_only=True):
    """A task whose files changed, in an event. `followed_at`: they are shown as of then, while it runs."""

    task_id: str
    outputs_state: OutputsState
    has_outputs: bool
    followed_at: datetime | None


class ClusterToldJson(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster in an event. `stale`: what is shown of its jobs may be out of date."""

    name: str
    state: str
    stale: bool


class TaskJson(ItemJson, frozen=True, kw_only=True):
    """One task with all that is known of it. `collection_reason`: why its outputs are not here yet."""

    run_id: str
    cluster: str
    position: int
    scheduler_word: str | None
    output_dir: str | None
    collected_at: datetime | None
    collection_reason: str | None
    definition: Mapping[str, object] | None


class OutputJson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One output file, stored or left out. `count`: how many files a row without name speaks for.

    `removed_at`: it was stored until then; `sha256` and `size` are of what was removed. `followed_at`: it was read
    then, while the task ran.
    """

    path: str
    path_b64: str
    size: int | None
    kind: Kind
    sha256: str | None
    state: FileState
    reason: str | None
    url: str | None
    removed_at: datetime | None = None
    followed_at: datetime | None = None
    count: int = 1
    rendered_html: str | None = None
    html_url: str | None = None


class OutputsJson(msgspec.Struct, frozen=True, kw_only=True):
    """A task's output files.

    `truncated`: something was left out; `counts`: all files of the task by state, those of other pages too;
    `collection_reason`: why not all is here yet, or never will be; `followed_at`: what is here is as of then, while the
    task runs.
    """

    run_id: str
    task_id: str
    task_name: str
    state: ItemState
    outcome: Outcome | None
    outputs_state: OutputsState
    output_dir: str | None
    has_outputs: bool
    truncated: bool
    collected_at: datetime | None
    followed_at: datetime | None
    collection_reason: str | None
    counts: Mapping[FileState, int]
    outputs: tuple[OutputJson, ...]
    next: str | None


class OlderOutputJson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stored file in the older shape."""

    path: str
    size: int | None
    kind: Kind
    url: str
    rendered_html: str | None = None
    html_url: str | None = None


class OlderOutputsJson(msgspec.Struct, frozen=True, kw_only=True):
    """A task's stored files in the older shape."""

    outputs: tuple[OlderOutputJson, ...]
    output_dir: str | None
    has_outputs: bool
    status: str
    task_name: str
    task_id: str
    path: str | None
    backend_name: str
    generates_source: str | None
    content: None = None
    error: None = None
    node: None = None


class DetailJson(msgspec.Struct, frozen=True, kw_only=True):
    """One text about a task: its output, its script … `error` says why there is none.

    `truncated`: the log was longer, only its end was collected.
    """

    content: str | None
    error: str | None
    task_name: str
    task_id: str
    path: str | None
    job_id: str | None
    status: str
    node: str | None
    backend_name: str
    run_id: str
    generates_source: str | None
    has_outputs: bool
    truncated: bool


class RenderedJson(msgspec.Struct, frozen=True, kw_only=True):
    """One Markdown file as safe HTML."""

    path: str
    rendered_html: str | None


class SectionJson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task's section of the run's summary; without HTML only until it is rendered, or when it is at `html_url`."""

    task_id: str
    task_name: str
    rendered_html: str | None
    html_url: str | None = None


class SummaryJson(msgspec.Struct, frozen=True, kw_only=True):
    """The run's summary, in submission order."""

    run_id: str
    sections: tuple[SectionJson, ...]
    any_contributions: bool


class ArchivedFileJson(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger in an archive. `entry`: where the file lies beside the ledger; `null` where we lack it."""

    place: Place
    path: str
    path_b64: str
    entry: str | None
    state: FileState
    reason: str | None
    count: int
    size: int | None
    stored_size: int | None
    sha256: str | None
    modified_at: float | None
    collected_at: datetime | None
    removed_at: datetime | None
    followed_at: datetime | None
    attempt: int


class ArchivedLedgerJson(msgspec.Struct, frozen=True, kw_only=True):
    """`ledger.json` of a task in an archive: the task as it stands, and every file, stored or left out."""

    run_id: str
    cluster: str
    output_dir: str | None
    collected_at: datetime | None
    task: ItemJson
    files: tuple[ArchivedFileJson, ...]


def run_json(run: RunOverview) -> RunJson:
    """A run as it stands in lists."""
    return RunJson(**{name: getattr(run, name) for name in RunJson.__struct_fields__})


def cluster_json(cluster: ClusterView, bounds: Bounds, now: datetime) -> ClusterJson:
    """A cluster as it does at `now`."""
    told = {name: getattr(cluster, name) for name in ClusterJson.__struct_fields__ if name != "stale"}
    return ClusterJson(**told, stale=is_stale(cluster, bounds, now))


def item_json(item: Item) -> ItemJson:
    """A task as it stands in lists."""
    return ItemJson(**{name: getattr(item, name) for name in ItemJson.__struct_fields__})


def task_json(item: Item) -> TaskJson:
    """A task with all that is known of it."""
    return TaskJson(**{name: getattr(item, name) for name in TaskJson.__struct_fields__})


def output_json(run_id: str, task_id: str, row: LedgerRow) -> OutputJson:
    """A ledger row, its name exactly by `path_b64` and `url`, readably by `path`."""
    return OutputJson(
        path=row.path.decode("utf-8", "replace"),
        path_b64=b64encode(row.path).decode("ascii"),
        size=row.size_bytes if row.stored_bytes is None else row.stored_bytes,
        kind=row.kind,
        sha256=row.sha256,
        state=row.state,
        reason=row.reason,
        removed_at=row.removed_at,
        followed_at=row.followed_at,
        count=row.count,
        url=file_url(run_id, task_id, row.path) if row.state is FileState.STORED else None,
    )


def archived_file_json(row: LedgerRow, removed_at: datetime | None, entry: str | None) -> ArchivedFileJson:
    """A ledger row in an archive, its name there beside its exact name on the cluster."""
    return ArchivedFileJson(
        place=row.place,
        path=row.path.decode("utf-8", "replace"),
        path_b64=b64encode(row.path).decode("ascii"),
        entry=entry,
        state=row.state,
        reason=row.reason,
        count=row.count,
        size=row.size_bytes,
        stored_size=row.stored_bytes,
        sha256=row.sha256,
        modified_at=row.modified_at,
        collected_at=row.collected_at,
        removed_at=removed_at,
        followed_at=row.followed_at,
        attempt=row.attempt,
    )


def older_status(item: Item) -> str:
    """The word that older frontends know: completed or failed once final, else the state."""
    if item.outcome is None:
        return item.state.value
    return "completed" if item.outcome is Outcome.SUCCEEDED else "failed"


def generates_source(item: Item) -> str | None:
    """The task list that the task writes, if it does."""
    found = (item.definition or {}).get("generates_source")
    return found if isinstance(found, str) else None
