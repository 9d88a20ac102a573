"""The supervisor: starts what may start, a few at a time, ends what never can, puts away what is over."""

import os
import signal
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from scripthut_common.errors import BadOutput
from scripthut_common.events import Outcome

from . import processes, running, spool
from .journal import say
from .limits import Terms
from .running import Verdict
from .spool import Entry, Spool, Started

_TICK_S = 0.1
_LOOK_EVERY_S = 2.0
_REMEMBERED_S = 30 * 86_400.0
_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM})


def supervise(place: Spool, terms: Terms, lock: int) -> None:
    """Supervise a spool until there is nothing to do; `lock` is the supervisor's, taken by whoever started us."""
    os.set_inheritable(lock, False)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    say(f"supervisor {os.getpid()} begins")
    place.forget(time.time() - _REMEMBERED_S)
    Supervisor(place, terms, lock).serve()
    say(f"supervisor {os.getpid()} ends")


class Supervisor:
    """Knows the waiting jobs of a spool and the runners of the others."""

    def __init__(self, place: Spool, terms: Terms, lock: int) -> None:
        self._spool = place
        self._terms = terms
        self._lock = lock
        self._waiting: dict[str, Entry] = {}
        self._marks: dict[str, frozenset[str]] = {}
        self._runners: dict[int, str] = {}
        self._orphans: set[str] = set()
        self._succeeded: dict[str, bool] = {}

    def serve(self) -> None:
        """Work until idle for long, asked to end, or robbed of the spool."""
        look_at, poked_ns, idle_since = 0.0, -1, time.monotonic()
        while self._is_ours() and time.monotonic() - idle_since < self._terms.idle_s:
            if time.monotonic() >= look_at or self._spool.poked_at_ns() != poked_ns:
                poked_ns = self._spool.poked_at_ns()
                look_at = time.monotonic() + _LOOK_EVERY_S
                self._look()
                self._advance()
            if self._waiting or self._runners or self._orphans:
                idle_since = time.monotonic()
            heard = signal.sigtimedwait(_SIGNALS, _TICK_S)
            if heard is not None and heard.si_signo == signal.SIGTERM:
                return
            if self._reap():
                self._advance()

    def _is_ours(self) -> bool:
        """Say whether the lock that we hold is still the spool's."""
        try:
            return os.path.samestat(os.fstat(self._lock), self._spool.supervisor_lock.stat())
        except FileNotFoundError:
            return False

    def _look(self) -> None:
        """Learn from the disk what is there; one entry's fault is its own."""
        self._orphans.clear()
        ids = self._spool.live_ids()
        for gone in self._waiting.keys() - set(ids):
            del self._waiting[gone]
        for job_id in self._others(ids):
            try:
                self._look_at(job_id)
            except (FileNotFoundError, NotADirectoryError, BadOutput) as error:
                self._discard(job_id, error)
            except OSError as error:
                say(f"job {job_id}: {error}")

    def _others(self, ids: Iterable[str]) -> list[str]:
        ours = set(self._runners.values())
        return [job_id for job_id in ids if job_id not in ours]

    def _look_at(self, job_id: str) -> None:
        folder = self._spool.live / job_id
        marks = spool.marks_of(folder)
        if marks & {spool.STARTED, spool.FINAL}:
            self._waiting.pop(job_id, None)
            self._settle(job_id)
            return
        if job_id not in self._waiting:
            self._waiting[job_id] = spool.entry_of(folder)
        self._marks[job_id] = marks

    def _discard(self, job_id: str, error: Exception) -> None:
        say(f"job {job_id} cannot be read and is put aside: {error}")
        self._waiting.pop(job_id, None)
        with suppress(OSError):
            self._spool.discard(job_id)

    def _settle(self, job_id: str) -> None:
        """Put a job away that is over; one whose runner is gone without a final record is over, too."""
        folder = self._spool.live / job_id
        lock = spool.try_lock(folder / spool.LOCK)
        if lock is None:
            self._orphans.add(job_id)
            return
        try:
            if self._spool.final(job_id) is None:
                self._conclude_lost(folder, job_id)
            self._retire(job_id)
        finally:
            os.close(lock)

    def _conclude_lost(self, folder: Path, job_id: str) -> None:
        with suppress(FileNotFoundError, BadOutput):
            processes.end_session(spool.read(folder / spool.PROCESS, processes.Process))
        started = None
        with suppress(FileNotFoundError, BadOutput):
            started = spool.read(folder / spool.STARTED, Started)
        say(f"job {job_id} has lost its runner")
        final = running.conclude(job_id, spool.entry_of(folder), running.NODE_FAILED, started)
        spool.write(folder / spool.FINAL, final)

    def _retire(self, job_id: str) -> None:
        self._spool.retire(job_id)
        self._marks.pop(job_id, None)

    def _reap(self) -> bool:
        """Settle the jobs whose runners have ended; answer whether there were any."""
        has_any = False
        while self._runners:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            has_any = True
            self._conclude_runner(self._runners.pop(pid))
        return has_any

    def _conclude_runner(self, job_id: str) -> None:
        """Settle a job that has begun; one that could not (full disk) waits for the next look."""
        try:
            if {spool.STARTED, spool.FINAL} & spool.marks_of(self._spool.live / job_id):
                self._settle(job_id)
        except (OSError, BadOutput) as error:
            say(f"job {job_id}: {error}")

    def _advance(self) -> None:
        """End what never can run and start what may."""
        for job_id, entry in list(self._waiting.items()):
            try:
                self._advance_one(job_id, entry)
            except (OSError, BadOutput) as error:
                say(f"job {job_id}: {error}")

    def _advance_one(self, job_id: str, entry: Entry) -> None:
        marks = self._marks[job_id]
        parents = [self._has_succeeded(parent) for parent in entry.after_ids]
        if spool.CANCELLED in marks:
            self._conclude(job_id, entry, running.CANCELLED)
        elif False in parents:
            self._conclude(job_id, entry, running.DEPENDENCY_FAILED)
        elif None in parents or (spool.HELD in marks and spool.RELEASED not in marks):
            return
        elif len(self._runners) + len(self._orphans) < self._terms.max_running:
            self._start(job_id)

    def _has_succeeded(self, job_id: str) -> bool | None:
        """Say how a parent ended; `None` while it has not."""
        if job_id not in self._succeeded and job_id not in self._waiting:
            final = self._spool.final(job_id)
            if final is not None:
                self._succeeded[job_id] = final.outcome is Outcome.SUCCEEDED
            elif not (self._spool.live / job_id).exists():
                self._succeeded[job_id] = False
        return self._succeeded.get(job_id)

    def _conclude(self, job_id: str, entry: Entry, verdict: Verdict) -> None:
        """End a job that has not begun, unless a runner that a dead supervisor left is about to begin it."""
        folder = self._spool.live / job_id
        lock = spool.try_lock(folder / spool.LOCK)
        if lock is None:
            return
        try:
            if not {spool.STARTED, spool.FINAL} & spool.marks_of(folder):
                spool.write(folder / spool.FINAL, running.conclude(job_id, entry, verdict))
                self._succeeded[job_id] = False
                del self._waiting[job_id]
                self._retire(job_id)
        finally:
            os.close(lock)

    def _start(self, job_id: str) -> None:
        runner = os.fork()
        if runner == 0:
            self._run(job_id)
        self._runners[runner] = job_id
        del self._waiting[job_id]

    def _run(self, job_id: str) -> NoReturn:
        """Be a job's runner, which goes on when the supervisor is gone."""
        try:
            os.close(self._lock)
            running.run(self._spool.live / job_id, job_id, self._terms.grace_s)
        except BaseException:  # noqa: BLE001  a runner never becomes a second supervisor
            say(f"the runner of job {job_id} fails: {traceback.format_exc()}")
        finally:
            os._exit(0)
