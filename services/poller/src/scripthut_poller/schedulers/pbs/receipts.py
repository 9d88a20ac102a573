"""Write what the submit program reads, and read what qsub said of each job."""

from collections.abc import Sequence

from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Fate, Receipt, Submission
from scripthut_poller.schedulers.reading import line, moment, number, text_of, told

from . import requests
from .answers import is_job_id

_UNFIT = "!"
# PBS counts no restarts where a job could see them; the wrapper counts by itself.
_HEADER = b"#!/bin/bash\nSCRIPTHUT_JOB_ID=$PBS_JOBID SCRIPTHUT_RESTARTS=\n"
# qsub gave up before anything was sent, or the server refuses for now.
_FOR_NOW = (
    "cannot connect to server",
    "Connection refused",
    "No route to host",
    "Unknown Host",
    "reserved ports",
    "Invalid credential",
    "Munge",
    "munge",
    "Maximum number of jobs",
    "would exceed",
    "Resource temporarily unavailable",
)
# It was sent and no answer came, or a broken one.
_MAY_BE_IN = (
    "timed out",
    "Connection reset",
    "Batch protocol error",
    "End of File",
    "Premature end of message",
    "System error",
    "Unexpected reply",
    "no server response",
    "munmap_chunk",
)
_TIMED_OUT = 124
_BY_SIGNAL = (129, 130, 131, 132, 134, 135, 136, 137, 139, 141, 143)
_FOLDER_FOR_NOW = ("No space left", "quota", "Stale", "Input/output error", "Transport endpoint", "timed out")
_MESSAGE_CHARACTERS = 500


def frames(submissions: Sequence[Submission]) -> bytes:
    """Write a batch for `programs.SUBMIT`."""
    index_of = {submission.tag: index for index, submission in enumerate(submissions)}
    return b"".join(_frame(submission, index, index_of) for index, submission in enumerate(submissions))


def parse(answer: Answer, submissions: Sequence[Submission]) -> tuple[Receipt, ...]:
    """Read a receipt for each submission.

    Sample: `0 1795457268 8` and `42.pbs01` on the next line, without an end; the last number is the length of
    what qsub said.

    Raises:
        BadOutput: the program failed, or the answer is not whole: look the tags up.
    """
    text_of(answer)
    answers = tuple(told(answer.stdout))
    if len(answers) != len(submissions):
        raise BadOutput(f"{len(answers)} answers to {len(submissions)} submissions")
    return tuple(_receipt(submission, *one) for submission, one in zip(submissions, answers, strict=True))


def _frame(submission: Submission, index: int, index_of: dict[str, int]) -> bytes:
    parents = [index_of.get(tag, index) for tag in submission.after_tags]
    if any(parent >= index for parent in parents):
        raise ValueError(f"{submission.tag}: its parents must stand before it in the batch")
    if not all(is_job_id(job_id) for job_id in submission.after_ids):
        raise InvalidInput(f"{submission.tag}: {submission.after_ids!r} are not PBS job ids")
    options, _ = _request(submission)
    body = b"" if options == _UNFIT else _HEADER + submission.script
    lines = (
        submission.tag,
        submission.log_dir,
        submission.records_dir,
        submission.stdout_path,
        submission.stderr_path,
        requests.job_name(submission.job_name),
        options,
        ":".join(submission.after_ids),
        " ".join(map(str, parents)),
        f"{int(submission.is_held)} {len(body)}",
    )
    return b"".join(line(text) for text in lines) + body


def _request(submission: Submission) -> tuple[str, str]:
    """Return the options of qsub; where PBS has no words for what is asked, say why instead: it is not submitted."""
    try:
        for path in (submission.stdout_path, submission.stderr_path):
            requests.path(path)
        return requests.options(submission), ""
    except InvalidInput as error:
        return _UNFIT, str(error)


def _receipt(submission: Submission, kind: str, at: str, text: str) -> Receipt:
    fate, job_id = _fate(kind, text)
    said = _request(submission)[1] if kind == "unfit" else text
    return Receipt(
        tag=submission.tag,
        fate=fate,
        job_id=job_id,
        message="" if fate is Fate.ACCEPTED else _message(said),
        at=moment(at, "the cluster's clock"),
    )


def _fate(kind: str, text: str) -> tuple[Fate, str | None]:
    match kind:
        case "0":
            ids = [row for row in text.split("\n") if is_job_id(row)]
            return (Fate.ACCEPTED, ids[0]) if len(ids) == 1 else (Fate.UNSURE, None)
        case "later":
            return Fate.DEFERRED, None
        case "orphan":
            return Fate.ORPHANED, None
        case "unfit":
            return Fate.REFUSED, None
        case "folder":
            return (Fate.DEFERRED if _has(text, _FOLDER_FOR_NOW) else Fate.REFUSED), None
        case _:
            return _failed(number(kind, "exit status"), text), None


def _failed(status: int, text: str) -> Fate:
    """Read the failure of qsub. Without its own word that nothing was sent, or that it was refused, it may be in.

    Exit statuses are error numbers less a multiple of 256; 134 and the like are also those of a crash.
    """
    says_nothing = not text.strip()
    if _has(text, _MAY_BE_IN) or status == _TIMED_OUT or says_nothing or (status in _BY_SIGNAL and "qsub:" not in text):
        return Fate.UNSURE
    return Fate.DEFERRED if _has(text, _FOR_NOW) else Fate.REFUSED


def _has(text: str, signs: Sequence[str]) -> bool:
    return any(sign in text for sign in signs)


def _message(text: str) -> str:
    """Keep what qsub said, without its own name before every line and without its usage."""
    rows = [row.removeprefix("qsub: ").strip() for row in text.partition("usage: qsub")[0].split("\n")]
    return "; ".join(row for row in rows if row)[:_MESSAGE_CHARACTERS]
