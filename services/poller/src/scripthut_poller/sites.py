"""One cluster as the rooms work on it: its description, its scheduler's words, the way to it, and how much we ask."""

from typing import TypeVar

import msgspec

from scripthut_common.clusters import Cluster
from scripthut_common.errors import AccountRefused, BadOutput, Error, NoConnection, TimedOut, Unreachable
from scripthut_common.shell.accounts import AccountShells

from .asking import ask
from .budget import Budget
from .leasing import Leasing
from .metrics import ClusterMetrics
from .schedulers import Question, Scheduler
from .schedulers.reading import UnreadRows

Told = TypeVar("Told")


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What every room that works on one cluster is given."""

    cluster: Cluster
    scheduler: Scheduler
    shells: AccountShells
    lease: Leasing
    budget: Budget
    metrics: ClusterMetrics

    @property
    def name(self) -> str:
        """What the cluster is called."""
        return self.cluster.name

    def whose(self, job_user: str | None) -> str | None:
        """Say as whom that runs which concerns an account's jobs; `None`: as the service's own account."""
        return self.shells.whose(job_user)

    async def ask(self, question: Question[Told], account: str | None = None) -> Told:
        """Put a question to the cluster, as an account of it, when the budget has room for it.

        Raises:
            AccountRefused: the cluster does not let us be this account.
            NoConnection: nothing has run.
            Unreachable: no complete answer; nothing may be concluded.
            TimedOut: the same, for want of time.
        """
        if question.cost:
            await self.budget.take(question.cost)
        return await self._put(question, account)

    async def put(self, question: Question[Told], account: str | None = None) -> Told:
        """Put a round's question, for which the budget was asked already, and wait as the operator says; see `ask`."""
        limit_s = self.cluster.command_timeout_s
        timeout_s = max(question.program.timeout_s, limit_s)
        program = msgspec.structs.replace(question.program, timeout_s=timeout_s, idle_timeout_s=limit_s)
        return await self._put(msgspec.structs.replace(question, program=program), account)

    async def _put(self, question: Question[Told], account: str | None) -> Told:
        try:
            return await ask(self.shells.of(account), question)
        except Unreachable as error:
            if isinstance(error.__cause__, UnreadRows):
                self.metrics.unparsed_rows.inc(error.__cause__.rows)
            raise


def is_of(account: str | None, fault: Error) -> bool:
    """Say whether a fault is one account's alone: another may be served all the same."""
    if account is None:
        return False
    is_away = isinstance(fault, NoConnection) and not isinstance(fault, AccountRefused)
    return isinstance(fault, Unreachable | TimedOut | BadOutput) and not is_away
