"""Run the reader on one cluster, by the way that the cluster has, and hand on its answer while it arrives."""

from collections.abc import Awaitable, Callable

import structlog

from scripthut_common import supervision
from scripthut_common.clusters import Cluster
from scripthut_common.errors import BadOutput, LimitExceeded, TimedOut, Unreachable
from scripthut_common.shell import Program, RemoteShell
from scripthut_outputs.reading import NEITHER, Floor, Question, Strict, Way

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
        shell: the way there.
    """

    def __init__(self, cluster: Cluster, shell: RemoteShell) -> None:
        self._cluster = cluster
        self._shell = shell
        patience_s = cluster.command_timeout_s * _PATIENCE
        self.strict = Strict(timeout_s=cluster.transfer_timeout_s, patience_s=patience_s)
        self._ways: tuple[Way, ...] = (self.strict, Floor())
        self._way: Way | None = None
        self._last_way: Way | None = None

    async def ask(
        self, name: str, max_stdout_bytes: int, prepare: Callable[[Way], Question], take: Take
    ) -> tuple[Question, Fault | None]:
        """Run one program by the way that this cluster has; which one that is, the first program's answer tells."""
        for way in (self._way,) if self._way else self._ways:
            question = prepare(way)
            fault = await self.run(name, max_stdout_bytes, question, take)
            if not question.answer.is_lacking:
                self._keep_to(None if isinstance(fault, Unreachable) else way)
                return question, fault
        self._keep_to(None)
        return question, BadOutput(NEITHER)

    async def run(self, name: str, max_stdout_bytes: int, question: Question, take: Take) -> Fault | None:
        """Run one program; tell what ended it early."""
        program = Program(
            name=name,
            text=question.text,
            timeout_s=self._cluster.transfer_timeout_s,
            idle_timeout_s=self._cluster.command_timeout_s,
            max_stdout_bytes=max_stdout_bytes,
        )
        try:
            async with self._shell.stream(program, *question.argv, stdin=question.stdin) as pieces:
                async for piece in pieces:
                    await take(question.answer.feed(piece))
                    supervision.beat()
        except _FAULTS as error:
            return error
        return None

    def _keep_to(self, way: Way | None) -> None:
        """Keep to a way until the connection is lost."""
        if way is not None and way is not self._last_way:
            log.info("reader_chosen", cluster=self._cluster.name, reader=way.name)
            self._last_way = way
        self._way = way
