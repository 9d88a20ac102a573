"""Hand jobs in and read what became of them, in whichever scheduler's words. Text in, text out."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.shell import Answer

from .job import Fate, Receipt, Submission
from .reading import line, moment, number, shown, text_of

# What submit programs have in common. `line` reads into `$line` what `reading.line` wrote, `tell` prints
# what `told` reads, at `$now`; `resolve` adds the ids of `$parents`, which `submit` left in
# `$id_<index>`, to those in `$after`, and fails if one was not accepted.
FUNCTIONS = """
line() {
    IFS= read -r line || exit 65
    case $line in *\\\\*) line=$(printf '%b.' "$line"); line=${line%.} ;; esac
}
tell() {
    printf '%s %s %s\\n%s' "$1" "$now" "${#2}" "$2"
}
resolve() {
    for parent in $parents; do
        eval "id=\\$id_$parent"
        [ -n "$id" ] || return 1
        after=$after${after:+:}$id
    done
}
"""
_FOLDER_FOR_NOW = ("No space left", "quota", "Stale", "Input/output error", "Transport endpoint", "timed out")
_MESSAGE_CHARACTERS = 500


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler's own command for handing jobs in has to itself.

    Args:
        scheduler: its name, for messages.
        is_job_id: whether a text is one of its ids.
        written: the lines for the program between a job's folders and its parents, and the script with its header.
        printed_id: the id in a line that it printed.
        failed: what became of a job, by exit status and what was said.
        rows: what it said, without its own name before every line.
        unfit: why the program was told not to submit a job, where it can be.
    """

    scheduler: str
    is_job_id: Callable[[str], bool]
    written: Callable[[Submission], tuple[Sequence[str], bytes]]
    printed_id: Callable[[str], str | None]
    failed: Callable[[int, str], Fate]
    rows: Callable[[str], Iterable[str]]
    unfit: Callable[[Submission], str] | None = None


def frames(command: Command, submissions: Sequence[Submission]) -> bytes:
    """Write a batch for a submit program.

    Raises:
        InvalidInput: a job comes after something that is no id, or the command has no words for it.
    """
    index_of = {submission.tag: index for index, submission in enumerate(submissions)}
    return b"".join(_frame(command, submission, index, index_of) for index, submission in enumerate(submissions))


def told(answer: Answer) -> Iterator[tuple[str, str, str]]:
    """Yield kind, time and text of each answer of a submit program.

    Sample: `0 1795457268 2` and `42` on the next line, without an end; the last number is the length of the text.

    Raises:
        BadOutput: it failed, or it is not whole.
    """
    text_of(answer)
    rest = answer.stdout
    while rest:
        head, newline, rest = rest.partition(b"\n")
        words = head.decode("ascii", "replace").split(" ")
        size = number(words[2], "length") if len(words) == 3 and newline else len(rest) + 1
        if size > len(rest):
            raise BadOutput(f"the submit program printed {shown(head.decode('utf-8', 'replace'))}")
        yield words[0], words[1], rest[:size].decode("utf-8", "replace")
        rest = rest[size:]


def receipts(
    command: Command,
    answers: Sequence[tuple[str, str, str]],
    submissions: Sequence[Submission],
    *,
    is_whole: bool = True,
) -> tuple[Receipt, ...]:
    """Read a receipt for each submission from what was `told`.

    Raises:
        BadOutput: there is not one answer for each, or it is not whole for another reason.
    """
    if not is_whole or len(answers) != len(submissions):
        raise BadOutput(f"{len(answers)} answers to {len(submissions)} submissions")
    return tuple(_receipt(command, submission, *one) for submission, one in zip(submissions, answers, strict=True))


def has(text: str, signs: Sequence[str]) -> bool:
    """Say whether one of these signs stands in what was said."""
    return any(sign in text for sign in signs)


def _frame(command: Command, submission: Submission, index: int, index_of: dict[str, int]) -> bytes:
    parents = [index_of.get(tag, index) for tag in submission.after_tags]
    if any(parent >= index for parent in parents):
        raise ValueError(f"{submission.tag}: its parents must stand before it in the batch")
    if not all(command.is_job_id(job_id) for job_id in submission.after_ids):
        raise InvalidInput(f"{submission.tag}: {submission.after_ids!r} are not {command.scheduler} job ids")
    words, body = command.written(submission)
    lines = (
        submission.tag,
        submission.log_dir,
        submission.records_dir,
        *words,
        ":".join(submission.after_ids),
        " ".join(map(str, parents)),
        f"{int(submission.is_held)} {len(body)}",
    )
    return b"".join(line(text) for text in lines) + body


def _receipt(command: Command, submission: Submission, kind: str, at: str, text: str) -> Receipt:
    if kind == "unfit" and command.unfit is not None:
        fate, job_id, text = Fate.REFUSED, None, command.unfit(submission)
    else:
        fate, job_id = _fate(command, kind, text)
    return Receipt(
        tag=submission.tag,
        fate=fate,
        job_id=job_id,
        message="" if fate is Fate.ACCEPTED else _message(command.rows(text)),
        at=moment(at, "the cluster's clock"),
    )


def _fate(command: Command, kind: str, text: str) -> tuple[Fate, str | None]:
    match kind:
        case "0":
            ids = [known for row in text.split("\n") if (known := command.printed_id(row))]
            return (Fate.ACCEPTED, ids[0]) if len(ids) == 1 and command.is_job_id(ids[0]) else (Fate.UNSURE, None)
        case "later":
            return Fate.DEFERRED, None
        case "orphan":
            return Fate.ORPHANED, None
        case "folder":
            return (Fate.DEFERRED if has(text, _FOLDER_FOR_NOW) else Fate.REFUSED), None
        case _:
            return command.failed(number(kind, "exit status"), text), None


def _message(rows: Iterable[str]) -> str:
    stripped = (row.strip() for row in rows)
    return "; ".join(row for row in stripped if row)[:_MESSAGE_CHARACTERS]
