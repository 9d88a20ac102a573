"""The wire contract: one struct per event and command, and their CloudEvents 1.0 envelope.

Events are facts for anybody who may bind. Commands run code: they have their own exchange and rights.
Structured JSON, below 64 KiB; unknown fields are ignored so that later versions may add some.
Source: CloudEvents 1.0 JSON format, https://github.com/cloudevents/spec.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID, uuid5

import msgspec

from . import layout
from .errors import BadMessage
from .tasks import TaskSpec

NAMESPACE = UUID("6f0d9b1e-52f4-5b7c-9a52-0c5e4c6e7a10")
MAX_EVENT_BYTES = 64 * 1024
MAX_PART_BYTES = 512 * 1024

# Names become keys and parts of paths; numbers have columns. What does not fit is no event of ours.
_Id = Annotated[str, msgspec.Meta(pattern=rf"\A{layout.ID_PATTERN.pattern}\Z")]
_ClusterName = Annotated[str, msgspec.Meta(pattern=rf"\A{layout.CLUSTER_NAME_PATTERN.pattern}\Z")]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Counter = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Code = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class ItemState(StrEnum):
    """Where an item is on its way; `FINAL` means that `outcome` says how it ended."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    QUEUED = "queued"
    RUNNING = "running"
    SETTLING = "settling"
    FINAL = "final"


class Outcome(StrEnum):
    """How an item ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAILED = "node_failed"
    PREEMPTED = "preempted"
    DEPENDENCY_FAILED = "dependency_failed"
    SUBMISSION_FAILED = "submission_failed"
    UNKNOWN = "unknown"


class Evidence(StrEnum):
    """Who vouches for an outcome."""

    SCHEDULER = "scheduler"
    EXIT_RECORD = "exit_record"
    NONE = "none"


class Extension(StrEnum):
    """What became of the list of further tasks that a task writes; it is read when the task has succeeded."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"


class RunState(StrEnum):
    """What became of a whole run."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Type(StrEnum):
    """The `type` attribute of every event and command."""

    ITEM_SUBMITTED = "item.submitted"
    ITEM_CHANGED = "item.changed"
    ITEM_STARTED = "item.started"
    ITEM_COMPLETED = "item.completed"
    OUTPUTS_COLLECTED = "outputs.collected"
    RUN_EXTENDED = "run.extended"
    RUN_COMPLETED = "run.completed"
    CLUSTER_OBSERVED = "cluster.observed"
    RUN_REQUESTED = "run.requested"
    RUN_CANCEL_REQUESTED = "run.cancel_requested"


class _Struct(msgspec.Struct, frozen=True, kw_only=True):
    """What all wire structs share."""


class ItemEvent(_Struct, frozen=True, kw_only=True):
    """The whole truth about one item at one moment; every item event suffices by itself.

    Consumers apply it only where (attempt, revision, sequence) is higher than what they hold. `extension` is `None`
    for a task that generates none; `extension_error` says why its list was refused; `generated_by` is the task whose
    list it comes from. `account` is the account on the cluster that its job runs as, where that is not the service's.
    """

    run_id: _Id
    run_name: str
    task_id: _Id
    task_name: str
    position: _Count
    cluster: _ClusterName
    owner: str
    attempt: _Count
    revision: _Count
    sequence: _Counter
    state: ItemState
    output_dir: str
    run_summary_path: str
    stdout_path: str | None = None
    stderr_path: str | None = None
    job_id: str | None = None
    job_submitted_at: _Time | None = None
    outcome: Outcome | None = None
    confirmed: bool = False
    evidence: Evidence = Evidence.NONE
    exit_code: _Code | None = None
    signal: _Code | None = None
    reason: str | None = None
    scheduler_word: str | None = None
    submitted_at: _Time | None = None
    started_at: _Time | None = None
    ended_at: _Time | None = None
    node: str | None = None
    extension: Extension | None = None
    extension_error: str | None = None
    generated_by: _Id | None = None
    account: str | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        """What decides between two events of one item, whatever their order of arrival."""
        return (self.attempt, self.revision, self.sequence)


class OutputsCollected(_Struct, frozen=True, kw_only=True):
    """A task's files are in our store, or accounted for."""

    run_id: _Id
    task_id: _Id
    cluster: _ClusterName
    owner: str
    attempt: _Count
    sequence: _Counter
    outputs_state: str
    stored_files: _Count
    left_out_files: _Count
    stored_bytes: _Counter


class RunExtended(_Struct, frozen=True, kw_only=True):
    """A generated list added items to a run."""

    run_id: _Id
    cluster: _ClusterName
    owner: str
    parent_task_id: _Id
    count: _Count
    sequence: _Counter


class RunCompleted(_Struct, frozen=True, kw_only=True):
    """Every item of a run is final."""

    run_id: _Id
    run_name: str
    cluster: _ClusterName
    owner: str
    state: RunState
    sequence: _Counter


class ClusterObserved(_Struct, frozen=True, kw_only=True):
    """How the last rounds of a cluster went."""

    cluster: _ClusterName
    state: str
    sequence: _Counter
    error: str | None = None
    last_good_round_at: _Time | None = None
    commands_per_minute: float = 0.0


class RunRequested(_Struct, frozen=True, kw_only=True):
    """One numbered part of a run that the poller shall submit; complete when all `parts` are in.

    `account`: the account on the cluster that its jobs shall run as; `None`: that of the service.
    """

    run_id: _Id
    part: _Count
    parts: _Count
    document_sha256: str
    owner: str
    run_name: str
    cluster: _ClusterName
    log_dir: str | None
    first_position: _Count
    tasks: tuple[TaskSpec, ...]
    account: str | None = None


class RunCancelRequested(_Struct, frozen=True, kw_only=True):
    """Cancel what is still alive of a run."""

    run_id: _Id
    cluster: _ClusterName
    requested_by: str
    requested_at: _Time


Payload = (
    ItemEvent | OutputsCollected | RunExtended | RunCompleted | ClusterObserved | RunRequested | RunCancelRequested
)

PAYLOADS: dict[Type, type[Payload]] = {
    Type.ITEM_SUBMITTED: ItemEvent,
    Type.ITEM_CHANGED: ItemEvent,
    Type.ITEM_STARTED: ItemEvent,
    Type.ITEM_COMPLETED: ItemEvent,
    Type.OUTPUTS_COLLECTED: OutputsCollected,
    Type.RUN_EXTENDED: RunExtended,
    Type.RUN_COMPLETED: RunCompleted,
    Type.CLUSTER_OBSERVED: ClusterObserved,
    Type.RUN_REQUESTED: RunRequested,
    Type.RUN_CANCEL_REQUESTED: RunCancelRequested,
}
COMMANDS = frozenset({Type.RUN_REQUESTED, Type.RUN_CANCEL_REQUESTED})


class CloudEvent(_Struct, frozen=True, kw_only=True):
    """The envelope: who says what about what, when. `id` is equal for equal facts."""

    id: str
    type: Type
    source: str
    time: datetime
    data: Payload
    subject: str | None = None

    @property
    def cluster(self) -> str:
        """The cluster that the fact is about, the last part of the routing key."""
        return self.data.cluster

    @property
    def routing_key(self) -> str:
        """`<type>.<cluster>`."""
        return f"{self.type}.{self.cluster}"


class _Wire(_Struct, frozen=True, kw_only=True):
    """The JSON form of the envelope before its payload is known."""

    specversion: str
    id: _Word
    type: str
    source: str
    time: _Time
    data: Any
    subject: str | None = None
    datacontenttype: str = "application/json"


def event(type_: Type, data: Payload, *, source: str, at: datetime) -> CloudEvent:
    """Wrap `data`; its id follows from what it says, so saying it twice gives one event."""
    run_id = getattr(data, "run_id", "")
    task_id = getattr(data, "task_id", "")
    return CloudEvent(
        id=str(uuid5(NAMESPACE, "\n".join((type_, data.cluster, run_id, task_id, _distinction(data))))),
        type=type_,
        source=source,
        time=at.astimezone(UTC),
        data=data,
        subject=f"{run_id}/{task_id}" if task_id else run_id or data.cluster,
    )


def _distinction(data: Payload) -> str:
    """What tells this fact from others of its type and subject."""
    match data:
        case RunRequested():
            return f"{data.document_sha256}/{data.part}"
        case RunCancelRequested():
            return data.requested_at.astimezone(UTC).isoformat()
        case _:
            return str(data.sequence)


def encode(envelope: CloudEvent) -> bytes:
    """Write the envelope as structured CloudEvents JSON; text of a cluster that is no UTF-8 gets question marks."""
    wire = _Wire(
        specversion="1.0",
        id=envelope.id,
        type=envelope.type,
        source=envelope.source,
        time=envelope.time,
        subject=envelope.subject,
        data=envelope.data,
    )
    try:
        return msgspec.json.encode(wire)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(wire)))


def decode(body: bytes) -> CloudEvent | None:
    """Read one envelope; `None` for a type that this version does not know.

    Raises:
        BadMessage: not CloudEvents 1.0 JSON, or its data does not fit its type.
    """
    if _NUL.search(body):
        raise BadMessage("not a readable event: a text holds a NUL character")
    try:
        wire = msgspec.json.decode(body, type=_Wire)
        if wire.specversion != "1.0":
            raise BadMessage(f"CloudEvents version {wire.specversion[:20]!r} is not 1.0")
        if wire.type not in set(Type):
            return None
        type_ = Type(wire.type)
        data = _in_utc(msgspec.convert(wire.data, type=PAYLOADS[type_]))
        at = wire.time.astimezone(UTC)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise BadMessage(f"not a readable event: {error}") from error
    return CloudEvent(id=wire.id, type=type_, source=wire.source, time=at, subject=wire.subject, data=data)


def _in_utc(data: Payload) -> Payload:
    """Give every time of `data` in UTC; the first and last hours of the calendar overflow there."""
    times = {
        field: value.astimezone(UTC)
        for field in data.__struct_fields__
        if isinstance(value := getattr(data, field), datetime)
    }
    return msgspec.structs.replace(data, **times) if times else data


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
        case list() | tuple():
            return [_without_surrogates(one) for one in value]
        case _:
            return value
