"""Ask the cluster without a scheduler like any other: text in, text out."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from scripthut_common.clusters import Cluster
from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer, Program
from scripthut_poller.schedulers import Question
from scripthut_poller.schedulers.job import Accounts, Action, Found, Queue, Receipt, Submission

from . import spool
from .limits import Terms

Told = TypeVar("Told")

_TEXT = 'exec "$1" -I -m scripthut_poller.localhost answer "$2" "$3" "$4"'
_LASTS_S = 100.0


class Localhost:
    """Asks the spool folder of this machine.

    Args:
        spool_dir: absolute; made when it is not there. One supervisor serves it, whoever asks.
        terms: for the supervisor, when it has to be started.
        python: an interpreter that can import this package.
    """

    def __init__(self, spool_dir: str, terms: Terms | None = None, *, python: str = sys.executable) -> None:
        self._argv = (python, spool_dir, spool.dump(terms or Terms()).decode())

    def submit(self, submissions: Sequence[Submission]) -> Question[tuple[Receipt, ...]]:
        """See `Scheduler.submit`."""

        def parse(receipts: tuple[Receipt, ...]) -> tuple[Receipt, ...]:
            if [receipt.tag for receipt in receipts] != [submission.tag for submission in submissions]:
                raise BadOutput(f"{len(receipts)} receipts that do not fit the {len(submissions)} submissions")
            return receipts

        return self._question("submit", submissions, tuple[Receipt, ...], parse)

    def queue(self, job_ids: Sequence[str], users: Sequence[str] = ()) -> Question[Queue]:  # noqa: ARG002  all are ours
        """See `Scheduler.queue`."""
        return self._question("queue", job_ids, Queue, _as_it_is)

    def accounting(self, job_ids: Sequence[str]) -> Question[Accounts]:
        """See `Scheduler.accounting`."""
        return self._question("accounting", job_ids, Accounts, _as_it_is)

    def find(self, tags: Sequence[str], ago_s: float) -> Question[Found]:  # noqa: ARG002  every job is remembered
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
            program=Program(name=f"localhost {word}", text=_TEXT, timeout_s=_LASTS_S, idle_timeout_s=_LASTS_S),
            argv=(*self._argv, word),
            stdin=spool.dump(list(asked)),
            parse=parse,
            cost=int(word != "submit"),
        )


def of_cluster(cluster: Cluster) -> Localhost:
    """Make the scheduler of a cluster whose `scheduler` is `localhost`; its spool is with the logs by default."""
    chosen = cluster.spool_dir or f"{cluster.log_dir}/.spool"
    return Localhost(str(Path(chosen).expanduser().absolute()))


def _as_it_is(told: Told) -> Told:
    return told
