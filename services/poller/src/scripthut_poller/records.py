"""Read the start claims and exit records that wrappers left on the cluster. Text in, text out."""

from base64 import b64decode
from collections.abc import Mapping, Sequence

import msgspec

from scripthut_common import manifest
from scripthut_common.errors import BadOutput
from scripthut_common.manifest import ExitRecord
from scripthut_common.shell import Answer, Program

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
    return Question(
        program=_READ,
        stdin=b"".join(f"{one.records_dir}\0{one.task_id}\0".encode("utf-8", "surrogateescape") for one in wanted),
        parse=lambda answer: _parse(wanted, answer),
    )


_READ = Program(
    name="records",
    text="""exec bash -c 'while IFS= read -r -d "" folder && IFS= read -r -d "" task; do
        record=$folder/$task.manifest body=
        [ -f "$record" ] && [ ! -L "$record" ] && body=$(base64 < "$record")
        printf "%s\\0" "$body"
    done'
    """,
)


def _parse(wanted: Sequence[Wanted], answer: Answer) -> Mapping[tuple[str, str], Trace]:
    bodies = answer.stdout.split(b"\0")
    if answer.exit_status or len(bodies) != len(wanted) + 1:
        raise BadOutput(f"{len(bodies) - 1} records for {len(wanted)} tasks, exit status {answer.exit_status}")
    return {(one.run_id, one.task_id): _trace(body) for one, body in zip(wanted, bodies, strict=False)}


def _trace(body: bytes) -> Trace:
    try:
        return Trace(record=manifest.parse(b64decode(body)) if body else None)
    except BadOutput:
        return Trace()
