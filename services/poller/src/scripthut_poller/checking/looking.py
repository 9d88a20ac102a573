"""Walk through the steps of a check: each is bounded, and a dead one does not stop those that can still be tried."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from scripthut_common.clusters import AsWhom, Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import (
    AccessRefused,
    BadOutput,
    Error,
    HostNotTrusted,
    LimitExceeded,
    NoConnection,
    TransientError,
)
from scripthut_common.shell import Answer, Program, RemoteShell
from scripthut_poller.schedulers import Question, Scheduler
from scripthut_poller.schedulers.job import Accounts, Queue
from scripthut_poller.watchlist import clusters

from . import answers, probes
from .answers import Reply
from .findings import Finding, Verdict, failed, fine, printable, skipped, warning
from .probes import Probe

Told = TypeVar("Told")
_GREETING_LINES = 50
_TIMED = 3
# Of no interest for an account that runs no jobs.
_OF_OWNERS = frozenset({"submitting", "log_dir"})
# A hung slurmdbd lets sacct go after 45 s.
_ASKING_S = 25.0
_DATABASE_S = 15.0
_SILENT_SLURMCTLD = "slurmctld hangs: see its log, ask the site; rounds judge nobody meanwhile"
_SILENT_SLURMDBD = "slurmdbd or its database hangs: see its log, ask the site; exit records decide meanwhile"
_SILENT_SPOOL = "the file system of the spool folder hangs: see spool_dir"


async def look(cluster: Cluster, shell: RemoteShell, scheduler: Scheduler) -> AsyncIterator[Finding]:
    """Yield what each step finds, as soon as it is known; the caller closes the shell."""
    walk = Walk(cluster, shell, scheduler)
    connected = True
    async for finding in walk.connection():
        connected = connected and finding.verdict is not Verdict.FAILED
        yield finding
    if not connected:
        yield _of("the rest", skipped("not tried: there is no connection"))
        return
    try:
        async for finding in walk.steps():
            yield finding
    except NoConnection as error:
        yield _of(
            "the rest", failed(f"not tried: {walk.plain(error)}", "run the check again; see sshd's log if it recurs")
        )


async def look_at_database(url: str) -> Finding:
    """Compare the database's clock with ours."""
    try:
        async with asyncio.timeout(_DATABASE_S):
            theirs = await _clock(url)
        return _of("database", answers.skew("its clock", (theirs - datetime.now(UTC)).total_seconds()))
    except (Error, TimeoutError) as error:
        said = str(error) or f"no answer within {_DATABASE_S:g} s"
        return _of("database", failed(said, "see SCRIPTHUT_POLLER_DATABASE_URL and the server"))


async def _clock(url: str) -> datetime:
    database = Database(url)
    try:
        return await clusters.clock(database)
    finally:
        await database.close()


class Walk:
    """The steps of one cluster."""

    def __init__(self, cluster: Cluster, shell: RemoteShell, scheduler: Scheduler) -> None:
        self._cluster = cluster
        self._shell = shell
        self._scheduler = scheduler
        self._is_here = cluster.scheduler is SchedulerKind.LOCALHOST

    async def connection(self) -> AsyncIterator[Finding]:
        """Reach the host, trust it, be let in, and see what a command costs."""
        if not self._is_here:
            greeting = await self._greeting()
            yield _of("connection", greeting)
            if greeting.verdict is Verdict.FAILED:
                return
        began = time.monotonic()
        try:
            first: Answer | Error = await self._shell.run(probes.NOTHING)
        except HostNotTrusted as error:
            yield _of("host key", failed(self.plain(error)))
            return
        except NoConnection as error:
            yield _of("account" if isinstance(error, AccessRefused) else "session", failed(self.plain(error)))
            return
        except (TransientError, LimitExceeded) as error:
            first = error
        if not self._is_here:
            yield _of("host key", self._vouched())
            yield _of("account", self._let_in(time.monotonic() - began))
        if isinstance(first, Exception):
            advice = "log in by hand: the account's login shell or its start-up files do not let commands run"
            yield _of("login shell", failed(self.plain(first), advice))
            return
        yield _of("login shell", await self._costs(first.noise_bytes))

    async def steps(self) -> AsyncIterator[Finding]:
        """Try everything that needs a connection.

        Raises:
            NoConnection: it is lost and does not come back.
        """
        kind = self._cluster.scheduler.value
        for probe in probes.BEFORE.get(kind, ()):
            yield await self.try_(probe)
        if kind != "pbs":
            silent = _SILENT_SPOOL if self._is_here else _SILENT_SLURMCTLD
            yield _of("queue", await self._ask(self._scheduler.queue(()), self._queued, silent))
        if kind == "slurm":
            accounting = self._scheduler.accounting(("1",))
            yield _of("accounting", await self._ask(accounting, self._accounted, _SILENT_SLURMDBD))
        for probe in (*probes.AFTER.get(kind, ()), *probes.of_machine(self._cluster)):
            if self._cluster.as_whom is AsWhom.SERVICE or probe.step not in _OF_OWNERS:
                yield await self.try_(probe)
        if not self._is_here:
            yield _of("sessions", await self._sessions())

    def plain(self, error: Exception) -> str:
        """Leave out which cluster it is about: the heading says it."""
        where = f"cluster '{self._cluster.name}'"
        return (
            str(error)
            .removeprefix(f"{where} at {self._cluster.host}:{self._cluster.port}: ")
            .removeprefix(f"{where}: ")
        )

    async def _greeting(self) -> Finding:
        cluster, began = self._cluster, time.monotonic()
        try:
            async with asyncio.timeout(cluster.connect_timeout_s):
                said = await _read_greeting(cluster.host, cluster.port)
        except TimeoutError:
            return failed(
                f"no SSH greeting from {cluster.host}:{cluster.port} within {cluster.connect_timeout_s:g} s",
                "the host is down or hangs, or a firewall swallows us: try `ssh -v` from this machine",
            )
        except OSError as error:
            advice = "see `host` and `port` in the clusters file, and whether sshd runs there"
            return failed(f"{cluster.host}:{cluster.port}: {_reason(error)}", advice)
        if not said.startswith("SSH-"):
            return failed(
                f"{cluster.host}:{cluster.port} says '{printable(said, 80)}'", "that is no SSH server: see `port`"
            )
        return fine(f"{printable(said, 80)} at {cluster.host}:{cluster.port}, {time.monotonic() - began:.2f} s")

    def _vouched(self) -> Finding:
        if self._cluster.check_host_key:
            return fine(f"it is the one in {self._cluster.known_hosts_file or 'the known_hosts files'}")
        return warning(
            "not checked: whoever is in between reads and answers everything",
            "take check_host_key = false out of the clusters file and give known_hosts_file",
        )

    def _let_in(self, took_s: float) -> Finding:
        user = self._cluster.user or "this process's user"
        return fine(f"lets {user} in with {self._cluster.key_file or 'a key of ~/.ssh'}, {took_s:.2f} s")

    async def _costs(self, noise_bytes: int) -> Finding:
        took_s = []
        for _ in range(_TIMED):
            began = time.monotonic()
            try:
                await self._shell.run(probes.NOTHING)
            except (TransientError, LimitExceeded) as error:
                return failed(self.plain(error), "the first command came back, a later one did not: see sshd's log")
            took_s.append(time.monotonic() - began)
        return answers.times(took_s, noise_bytes)

    async def try_(self, probe: Probe) -> Finding:
        """Make one trial.

        Raises:
            NoConnection: the connection is lost.
        """
        sent_at_s, began = time.time(), time.monotonic()
        try:
            answer = await self._shell.run(probe.program, *probe.argv)
        except NoConnection:
            raise
        except (TransientError, LimitExceeded) as error:
            return _of(probe.step, failed(self.plain(error), probe.if_silent))
        reply = Reply(
            stdout=answer.stdout.decode("utf-8", "replace"),
            stderr=answer.stderr.decode("utf-8", "replace"),
            exit_status=answer.exit_status,
            sent_at_s=sent_at_s,
            took_s=time.monotonic() - began,
        )
        return _of(probe.step, probe.judge(reply))

    async def _ask(self, question: Question[Told], judge: Callable[[Told, float], Finding], if_silent: str) -> Finding:
        """Put one of the poller's own questions."""
        program = _bounded(question.program)
        began = time.monotonic()
        try:
            answer = await self._shell.run(program, *question.argv, stdin=question.stdin)
            told = question.parse(answer)
        except NoConnection:
            raise
        except BadOutput as error:
            return answers.complaint(program.name, self.plain(error), "try it by hand on the cluster")
        except (TransientError, LimitExceeded) as error:
            return failed(self.plain(error), if_silent)
        return judge(told, time.monotonic() - began)

    def _queued(self, queue: Queue, took_s: float) -> Finding:
        command = "squeue" if self._cluster.scheduler is SchedulerKind.SLURM else "the spool folder"
        return answers.answered(command, f"{len(queue.jobs)} jobs of this account", took_s)

    def _accounted(self, accounts: Accounts, took_s: float) -> Finding:
        if accounts.is_kept:
            return answers.answered("sacct", "accounting is kept", took_s)
        return warning(
            "the cluster keeps no accounting: exit records alone decide",
            "ask the site for slurmdbd: without it a killed job's end stays `unknown`",
        )

    async def _sessions(self) -> Finding:
        opened, wanted = 0, self._cluster.max_sessions
        async with AsyncExitStack() as stack:
            while opened < wanted:
                try:
                    await self._hold(stack)
                except (TransientError, LimitExceeded, BadOutput) as error:
                    if opened and isinstance(error, NoConnection):
                        break
                    return failed(f"session {opened + 1}: {self.plain(error)}", "see sshd's log")
                opened += 1
        return answers.sessions(opened, wanted)

    async def _hold(self, stack: AsyncExitStack) -> None:
        """Open a session and leave it open."""
        pieces: AsyncIterator[Any] = await stack.enter_async_context(self._shell.stream(probes.SESSION))
        await anext(pieces)


async def _read_greeting(host: str, port: int) -> str:
    """Read what a server says first; some talk before their `SSH-2.0-…`."""
    reader, writer = await asyncio.open_connection(host, port, limit=4096)
    said = ""
    try:
        for _ in range(_GREETING_LINES):
            line = (await reader.readline()).decode("utf-8", "replace").strip()
            said = said or line
            if line.startswith("SSH-") or not line:
                said = line or said or "nothing"
                break
    except ValueError:
        said = "an endless line"
    finally:
        writer.close()
    return said


def _bounded(program: Program) -> Program:
    return msgspec.structs.replace(program, timeout_s=min(program.timeout_s, _ASKING_S), idle_timeout_s=_ASKING_S)


def _of(step: str, finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, step=step)


def _reason(error: OSError) -> str:
    is_named = isinstance(error, socket.gaierror) or not error.errno
    return error.strerror or str(error) if is_named else os.strerror(error.errno or 0)
