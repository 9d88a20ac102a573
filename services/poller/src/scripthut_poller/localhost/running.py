"""Run one job: claim it, start bash in a session of its own, wait, end what is left of it, write its final record."""

import contextlib
import os
import platform
import signal
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import msgspec

from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import Accounted

from . import limits, processes, spool
from .journal import say

_TICK_S = 0.2
_GRACE_S = 10.0
_RETRY_S = 1.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended, in this scheduler's word."""

    outcome: Outcome
    word: str


COMPLETED = Verdict(outcome=Outcome.SUCCEEDED, word="COMPLETED")
FAILED = Verdict(outcome=Outcome.FAILED, word="FAILED")
NOT_LAUNCHED = Verdict(outcome=Outcome.FAILED, word="LaunchFailed")
CANCELLED = Verdict(outcome=Outcome.CANCELLED, word="CANCELLED")
TIMED_OUT = Verdict(outcome=Outcome.TIMED_OUT, word="TIMEOUT")
NODE_FAILED = Verdict(outcome=Outcome.NODE_FAILED, word="NODE_FAIL")
DEPENDENCY_FAILED = Verdict(outcome=Outcome.DEPENDENCY_FAILED, word="DependencyNeverSatisfied")


def run(folder: Path, job_id: str) -> None:
    """Run a job to its end, unless somebody else has it or had it."""
    os.setsid()
    lock = spool.try_lock(folder / spool.LOCK)
    if lock is None or {spool.STARTED, spool.FINAL} & spool.marks_of(folder):
        return
    entry = spool.entry_of(folder)
    started = spool.Started(at=datetime.now(UTC), node=platform.node())
    spool.write(folder / spool.STARTED, started)
    try:
        child = _launch(folder, job_id, entry)
    except (OSError, ValueError) as error:
        say(f"job {job_id} cannot be started: {error}")
        verdict, status = NOT_LAUNCHED, None
    else:
        verdict, status = _attend(folder, child, limits.seconds(entry.submission.time_limit))
    _keep(folder, conclude(job_id, entry, verdict, started, status))


def conclude(
    job_id: str,
    entry: spool.Entry,
    verdict: Verdict,
    started: spool.Started | None = None,
    status: int | None = None,
) -> Accounted:
    """Write down how a job ended; `status` is what its wait answered, `None` where there was none."""
    code = None if status is None else os.waitstatus_to_exitcode(status)
    return Accounted(
        id=job_id,
        outcome=verdict.outcome,
        word=verdict.word,
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        submitted_at=entry.submitted_at,
        started_at=started.at if started else None,
        ended_at=datetime.now(UTC),
        node=started.node if started else None,
    )


def _launch(folder: Path, job_id: str, entry: spool.Entry) -> int:
    """Fork the process that becomes the job's bash; it leaves a note of who it is before it does."""
    with (
        Path(os.devnull).open("rb") as nothing,
        Path(entry.submission.stdout_path).open("wb") as out,
        Path(entry.submission.stderr_path).open("wb") as err,
    ):
        child = os.fork()
        if child == 0:
            _become(folder, job_id, (nothing.fileno(), out.fileno(), err.fileno()))
    return child


def _become(folder: Path, job_id: str, streams: tuple[int, int, int]) -> NoReturn:
    """Turn this process into the job's bash."""
    try:
        os.setsid()
        spool.write(folder / spool.PROCESS, processes.describe(os.getpid()))
        for target, source in enumerate(streams):
            os.dup2(source, target)
        for signal_number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and bash would keep that
            signal.signal(signal_number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with contextlib.suppress(OSError):
            os.chdir(os.environ.get("HOME", "/"))
        environment = os.environ | {"SCRIPTHUT_JOB_ID": job_id}
        os.execvpe("bash", ["bash", str(spool.script_of(folder))], environment)  # noqa: S606  it is the shell
    except BaseException:  # noqa: BLE001  whatever it is, a second runner must not come of it
        traceback.print_exc()
    finally:
        os._exit(127)


def _attend(folder: Path, child: int, limit_s: float | None) -> tuple[Verdict, int]:
    """Wait for the job, end it when it is cancelled or takes too long, and then whatever it has left behind."""
    ends_at = time.monotonic() + limit_s if limit_s is not None else float("inf")
    verdict, kill_at = None, float("inf")
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        now = time.monotonic()
        if verdict is None:
            verdict = CANCELLED if (folder / spool.CANCELLED).exists() else TIMED_OUT if now > ends_at else None
            if verdict is not None:
                kill_at = now + _GRACE_S
                os.killpg(child, signal.SIGTERM)
        elif now > kill_at:
            os.killpg(child, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, _TICK_S)
    leader = processes.describe(child)
    if leader is not None:
        processes.end_session(leader)
    _, status = os.waitpid(child, 0)
    return verdict or (FAILED if status else COMPLETED), status


def _keep(folder: Path, final: Accounted) -> None:
    """Write the final record, however long the disk stays full."""
    while folder.is_dir():
        try:
            spool.write(folder / spool.FINAL, final)
        except OSError as error:
            say(f"job {final.id}: its end cannot be noted: {error}")
            time.sleep(_RETRY_S)
        else:
            return
