"""What a reader of the catalog is given: named structs, never rows."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from scripthut_common.events import Evidence, Extension, ItemState, Outcome, RunState
from scripthut_outputs.ledger import FileState, LedgerRow, OutputsState


class RunHead(msgspec.Struct, frozen=True, kw_only=True):
    """A run without its items: what decides who may see it. `version` is raised by every visible change.

    `summary_version`: at which its summary last changed. `follow`: its tasks' outputs are read while they run.
    `pinned_at`: since then its files are kept whatever the retention says; `None` when they are not. `visibility` and
    `group`: who may read it besides its owner.
    """

    run_id: str
    name: str
    cluster: str
    owner: str
    created_at: datetime
    version: int
    summary_version: int = 0
    follow: bool = False
    pinned_at: datetime | None = None
    pinned_by: str | None = None
    visibility: str = "private"
    group: str | None = None


class RunOverview(msgspec.Struct, frozen=True, kw_only=True):
    """A run with what became of its items: `counts` by state, or by outcome once final.

    `is_collecting`: outputs of some wait to be collected, or are. `is_unfinished`: some could not be collected whole.
    `started_at`, `ended_at`: when its first item started, and when the last that ended did. `version` and
    `summary_version` as in `RunHead`.
    """

    run_id: str
    name: str
    cluster: str
    owner: str
    created_at: datetime
    state: RunState
    counts: dict[str, int]
    version: int = 0
    summary_version: int = 0
    is_collecting: bool = False
    is_unfinished: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    pinned_at: datetime | None = None
    pinned_by: str | None = None
    visibility: str = "private"
    group: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether its files are kept whatever the retention says."""
        return self.pinned_at is not None


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """Runs in the order asked for. `next` is the cursor of the following page, if there is one."""

    runs: tuple[RunOverview, ...]
    next: str | None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One task's place in a run and all that is known of it. `definition` has no env values.

    `extension` says what became of the list that it generates, `None` where it generates none. `version` and
    `outputs_version` are those of the run at which it, or its files, last changed. `followed_at`: its files are shown
    as of then, while it runs.
    """

    run_id: str
    task_id: str
    task_name: str
    cluster: str
    position: int
    attempt: int
    state: ItemState
    outcome: Outcome | None
    confirmed: bool
    evidence: Evidence
    exit_code: int | None
    signal: int | None
    reason: str | None
    scheduler_word: str | None
    job_id: str | None
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    node: str | None
    output_dir: str | None
    stdout_path: str | None
    stderr_path: str | None
    outputs_state: OutputsState
    has_outputs: bool
    has_run_summary: bool
    collected_at: datetime | None
    extension: Extension | None = None
    extension_error: str | None = None
    generated_by: str | None = None
    version: int = 0
    outputs_version: int = 0
    followed_at: datetime | None = None
    collection_reason: str | None = None
    definition: dict[str, object] | None = None

    @property
    def is_extending(self) -> bool:
        """Whether its list is still to be read: only a task that has succeeded extends its run."""
        return self.outcome is Outcome.SUCCEEDED and self.extension is Extension.PENDING


class ItemList(msgspec.Struct, frozen=True, kw_only=True):
    """Items in the order asked for. They come without definition and collection reason: `Reading.item` has those."""

    items: tuple[Item, ...]
    next: str | None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The items of a run whose ids begin with `prefix`, which ends with a dot: `counts` as those of a run."""

    prefix: str
    counts: Mapping[str, int]


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a filter leaves of a run: how many items, and the groups of more than one one level further down.

    `groups` come in submission order; `has_more_groups`: there are others.
    """

    count: int
    groups: tuple[Group, ...] = ()
    has_more_groups: bool = False


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A Markdown document as safe HTML; links to the task's own files are in the private scheme.

    `html` is `None` while the document waits for its rendering; `is_escaped`: plain text with a notice,
    `reason` says why.
    """

    sha256: str
    html: str | None
    is_escaped: bool
    reason: str | None


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger row, with its rendering when it is Markdown that we hold."""

    row: LedgerRow
    rendered: Rendered | None


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """The stored files before and after one, in the order of `TaskOutputs`; `None` at either end."""

    before: bytes | None
    after: bytes | None


class TaskOutputs(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a task's output files: task-summary.md first, then by path bytes.

    `counts` by file state, `stored_bytes` and `removed_count` are over the whole task.
    """

    item: Item
    counts: dict[FileState, int]
    stored_bytes: int
    files: tuple[OutputFile, ...]
    next: str | None
    removed_count: int = 0


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's page shows of one task: its first files, task summary first, and its logs.

    `files_count` counts all of its ledger, `counts` does so by file state, `removed_count` what was removed from our
    store; `too_long` names documents whose HTML is left to the task's own page.
    """

    files: tuple[OutputFile, ...] = ()
    files_count: int = 0
    removed_count: int = 0
    counts: Mapping[FileState, int] = {}
    too_long: frozenset[bytes] = frozenset()
    stdout: LedgerRow | None = None
    stderr: LedgerRow | None = None
    collection_reason: str | None = None


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """One task's section of the run's summary; without `sha256` its fragment was left out, and `rendered` says why."""

    task_id: str
    task_name: str
    sha256: str | None
    rendered: Rendered


class RunBytes(msgspec.Struct, frozen=True, kw_only=True):
    """What removing a run would free; `place` counts the runs of its cluster that may be removed, oldest first.

    `freed_bytes`: what nobody holds any more once this run and all before it are gone. `frees_from`: the place up to
    which runs must go before the first of this run's blobs does; `None` when others keep all of them for good.
    """

    run_id: str
    place: int
    freed_bytes: int
    frees_from: int | None


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What tasks contributed to the run's summary, in submission order."""

    run: RunHead
    sections: tuple[Contribution, ...]


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """How a cluster does, in the poller's words and the collector's.

    `state` is the poller's word, `unknown` while it has said none; `observed_at` is by its clock, `heard_at` by ours.
    """

    name: str
    state: str
    error: str | None = None
    last_good_round_at: datetime | None = None
    commands_per_minute: float = 0.0
    observed_at: datetime | None = None
    heard_at: datetime | None = None
    collection_error: str | None = None
