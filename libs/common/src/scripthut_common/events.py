"""The wire contract: one struct per event and command, and their CloudEvents 1.0 envelope.

Events are facts for anybody who may bind. Commands run code: they have their own exchange and rights.
Structured JSON, below 64 KiB; unknown fields are ignored so that later versions may add some.
Source: CloudEvents 1.0 JSON format, https://github.com/cloudevents/spec.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

import msgspec

from .errors import BadMessage
from .tasks import TaskSpec

NAMESPACE = UUID("6f0d9b1e-52f4-5b7c-9a52-0c5e4c6e7a10")
MAX_EVENT_BYTES = 64 * 1024
MAX_PART_BYTES = 512 * 1024


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

    Consumers apply it only where (attempt, revision, sequence) is higher than what they hold.
    """

    run_id: str
    run_name: str
    task_id: str
    task_name: str
    position: int
    cluster: str
    owner: str
    attempt: int
    revision: int
    sequence: int
    state: ItemState
    output_dir: str
    run_summary_path: str
    stdout_path: str | None = None
    stderr_path: str | None = None
    job_id: str | None = None
    job_submitted_at: datetime | None = None
    outcome: Outcome | None = None
    confirmed: bool = False
    evidence: Evidence = Evidence.NONE
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    scheduler_word: str | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        """What decides between two events of one item, whatever their order of arrival."""
        return (self.attempt, self.revision, self.sequence)


class OutputsCollected(_Struct, frozen=True, kw_only=True):
    """A task's files are in our store, or accounted for."""

    run_id: str
    task_id: str
    cluster: str
    owner: str
    attempt: int
    sequence: int
    outputs_state: str
    stored_files: int
    left_out_files: int
    stored_bytes: int


class RunExtended(_Struct, frozen=True, kw_only=True):
    """A generated list added items to a run."""

    run_id: str
    cluster: str
    owner: str
    parent_task_id: str
    count: int
    sequence: int


class RunCompleted(_Struct, frozen=True, kw_only=True):
    """Every item of a run is final."""

    run_id: str
    run_name: str
    cluster: str
    owner: str
    state: RunState
    sequence: int


class ClusterObserved(_Struct, frozen=True, kw_only=True):
    """How the last rounds of a cluster went."""

    cluster: str
    state: str
    sequence: int
    error: str | None = None
    last_good_round_at: datetime | None = None
    commands_per_minute: float = 0.0


class RunRequested(_Struct, frozen=True, kw_only=True):
    """One numbered part of a run that the poller shall submit; complete when all `parts` are in."""

    run_id: str
    part: int
    parts: int
    document_sha256: str
    owner: str
    run_name: str
    cluster: str
    log_dir: str | None
    first_position: int
    tasks: tuple[TaskSpec, ...]


class RunCancelRequested(_Struct, frozen=True, kw_only=True):
    """Cancel what is still alive of a run."""

    run_id: str
    cluster: str
    requested_by: str
    requested_at: datetime


Payload = (
    ItemEvent | OutputsCollected | RunExtended | RunCompleted | ClusterObserved | RunRequested | RunCancelRequested
)

_PAYLOADS: dict[Type, type[Payload]] = {
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
    id: str
    type: str
    source: str
    time: datetime
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
    """Write the envelope as structured CloudEvents JSON."""
    return msgspec.json.encode(
        _Wire(
            specversion="1.0",
            id=envelope.id,
            type=envelope.type,
            source=envelope.source,
            time=envelope.time,
            subject=envelope.subject,
            data=envelope.data,
        )
    )


def decode(body: bytes) -> CloudEvent | None:
    """Read one envelope; `None` for a type that this version does not know.

    Raises:
        BadMessage: not CloudEvents 1.0 JSON, or its data does not fit its type.
    """
    try:
        wire = msgspec.json.decode(body, type=_Wire)
        if wire.specversion != "1.0":
            raise BadMessage(f"CloudEvents version {wire.specversion[:20]!r} is not 1.0")
        if wire.type not in set(Type):
            return None
        type_ = Type(wire.type)
        data = msgspec.convert(wire.data, type=_PAYLOADS[type_])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"not a readable event: {error}") from error
    return CloudEvent(id=wire.id, type=type_, source=wire.source, time=wire.time, subject=wire.subject, data=data)
