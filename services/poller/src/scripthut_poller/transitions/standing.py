"""How an item stands, what a round may learn of it, and what comes of that. Pure."""

from datetime import datetime
from enum import StrEnum

import msgspec

from scripthut_common.clusters import Patience
from scripthut_common.events import Evidence, ItemState, Outcome, Type
from scripthut_poller.records import Trace
from scripthut_poller.schedulers.job import Absent, Accounted, Sighting, Unreachable

Answers = tuple[Accounted, ...] | Absent | Unreachable | None


class Source(StrEnum):
    """What may be asked of a job besides the queue."""

    RECORD = "record"
    ACCOUNTING = "accounting"


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """The database's time of this round, and how often rounds are meant to come.

    `answering_since` is when the queue began to answer without a long gap: no outage counts towards a hard end.
    """

    now: datetime
    interval_s: float
    answering_since: datetime | None = None
    patience: Patience = Patience()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a submitted item stands: the part of its row that verdicts depend on and change.

    Field names are those of the row. `entered_at` is when it entered its state, `waited_s` how much good-round
    time it has spent there, `observed_at` the last good round that looked at it. `job_submitted_at` is the scheduler's
    own time, `None` until it is told; `handed_in_at` is by the clock of whoever handed the job in. `has_dependencies`
    is false where nobody told us of any.
    """

    state: ItemState
    job_id: str
    nonce: str | None
    submitted_at: datetime
    entered_at: datetime
    attempt: int = 1
    revision: int = 0
    waited_s: float = 0.0
    observed_at: datetime | None = None
    job_submitted_at: datetime | None = None
    handed_in_at: datetime | None = None
    has_dependencies: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str | None = None
    reason: str | None = None
    scheduler_word: str | None = None
    outcome: Outcome | None = None
    confirmed: bool = False
    evidence: Evidence = Evidence.NONE
    exit_code: int | None = None
    signal: int | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one round learnt of one item. `None` means that the source was not asked, or is not configured."""

    queue: Sighting
    trace: Trace | Unreachable | None = None
    accounting: Answers = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """How the item stands now, and the event that tells it, if there is something to tell."""

    standing: Standing
    tells: Type | None = None
