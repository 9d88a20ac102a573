"""Ask the cluster without a scheduler like any other: text in, text out."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from scripthut_common.clusters import Cluster
from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer, Program
from scripthut_poller.schedulers import Question
from scripthut_poller.schedulers.job import Accounts, Action, Found, Queue, Receipt, Submission

from . import spool

Told = TypeVar("Told")

_TEXT = 'exec "$1" -I -m scripthut_poller.localhost answer "$2" "$3" "$4" "$5"'


class Localhost:
    """Asks the spool folder of this machine.

    Args:
        spool_dir: absolute; made when it is not there. One supervisor serves it, whoever asks.
        python: an interpreter that can import this package.
        max_running: jobs that run at the same time.
        idle_s: how long the supervisor stays when nothing is left to do.
    """

    def __init__(
        self, spool_dir: str, *, python: str = sys.executable, max_running: int | None = None, idle_s: float = 60.0
    ) -> None:
        slots = max_running if max_running is not None else min(4, os.cpu_count() or 1)
        self._argv = (python, spool_dir, str(slots), str(idle_s))

    def submit(self, submissions: Sequence[Submission]) -> Question[tuple[Receipt, ...]]:
        """See `Scheduler.submit`."""

        def parse(receipts: tuple[Receipt, ...]) -> tuple[Receipt, ...]:
            if [receipt.tag for receipt in receipts] != [submission.tag for submission in submissions]:
                raise BadOutput(f"{len(receipts)} receipts that do not fit the {len(submissions)} submissions")
            return receipts

        return self._question("submit", submissions, tuple[Receipt, ...], parse)

    def queue(self, job_ids: Sequence[str]) -> Question[Queue]:
        """See `Scheduler.queue`."""
        return self._question("queue", job_ids, Queue, _as_it_is)

    def accounting(self, job_ids: Sequence[str]) -> Question[Accounts]:
        """See `Scheduler.accounting`."""
        return self._question("accounting", job_ids, Accounts, _as_it_is)

    def find(self, tags: Sequence[str], since: datetime) -> Question[Found]:  # noqa: ARG002  every job is remembered
        """See `Scheduler.find`."""
        return self._question("find", tags, Found, _as_it_is)

    def act(self, action: Action, job_ids: Sequence[str]) -> Question[Mapping[str, str]]:
        """See `Scheduler.act`."""
        return self._question(action.value, job_ids, dict[str, str], _as_it_is)

    def _question(self, word: str, asked: Sequence[Any], wanted: Any, check: Callable[[Any], Told]) -> Question[Told]:
        def parse(answer: Answer) -> Told:
            if answer.exit_status:
                said = answer.stderr[:400].decode("utf-8", "replace").strip()
                raise BadOutput(f"localhost {word} ended with exit status {answer.exit_status}: {said}")
            return check(spool.load(answer.stdout, wanted))

        return Question(
            program=Program(name=f"localhost {word}", text=_TEXT),
            argv=(*self._argv, word),
            stdin=spool.dump(list(asked)),
            parse=parse,
        )


def of_cluster(cluster: Cluster) -> Localhost:
    """Make the scheduler of a cluster whose `scheduler` is `localhost`; its spool is with the logs by default."""
    chosen = cluster.spool_dir or f"{cluster.log_dir}/.spool"
    return Localhost(str(Path(chosen).expanduser().absolute()))


def _as_it_is(told: Told) -> Told:
    return told
