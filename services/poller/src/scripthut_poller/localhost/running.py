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
_RETRY_S = 1.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended, in this scheduler's word."""

    outcome: Outcome
    word: str


COMPLETED = Verdict(outcome=Outcome.SUCCEEDED, word="COMPLETED")
FAILED = Verdict(outcome=Outcome.FAILED, word="FAILED")
NOT_LAUNCHED = Verdict(outcome=Outcome.FAILED, word="LaunchFailed")
# Named as Slurm names somebody's cancelling: alone the word is what Slurm itself does to jobs that can never begin.
CANCELLED = Verdict(outcome=Outcome.CANCELLED, word=f"CANCELLED by {os.getuid()}")
TIMED_OUT = Verdict(outcome=Outcome.TIMED_OUT, word="TIMEOUT")
NODE_FAILED = Verdict(outcome=Outcome.NODE_FAILED, word="NODE_FAIL")
DEPENDENCY_FAILED = Verdict(outcome=Outcome.DEPENDENCY_FAILED, word="DependencyNeverSatisfied")


def run(folder: Path, job_id: str, grace_s: float) -> None:
    """Run a job to its end, unless somebody else has it or had it.

    SIGTERM stays blocked, as the supervisor has it: when the machine goes down, the job's end can still be noted.
    """
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
        ending = _Ending(folder, limits.seconds(entry.submission.time_limit), grace_s)
        verdict, status = _attend(child, ending)
        if not (folder / spool.PROCESS).exists():
            verdict, status = NOT_LAUNCHED, None
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


class _Ending:
    """Why and when a job is ended before its time."""

    def __init__(self, folder: Path, limit_s: float | None, grace_s: float) -> None:
        self._folder = folder
        self._grace_s = grace_s
        self._due_at = time.monotonic() + limit_s if limit_s is not None else float("inf")
        self._kill_at = float("inf")
        self.verdict: Verdict | None = None

    def press(self, child: int) -> None:
        """Ask the job to end when it is cancelled or has had its time; end it when it does not."""
        now = time.monotonic()
        if self.verdict is not None:
            if now > self._kill_at:
                _signal(child, signal.SIGKILL)
            return
        if not (self._folder / spool.PROCESS).exists():  # it has no process group yet
            return
        if (self._folder / spool.CANCELLED).exists():
            self.verdict = CANCELLED
        elif now > self._due_at:
            self.verdict = TIMED_OUT
        if self.verdict is not None:
            self._kill_at = now + self._grace_s
            _signal(child, signal.SIGTERM)


def _signal(group: int, number: signal.Signals) -> None:
    """Signal a process group; one that has changed its user (exec sudo) cannot be reached."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _attend(child: int, ending: _Ending) -> tuple[Verdict, int]:
    """Wait for the job, then end whatever it has left behind.

    While it is not yet reaped nobody else can bear its number.
    """
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        ending.press(child)
        signal.sigtimedwait({signal.SIGCHLD}, _TICK_S)
    leader = processes.describe(child)
    if leader is not None:
        processes.end_session(leader)
    _, status = os.waitpid(child, 0)
    return ending.verdict or (FAILED if status else COMPLETED), status


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
