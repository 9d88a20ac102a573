"""Read jobs out of queue and history: what was proven, and nothing else."""

import re
from collections.abc import Sequence

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Accounted, Accounts, Job, JobState, Queue
from scripthut_poller.schedulers.reading import shown

from . import answers, words
from .answers import Fields

NOT_SHOWN = "not shown"
NO_JOB_ID = "no job id of PBS"
_EXEC_HOST = re.compile(r"(?P<node>[A-Za-z0-9][A-Za-z0-9_.-]*)[/:].*")
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_REASON_CHARACTERS = 500


def queue(answer: Answer, mark: str, chunked: Sequence[Sequence[str]], job_ids: Sequence[str]) -> Queue:
    """Read the cluster's clock and the jobs that are not over.

    What is neither shown nor proven to be absent is an odd job, as is what is no job id: nobody looked there.

    Raises:
        BadOutput: qstat did not answer, or a record cannot be read: then no absence is proven.
    """
    at, blocks = answers.read(answer, mark)
    looked = answers.looked_for(blocks, mark, chunked)
    if not looked.is_kept:
        raise BadOutput("qstat speaks of history, for which it was not asked")
    jobs = {job_id: Job(id=job_id, state=JobState.ODD, word=NOT_SHOWN) for job_id in looked.unproven}
    for job_id in job_ids:
        if not answers.is_job_id(job_id):
            jobs[job_id] = Job(id=job_id, state=JobState.ODD, word=NO_JOB_ID)
    for job_id, fields in looked.jobs.items():
        job = _job(job_id, fields)
        if job is not None:
            jobs[job_id] = job
    return Queue(jobs=jobs, at=at)


def accounts(answer: Answer, mark: str, chunked: Sequence[Sequence[str]]) -> Accounts:
    """Read the cluster's clock and what the history has.

    Raises:
        BadOutput: qstat did not answer, or a record cannot be read.
    """
    at, blocks = answers.read(answer, mark)
    looked = answers.looked_for(blocks, mark, chunked)
    if looked.fault is not None:
        raise BadOutput(looked.fault)
    rows = {job_id: (_accounted(job_id, fields),) for job_id, fields in looked.jobs.items()}
    unproven = {job_id: (Accounted(id=job_id, outcome=None, word=NOT_SHOWN),) for job_id in looked.unproven}
    return Accounts(rows=rows | unproven, at=at, is_kept=looked.is_kept)


def _job(job_id: str, fields: Fields) -> Job | None:
    word = fields["job_state"]
    state = words.job_state(word, fields.get("substate"))
    if state is None:
        return None
    is_running = state is JobState.RUNNING
    return Job(
        id=job_id,
        state=state,
        word=word,
        reason=None if is_running else words.reason(word, fields.get("comment", "")[:_REASON_CHARACTERS]),
        submitted_at=answers.time_of(fields, "ctime"),
        # An element that waits shows the start of its array, and `run_count` counts starts that came to nothing:
        # only a run that was seen to begin is an attempt.
        started_at=answers.time_of(fields, "stime") if is_running else None,
        node=_node(fields) if is_running else None,
    )


def _accounted(job_id: str, fields: Fields) -> Accounted:
    word = fields["job_state"]
    is_over = words.job_state(word) is None
    end = words.end(_ended(job_id, fields)) if is_over else words.End()
    return Accounted(
        id=job_id,
        outcome=end.outcome,
        word=" ".join(filter(None, (word, fields.get("Exit_status") if is_over else None))),
        exit_code=end.exit_code,
        signal=end.signal,
        submitted_at=answers.time_of(fields, "ctime"),
        started_at=answers.time_of(fields, "stime"),
        ended_at=answers.time_of(fields, "obittime", "history_timestamp", "mtime") if is_over else None,
        node=_node(fields),
    )


def _ended(job_id: str, fields: Fields) -> words.Ended:
    return words.Ended(
        substate=_integer(fields.get("substate"), "substate"),
        status=_integer(fields.get("Exit_status", fields.get("exit_status")), "exit status"),
        has_begun="stime" in fields,
        has_dependency="depend" in fields,
        is_array=answers.is_array(job_id),
        # Once its own record is gone, PBS shows an element with its array's attributes, exit status too.
        is_copy=answers.is_subjob(job_id) and "array_index" not in fields,
    )


def _node(fields: Fields) -> str | None:
    known = _EXEC_HOST.fullmatch(fields.get("exec_host", ""))
    return None if known is None else known["node"]


def _integer(text: str | None, what: str) -> int | None:
    """Read a number, which may have a sign; what is none is refused, never 0."""
    if text is None:
        return None
    if not _INTEGER.fullmatch(text):
        raise BadOutput(f"{what} {shown(text)} is not a number")
    return int(text)
