"""Read the start claims and exit records that wrappers left on the cluster. Text in, text out."""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from scripthut_common import layout
from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.manifest import HEAD_BYTES, ExitRecord, parse_head
from scripthut_common.shell import Answer, Program

from .schedulers import Question
from .schedulers.reading import line, text_of

MAX_RECORDS = 1000
_CLAIM_BYTES = 1024
_NONCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")

# $1: a random mark that begins every answer. Standard input: for each directory its name (a backslash begins an octal
# escape) and how many tasks, then a line each: index, task, nonce. A directory is listed before anything in it is
# opened: on NFS, opening a name that is not there yet would have it missing for a while. Only regular files are
# opened: a pipe would hold us up. A claim is of interest only where there is no record.
_READ = Program(
    name="records",
    text=f"""
export LC_ALL=C
mark=$1 newline='
'
is_plain() {{
    [ -f "$1" ] && [ ! -L "$1" ]
}}
answer() {{
    index=${{1%% *}} task=${{1#* }} nonce=${{1##* }}
    task=${{task%% *}}
    case $newline$present$newline in
        *"$newline$task.manifest$newline"*) is_plain "$task.manifest" && {{
            printf '%s%s record\\n' "$mark" "$index"
            head -c {HEAD_BYTES} "$task.manifest"
            return
        }} ;;
    esac
    case $newline$present$newline in
        *"$newline$task.claim$newline"*) is_plain "$task.claim/$nonce/job" && {{
            printf '%s%s claim\\n' "$mark" "$index"
            head -c {_CLAIM_BYTES} "$task.claim/$nonce/job"
        }} ;;
    esac
}}
while IFS= read -r dir; do
    case $dir in *\\\\*) dir=$(printf '%b.' "$dir"); dir=${{dir%.}} ;; esac
    IFS= read -r count || exit 65
    tasks='' names=''
    while [ "$count" -gt 0 ]; do
        IFS= read -r line || exit 65
        task=${{line#* }} tasks=$tasks$line$newline count=$((count - 1))
        names=$names${{task%% *}}.manifest$newline${{task%% *}}.claim$newline
    done
    (
        cd -- "$dir" 2> /dev/null || exit 0
        present=$({{ ls -a; printf '%s' "$names"; }} | sort | uniq -d)
        printf '%s' "$tasks" | while IFS= read -r line; do answer "$line"; done
    )
done
printf '%send\\n' "$mark"
""",
)


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
    """What lies there of one task.

    `record` is `None` where there is none or where it cannot be read; it comes without its list of files. `claim` is
    read only where there is no record.
    """

    claim: Claim | None = None
    record: ExitRecord | None = None


def read(wanted: Sequence[Wanted]) -> Question[Mapping[tuple[str, str], Trace]]:
    """Ask for up to `MAX_RECORDS` tasks' claims and records in one command; by (run id, task id)."""
    if len(wanted) > MAX_RECORDS:
        raise ValueError(f"{len(wanted)} records; at most {MAX_RECORDS}")
    mark = secrets.token_hex(16)
    return Question(
        program=_READ,
        argv=(mark,),
        stdin=b"".join(_blocks(wanted)),
        parse=lambda answer: _traces(answer, mark.encode(), wanted),
        cost=0,
    )


def _blocks(wanted: Sequence[Wanted]) -> Iterator[bytes]:
    numbered = sorted(enumerate(wanted), key=lambda one: one[1].records_dir)
    for records_dir, group in groupby(numbered, key=lambda one: one[1].records_dir):
        tasks = [f"{index} {_checked(one)}" for index, one in group]
        yield from map(line, (records_dir, str(len(tasks)), *tasks))


def _checked(wanted: Wanted) -> str:
    """Say what is looked for; nothing in it can be a path, or two words."""
    if not _NONCE.fullmatch(wanted.nonce):
        raise InvalidInput(f"{wanted.nonce[:80]!r} is not a nonce")
    return f"{layout.require_id(wanted.task_id, 'task_id')} {wanted.nonce}"


def _traces(answer: Answer, mark: bytes, wanted: Sequence[Wanted]) -> Mapping[tuple[str, str], Trace]:
    text_of(answer)
    before, *pieces = answer.stdout.split(mark)
    if before or not pieces or pieces.pop() != b"end\n":
        raise BadOutput("the answer is not whole")
    traces = {(one.run_id, one.task_id): Trace() for one in wanted}
    for piece in pieces:
        head, newline, body = piece.partition(b"\n")
        index, _, kind = head.partition(b" ")
        if not newline or not index.isdigit() or int(index) >= len(wanted):
            raise BadOutput(f"the records program printed {head[:80]!r}")
        one = wanted[int(index)]
        traces[one.run_id, one.task_id] = _trace(kind, body, one.nonce)
    return traces


def _trace(kind: bytes, body: bytes, nonce: str) -> Trace:
    """Read one file; what an author may have garbled says nothing, and hides nothing of others."""
    try:
        return Trace(record=parse_head(body)) if kind == b"record" else Trace(claim=_claim(body, nonce))
    except BadOutput:
        return Trace()


def _claim(body: bytes, nonce: str) -> Claim | None:
    """Read job id, attempt and nonce, NUL-separated."""
    try:
        job_id, attempt, of, rest = body.decode("ascii").split("\0")
        claim = Claim(job_id=job_id, attempt=int(attempt))
    except ValueError:
        return None
    return claim if of == nonce and not rest else None
