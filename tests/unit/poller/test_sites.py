"""How questions are put: a round's are bounded as the operator says, and rows that nobody can read are counted."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
from prometheus_client import CollectorRegistry

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import Unreachable
from scripthut_common.shell import Answer, Program
from scripthut_common.shell.accounts import AccountShells
from scripthut_poller.budget import Budget
from scripthut_poller.leasing import Leasing
from scripthut_poller.metrics import Metrics
from scripthut_poller.schedulers import Question
from scripthut_poller.schedulers.pbs import Pbs
from scripthut_poller.schedulers.slurm import Slurm
from scripthut_poller.sites import Site

NOBODY = Database("postgresql://nobody@127.0.0.1:1/nothing")


class Speaking:
    """A way to a cluster on which every command prints the same; `mark` in it is that of the question."""

    commands_run = 0

    def __init__(self, text: str) -> None:
        self.limits_s: list[tuple[float, float]] = []
        self._text = text

    async def run(self, program: Program, *argv: str, stdin: bytes = b"") -> Answer:
        del stdin
        self.limits_s.append((program.timeout_s, program.idle_timeout_s))
        text = self._text.replace("mark", argv[0] if argv else "")
        return Answer(stdout=text.encode(), stderr=b"", exit_status=0)

    def stream(
        self, program: Program, *argv: str, stdin: bytes = b""
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is open."""


def _site(shell: Speaking, registry: CollectorRegistry, *, command_timeout_s: float = 60.0) -> Site:
    cluster = Cluster(name="here", scheduler=SchedulerKind.SLURM, host="nowhere", command_timeout_s=command_timeout_s)
    return Site(
        cluster=cluster,
        scheduler=Slurm(),
        shells=AccountShells(cluster, lambda _: shell),
        lease=Leasing(NOBODY, "here", "this poller"),
        budget=Budget(60),
        metrics=Metrics(registry).of("here"),
    )


_OF_QSTAT = "1\nJob Id: 7.pbs01markjob_state=R\nWelcome!\nJob Id: 8.pbs01markjob_state\nmarkmark0 0 0\n.\n"


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (Slurm().queue(["7"]), "1\n7|RUNNING|0|1|2|n1|None|\nWelcome!\n7||\n"),
        (Slurm().accounting(["7"]), "1\nslurm 24.11.5\nWelcome!\n7|COMPLETED\n"),
        (Pbs().queue(["7.pbs01"]), _OF_QSTAT),
        (Pbs().accounting(["7.pbs01"]), _OF_QSTAT),
    ],
)
async def test_rows_that_cannot_be_read_are_counted_and_nothing_is_concluded(
    question: Question[object], text: str
) -> None:
    registry = CollectorRegistry()

    with pytest.raises(Unreachable, match=r"2 rows of \w+ cannot be read"):
        await _site(Speaking(text), registry).ask(question)

    assert registry.get_sample_value("scripthut_poller_unparsed_rows_total", {"cluster": "here"}) == 2


@pytest.mark.parametrize(("command_timeout_s", "timeout_s"), [(7.0, 60.0), (60.0, 60.0), (90.0, 90.0)])
async def test_a_rounds_command_may_be_silent_for_as_long_as_the_operator_says(
    command_timeout_s: float, timeout_s: float
) -> None:
    shell = Speaking("1\n7|RUNNING|0|1|2|n1|None|\n")
    site = _site(shell, CollectorRegistry(), command_timeout_s=command_timeout_s)

    await site.put(Slurm().queue(["7"]))
    await site.ask(Slurm().queue(["7"]))

    assert shell.limits_s == [(timeout_s, command_timeout_s), (60.0, 60.0)]
