"""Run the reader on one cluster, as an account and by the way that it has, and hand on its answer while it arrives."""

from collections.abc import Awaitable, Callable

import structlog

from scripthut_common import supervision
from scripthut_common.clusters import AsWhom, Cluster
from scripthut_common.errors import AccountRefused, BadOutput, LimitExceeded, TimedOut, Unreachable
from scripthut_common.shell import Program, RemoteShell
from scripthut_common.shell.accounts import AccountShells
from scripthut_outputs.reading import NEITHER, Floor, Installed, Question, Strict, Way

log = structlog.get_logger()
# How much of a silence that would end the transfer one file of a file system that hangs may take.
_PATIENCE = 1 / 3
Fault = Unreachable | TimedOut | BadOutput | LimitExceeded
_FAULTS = (Unreachable, TimedOut, BadOutput, LimitExceeded)
Take = Callable[[bytes], Awaitable[None]]


class Asking:
    """The reader on one cluster.

    Args:
        cluster: its limits.
        shells: the ways there.
    """

    def __init__(self, cluster: Cluster, shells: AccountShells) -> None:
        self._cluster = cluster
        self._shells = shells
        patience_s = cluster.command_timeout_s * _PATIENCE
        self._strict = Strict(timeout_s=cluster.transfer_timeout_s, patience_s=patience_s)
        self._floor = Floor()
        # By account which way it has, as its first answer told, and what the log was told of that.
        self._ways: dict[str | None, Way] = {}
        self._told: dict[str | None, str] = {}

    async def ask(
        self, account: str | None, name: str, max_stdout_bytes: int, prepare: Callable[[Way], Question], take: Take
    ) -> tuple[Question, Fault | None]:
        """Run one program as an account, by the way that it has here; which that is, the first program's answer tells.

        Args:
            account: as whom; `None`: as the service's own account.
            name: of the program, for logs.
            max_stdout_bytes: more is an error.
            prepare: makes the program of a way.
            take: is given what it says.
        """
        way = self._ways.get(account)
        for one in (way,) if way else (self.strict_of(account), self._floor):
            question = prepare(one)
            fault = await self.run(account, name, max_stdout_bytes, question, take)
            if not question.answer.is_lacking:
                self._keep_to(account, None if isinstance(fault, Unreachable) else one)
                return question, fault
        self._keep_to(account, None)
        return question, BadOutput(NEITHER)

    def strict_of(self, account: str | None) -> Strict | Installed:
        """The strict reader for an account: the one that is sent, or the one that is installed there."""
        program = self._cluster.sudo_reader
        if account is None or program is None or self._cluster.as_whom is not AsWhom.SUDO:
            return self._strict
        return Installed(self._strict, program=program, account=account)

    async def run(
        self, account: str | None, name: str, max_stdout_bytes: int, question: Question, take: Take
    ) -> Fault | None:
        """Run one program as an account; tell what ended it early."""
        program = Program(
            name=name,
            text=question.text,
            timeout_s=self._cluster.transfer_timeout_s,
            idle_timeout_s=self._cluster.command_timeout_s,
            max_stdout_bytes=max_stdout_bytes,
        )
        try:
            async with self._way_to(account, question).stream(program, *question.argv, stdin=question.stdin) as pieces:
                async for piece in pieces:
                    await take(question.answer.feed(piece))
                    supervision.beat()
        except BadOutput as error:
            return error if question.answer.has_begun else AccountRefused(f"{question.refusal}: {error}")
        except _FAULTS as error:
            return error
        return None

    def _way_to(self, account: str | None, question: Question) -> RemoteShell:
        """The shell for a question; what is installed for an account is begun by the service's own."""
        return self._shells.service if question.refusal else self._shells.of(account)

    def _keep_to(self, account: str | None, way: Way | None) -> None:
        """Keep to a way until the connection is lost."""
        if way is None:
            self._ways.pop(account, None)
            return
        if self._told.get(account) != way.name:
            named = {} if account is None else {"account": account}
            log.info("reader_chosen", cluster=self._cluster.name, reader=way.name, **named)
            self._told[account] = way.name
        self._ways[account] = way
