"""Read the start claims and exit records that wrappers left on the cluster. Text in, text out."""

from collections.abc import Mapping, Sequence

import msgspec

from scripthut_common.manifest import ExitRecord

from .schedulers import Question

MAX_RECORDS = 1000


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Which job, in which attempt, began the one execution of a submission."""

    job_id: str
    attempt: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One task whose evidence is looked for, in its run's records directory (absolute)."""

    records_dir: str
    run_id: str
    task_id: str
    nonce: str


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What lies there of one task. `record` is `None` where there is none or where it cannot be read."""

    claim: Claim | None = None
    record: ExitRecord | None = None


def read(wanted: Sequence[Wanted]) -> Question[Mapping[tuple[str, str], Trace]]:
    """Ask for up to `MAX_RECORDS` tasks' claims and records in one command; by (run id, task id)."""
    raise NotImplementedError
