"""One item as the watchlist holds it, and how its rows are read."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, and_, case, func, or_, select

from scripthut_common import layout
from scripthut_common.events import CloudEvent, Evidence, Extension, ItemEvent, ItemState, Outcome, Type, event
from scripthut_common.tasks import TaskSpec
from scripthut_poller.tables import ITEMS, RUNS

SOURCE = "/scripthut/poller"
Key = tuple[str, str]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item. `task` is read only where it is submitted; paths are absolute, `None` before `~` is known.

    `has_dependencies` is told of items that were not seen to start, and false where others submitted the job.
    """

    run_id: str
    run_name: str
    owner: str
    cluster: str
    task_id: str
    task_name: str
    position: int
    state: ItemState
    log_dir: str
    task: TaskSpec | None = None
    outcome: Outcome | None = None
    confirmed: bool = False
    evidence: Evidence = Evidence.NONE
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    scheduler_word: str | None = None
    job_id: str | None = None
    job_submitted_at: datetime | None = None
    handed_in_at: datetime | None = None
    nonce: str | None = None
    attempt: int = 1
    revision: int = 0
    sequence: int = 0
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str | None = None
    output_dir: str | None = None
    run_summary_path: str | None = None
    stdout_path: str | None = None
    stderr_path: str | None = None
    entered_at: datetime | None = None
    waited_s: float = 0.0
    observed_at: datetime | None = None
    announced_at: datetime | None = None
    is_unannounced: bool = False
    is_held: bool = False
    is_cancelled: bool = False
    job_user: str | None = None
    has_dependencies: bool = False
    extension: Extension | None = None
    extension_error: str | None = None
    generated_by: str | None = None
    submission_started_at: datetime | None = None

    @property
    def tag(self) -> str:
        """What the scheduler keeps with the job, so that it is found again: `<run_id>/<task_id>`."""
        return f"{self.run_id}/{self.task_id}"

    @property
    def key(self) -> Key:
        """Run and task, which name the item in every table."""
        return (self.run_id, self.task_id)

    @property
    def account(self) -> str | None:
        """The account that its job runs as, where that is not ours."""
        return self.job_user

    def told(self, type_: Type, at: datetime) -> CloudEvent:
        """Say how the item stands, as an event of this type."""
        return event(type_, self._payload(), source=SOURCE, at=at)

    def _payload(self) -> ItemEvent:
        values = {name: getattr(self, name) for name in _EVENT_FIELDS}
        # An item that never reached its cluster has no directory there.
        values["output_dir"] = self.output_dir or ""
        values["run_summary_path"] = self.run_summary_path or ""
        values["job_submitted_at"] = self.job_submitted_at or self.handed_in_at
        return ItemEvent(**values)


_EVENT_FIELDS = ItemEvent.__struct_fields__
_TOLD_FIELDS = {
    "run_name": RUNS.c.name,
    "owner": RUNS.c.owner,
    "log_dir": RUNS.c.log_dir,
    "is_cancelled": RUNS.c.cancel_requested_at.is_not(None),
    "has_dependencies": case(
        (ITEMS.c.started_at.is_(None), func.coalesce(ITEMS.c.task.has_key("deps"), False)), else_=False
    ),
}
FIELDS = {
    name: _TOLD_FIELDS[name] if name in _TOLD_FIELDS else ITEMS.c[name]
    for name in Item.__struct_fields__
    if name != "task"
}
COLUMNS = tuple(column.label(name) for name, column in FIELDS.items())


JOB = (ITEMS.c.run_id, ITEMS.c.task_id, ITEMS.c.job_id, ITEMS.c.job_user)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job to which something is to be done, and the account that it runs as, if it is not ours."""

    key: Key
    job_id: str
    job_user: str | None


def jobs(rows: Iterable[Row[Any]]) -> list[Job]:
    """Turn rows of `JOB` into jobs."""
    return [Job(key=(row.run_id, row.task_id), job_id=row.job_id, job_user=row.job_user) for row in rows]


def not_of(accounts: Collection[str]) -> Any:
    """Name the items whose jobs run as none of these accounts."""
    return or_(ITEMS.c.job_user.is_(None), ITEMS.c.job_user.not_in(accounts))


def query(*more: Any) -> Select[Any]:
    """Begin a query for items; `more` are further columns, as the task itself."""
    return select(*COLUMNS, *more).join_from(ITEMS, RUNS, ITEMS.c.run_id == RUNS.c.run_id)


def is_extending() -> Any:
    """Name the items whose lists are to be read: only a task that has succeeded extends its run."""
    return and_(
        ITEMS.c.state == ItemState.FINAL,
        ITEMS.c.outcome == Outcome.SUCCEEDED,
        ITEMS.c.extension == Extension.PENDING,
    )


def read(rows: Iterable[Row[Any]]) -> list[Item]:
    """Turn rows of `query` into items."""
    return [msgspec.convert(row._mapping, type=Item) for row in rows]  # noqa: SLF001  SQLAlchemy's public name for it


def places(log_dir: str, run_id: str, task_id: str) -> dict[str, str | None]:
    """Say where an item's outputs lie; nothing while `~` is not expanded."""
    if not log_dir.startswith("/"):
        return dict.fromkeys(("output_dir", "run_summary_path", "stdout_path", "stderr_path"))
    return {
        "output_dir": layout.output_dir(log_dir, run_id, task_id),
        "run_summary_path": layout.run_summary_path(log_dir, run_id, task_id),
        "stdout_path": layout.stdout_path(log_dir, run_id, task_id),
        "stderr_path": layout.stderr_path(log_dir, run_id, task_id),
    }
