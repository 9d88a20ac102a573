"""Schedulers: build the command, parse the answer. Text in, text out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from scripthut_common.shell import Answer, Program

from .job import Accounts, Action, Found, Queue, Receipt, Submission

Told = TypeVar("Told")

MAX_SUBMISSIONS = 100
MAX_IDS = 1000


class Question(msgspec.Struct, Generic[Told], frozen=True, kw_only=True):
    """One command for the cluster and how to read its answer.

    Ask it with `question.parse(await shell.run(question.program, *question.argv, stdin=question.stdin))`.
    `parse` raises `BadOutput` for everything that is not a complete answer, and nothing else. `cost` is how many of the
    scheduler's own commands it runs, as the budget counts them: submissions are not counted.
    """

    program: Program
    parse: Callable[[Answer], Told]
    argv: tuple[str, ...] = ()
    stdin: bytes = b""
    cost: int = 1


class Scheduler(Protocol):
    """A scheduler's own words for the five things that are asked of it."""

    def submit(self, submissions: Sequence[Submission]) -> Question[tuple[Receipt, ...]]:
        """Hand in up to `MAX_SUBMISSIONS` tasks, parents before children; one receipt each, in their order."""

    def queue(self, job_ids: Sequence[str], users: Sequence[str] = ()) -> Question[Queue]:
        """Ask for the jobs that are not over. Slurm answers for whole accounts, others for these ids.

        Args:
            job_ids: what is watched, elements of arrays too.
            users: accounts other than ours that some of them run as.
        """

    def accounting(self, job_ids: Sequence[str]) -> Question[Accounts]:
        """Ask what is remembered of up to `MAX_IDS` jobs that have left the queue."""

    def find(self, tags: Sequence[str], ago_s: float) -> Question[Found]:
        """Look tags up in queue and accounting, among jobs that were submitted no longer ago (and an overlap)."""

    def act(self, action: Action, job_ids: Sequence[str]) -> Question[Mapping[str, str]]:
        """Do something to up to `MAX_IDS` jobs; the scheduler's complaint for each that it was not done to."""


def legal(job_ids: Sequence[str], is_job_id: Callable[[str], bool]) -> tuple[str, ...]:
    """Leave out what is no id of the scheduler's: it would reach a command line, and one such id hides the others."""
    if not 0 < len(job_ids) <= MAX_IDS:
        raise ValueError(f"{len(job_ids)} job ids; at least one and at most {MAX_IDS}")
    return tuple(filter(is_job_id, job_ids))
