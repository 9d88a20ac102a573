"""What a client reads of the service's answers: words that it does not know are shown as they are."""

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from scripthut_common.errors import TransientError

S = TypeVar("S", bound=msgspec.Struct)
ALIVE = ("pending", "submitted", "queued", "running", "settling")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run; `counts` are its tasks by outcome, of those that go on by state.

    `visibility` and `group` say who may read it besides its owner; older services know its owner alone.
    """

    run_id: str
    name: str
    cluster: str
    owner: str
    created_at: datetime
    state: str
    counts: dict[str, int]
    visibility: str = "private"
    group: str | None = None

    @property
    def open_to(self) -> str:
        """Who may read it besides its owner and admins; empty for nobody."""
        match self.visibility:
            case "private":
                return ""
            case "group":
                return f"group {self.group}"
            case "instance":
                return "everybody there"
            case word:
                return word


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs."""

    runs: tuple[Run, ...]
    next: str | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One task."""

    task_id: str
    task_name: str
    state: str
    outcome: str | None = None
    job_id: str | None = None
    attempt: int = 0
    confirmed: bool = False
    evidence: str = "none"
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str | None = None
    has_outputs: bool = False
    outputs_state: str = "none"
    extension_error: str | None = None

    @property
    def word(self) -> str:
        """Its outcome once it has one, else its state."""
        return self.outcome or self.state


class Task(Item, frozen=True, kw_only=True):
    """One task with all that is known of it."""

    run_id: str
    cluster: str
    scheduler_word: str | None = None
    output_dir: str | None = None
    collected_at: datetime | None = None
    collection_reason: str | None = None


class RunWithItems(Run, frozen=True, kw_only=True):
    """A run with a page of its tasks. `version`: which the live stream goes on from; older services have none."""

    items: tuple[Item, ...]
    next: str | None = None
    version: int | None = None
    cluster_state: str = ""
    cluster_stale: bool = False


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One file, stored or left out; a row without a path speaks for `count` files."""

    path: str
    path_b64: str
    state: str
    size: int | None = None
    sha256: str | None = None
    reason: str | None = None
    kind: str = "other"
    count: int = 1
    rendered_html: str | None = None


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a task's files."""

    run_id: str
    task_id: str
    outputs_state: str
    outputs: tuple[Output, ...]
    collection_reason: str | None = None
    next: str | None = None


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """One text about a task; `error` says why there is none."""

    content: str | None
    error: str | None
    path: str | None = None
    truncated: bool = False


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with what was sent."""

    field: str = ""
    message: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error in the service's words."""

    status: int
    detail: str
    errors: tuple[Fault, ...] = ()


def read(answer: Any, type_: type[S]) -> S:
    """Read what was decoded from JSON.

    Raises:
        TransientError: it is something else.
    """
    try:
        return msgspec.convert(answer, type=type_)
    except msgspec.ValidationError as error:
        raise TransientError(
            f"the service answers what this program cannot read ({error}): is it of another version, or no ScriptHut?"
        ) from error
