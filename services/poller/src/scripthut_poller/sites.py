"""One cluster as the rooms work on it: its description, its scheduler's words, the way to it, and how much we ask."""

from typing import TypeVar

import msgspec

from scripthut_common.clusters import Cluster
from scripthut_common.shell import RemoteShell

from .asking import ask
from .budget import Budget
from .leasing import Leasing
from .metrics import ClusterMetrics
from .schedulers import Question, Scheduler

Told = TypeVar("Told")


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What every room that works on one cluster is given."""

    cluster: Cluster
    scheduler: Scheduler
    shell: RemoteShell
    lease: Leasing
    budget: Budget
    metrics: ClusterMetrics

    @property
    def name(self) -> str:
        """What the cluster is called."""
        return self.cluster.name

    async def ask(self, question: Question[Told]) -> Told:
        """Put a question to the cluster when the budget has room for it.

        Raises:
            NoConnection: nothing has run.
            Unreachable: no complete answer; nothing may be concluded.
            TimedOut: the same, for want of time.
        """
        if question.cost:
            await self.budget.take(question.cost)
        return await ask(self.shell, question)
