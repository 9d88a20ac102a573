"""Answer one question that was put to this cluster, and see that a supervisor runs while jobs wait."""

import contextlib
import errno
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripthut_common.errors import BadOutput
from scripthut_poller.schedulers.job import Accounted, Accounts, Fate, Found, Job, JobState, Queue, Receipt, Submission

from . import limits, spool
from .limits import Terms
from .spool import Entry, Spool

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_KEPT = frozenset({"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"})


def answer(place: Spool, terms: Terms, word: str, asked: bytes) -> bytes:
    """Answer one question.

    Raises:
        BadOutput: the question cannot be read.
        OSError: the spool cannot be used.
    """
    place.make()
    wanted, reply = _REPLIES[word]
    told = reply(place, spool.load(asked, wanted))
    _ensure_supervised(place, terms)
    return spool.dump(told)


def _submit(place: Spool, submissions: Sequence[Submission]) -> list[Receipt]:
    receipts: list[Receipt] = []
    accepted: dict[str, str] = {}
    with place.locked():
        job_ids = place.allot(len(submissions))
        for job_id, submission in zip(job_ids, submissions, strict=True):
            receipt = _hand_in(place, job_id, submission, accepted)
            receipts.append(receipt)
            if receipt.job_id is not None:
                accepted[receipt.tag] = receipt.job_id
    place.poke()
    return receipts


def _hand_in(place: Spool, job_id: str, submission: Submission, accepted: Mapping[str, str]) -> Receipt:
    tag, at = submission.tag, datetime.now(UTC)
    missing = [parent for parent in submission.after_tags if parent not in accepted]
    if missing:
        return Receipt(tag=tag, fate=Fate.DEFERRED, message=f"the task that it waits for was not taken: {missing[0]}")
    after_ids = (*submission.after_ids, *(accepted[parent] for parent in submission.after_tags))
    try:
        limits.seconds(submission.time_limit)
        for folder in (submission.log_dir, submission.records_dir):
            Path(folder).mkdir(parents=True, exist_ok=True)
        place.put(job_id, Entry(submission=submission, after_ids=after_ids, submitted_at=at))
    except (OSError, ValueError) as error:
        is_full = isinstance(error, OSError) and error.errno in _FULL
        return Receipt(tag=tag, fate=Fate.DEFERRED if is_full else Fate.REFUSED, message=str(error))
    return Receipt(tag=tag, fate=Fate.ACCEPTED, job_id=job_id, at=at, submitted_at=at)


def _queue(place: Spool, job_ids: Sequence[str]) -> Queue:
    at = datetime.now(UTC)
    jobs = (_job(place.live / job_id, job_id) for job_id in job_ids if spool.is_job_id(job_id))
    return Queue(jobs={job.id: job for job in jobs if job is not None}, at=at)


def _job(folder: Path, job_id: str) -> Job | None:
    """Say how a job stands; `None` when it is over or was never here."""
    try:
        marks = spool.marks_of(folder)
        if spool.FINAL in marks:
            return None
        entry = spool.entry_of(folder)
        if spool.STARTED not in marks:
            reason = "JobHeldUser" if spool.HELD in marks and spool.RELEASED not in marks else None
            reason = reason or ("Dependency" if entry.after_ids else "Resources")
            return Job(id=job_id, state=JobState.QUEUED, word="PENDING", reason=reason, submitted_at=entry.submitted_at)
        started = spool.read(folder / spool.STARTED, spool.Started)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BadOutput:
        return Job(id=job_id, state=JobState.ODD, word="UNREADABLE")
    return Job(
        id=job_id,
        state=JobState.RUNNING,
        word="RUNNING",
        submitted_at=entry.submitted_at,
        started_at=started.at,
        node=started.node,
    )


def _accounting(place: Spool, job_ids: Sequence[str]) -> Accounts:
    at = datetime.now(UTC)
    rows = {job_id: _executions(place, job_id) for job_id in job_ids}
    return Accounts(rows={job_id: found for job_id, found in rows.items() if found}, at=at)


def _executions(place: Spool, job_id: str) -> tuple[Accounted, ...]:
    """Return the one execution of a job: each is started once."""
    job = _job(place.live / job_id, job_id) if spool.is_job_id(job_id) else None
    if job is None:
        final = place.final(job_id)
        return (final,) if final is not None else ()
    row = Accounted(
        id=job_id,
        outcome=None,
        word=job.word,
        submitted_at=job.submitted_at,
        started_at=job.started_at,
        node=job.node,
    )
    return (row,)


def _find(place: Spool, tags: Sequence[str]) -> Found:
    at, wanted = datetime.now(UTC), set(tags)
    found: dict[str, dict[str, None]] = {}
    with place.locked():
        for job_id, entry in place.entries():
            if entry.submission.tag in wanted:
                found.setdefault(entry.submission.tag, {})[job_id] = None
    return Found(jobs={tag: tuple(ids) for tag, ids in found.items()}, at=at)


def _release(place: Spool, job_ids: Sequence[str]) -> dict[str, str]:
    return _mark(place, job_ids, spool.RELEASED)


def _cancel(place: Spool, job_ids: Sequence[str]) -> dict[str, str]:
    return _mark(place, job_ids, spool.CANCELLED)


def _mark(place: Spool, job_ids: Sequence[str], mark: str) -> dict[str, str]:
    """Leave a mark on each job; there is nothing to do to those that are over."""
    complaints = {}
    for job_id in job_ids:
        is_known = False
        for folder in place.folders(job_id):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (folder / mark).touch()
                is_known = True
                break
        if not is_known:
            complaints[job_id] = "there is no such job"
    place.poke()
    return complaints


def _ensure_supervised(place: Spool, terms: Terms) -> None:
    """Start a supervisor when jobs are alive and none runs; it inherits the lock, so that there is never a second."""
    if not place.live_ids():
        return
    place.supervisor_lock.touch()
    lock = spool.try_lock(place.supervisor_lock)
    if lock is None:
        return
    try:
        _start_supervisor(place, terms, lock)
    finally:
        os.close(lock)


def _start_supervisor(place: Spool, terms: Terms, lock: int) -> None:
    program = [sys.executable, "-I", "-m", "scripthut_poller.localhost", "supervise"]
    with (place.directory / "supervisor.log").open("ab") as log:
        started = subprocess.Popen(
            [*program, str(place.directory), spool.dump(terms).decode(), str(lock)],
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=_clean(os.environ),
        )
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % started.pid, 0)


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave what a login has; settings and secrets of the services do not reach jobs."""
    kept = {name: value for name, value in environment.items() if name in _KEPT or name.startswith("LC_")}
    return {"PATH": os.defpath, "HOME": _home()} | kept


def _home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # containers run accounts that no passwd knows
        return "/"


_REPLIES: Mapping[str, tuple[Any, Callable[[Spool, Any], object]]] = {
    "submit": (list[Submission], _submit),
    "queue": (list[str], _queue),
    "accounting": (list[str], _accounting),
    "find": (list[str], _find),
    "release": (list[str], _release),
    "cancel": (list[str], _cancel),
}
