"""Slurm 20.11 or newer, by its own commands. Text in, text out.

Measured on 22.05, 24.11 and 26.05: only `-u` and a single `-j` are cheap for slurmctld, delimited text is ten times
cheaper than JSON, which in 22.05 reports failures as empty lists.
"""

import math
import re
import secrets
from collections.abc import Mapping, Sequence

from scripthut_common.errors import InvalidInput
from scripthut_poller.schedulers import MAX_SUBMISSIONS, Question, legal
from scripthut_poller.schedulers.job import Accounts, Action, Found, Queue, Receipt, Submission

from . import complaints, lookups, programs, queued, receipts, rows

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


class Slurm:
    """The words of Slurm; see `Scheduler`."""

    def submit(self, submissions: Sequence[Submission]) -> Question[tuple[Receipt, ...]]:
        """Hand in up to `MAX_SUBMISSIONS` tasks, parents before children; one receipt each, in their order."""
        if len(submissions) > MAX_SUBMISSIONS:
            raise ValueError(f"{len(submissions)} submissions; at most {MAX_SUBMISSIONS}")
        return Question(
            program=programs.SUBMIT,
            argv=(str(len(submissions)),),
            stdin=receipts.frames(submissions),
            parse=lambda answer: receipts.parse(answer, submissions),
            cost=0,
        )

    def queue(self, job_ids: Sequence[str], users: Sequence[str] = ()) -> Question[Queue]:  # noqa: ARG002  asking for all of ours is cheapest
        """Ask for every job of our account, and of these, that is not over."""
        for user in users:
            if not _USER.fullmatch(user):
                raise InvalidInput(f"{user[:80]!r} is not the name of an account")
        return Question(program=programs.QUEUE, argv=tuple(users), parse=queued.queue)

    def accounting(self, job_ids: Sequence[str]) -> Question[Accounts]:
        """Ask what is remembered of up to `MAX_IDS` jobs. What is no id of Slurm's has no record."""
        ids = legal(job_ids, rows.is_job_id)
        arrays = dict.fromkeys(job_id.partition("_")[0] for job_id in ids if "_" in job_id)
        return Question(
            program=programs.ACCOUNTING,
            argv=(",".join(ids), ",".join(arrays)),
            parse=lambda answer: rows.accounts(answer, ids),
        )

    def find(self, tags: Sequence[str], ago_s: float) -> Question[Found]:
        """Look tags up in queue and accounting, among jobs submitted so long ago and ten minutes more, or later."""
        mark = secrets.token_hex(16)
        return Question(
            program=programs.FIND,
            argv=(mark, str(math.ceil(ago_s))),
            parse=lambda answer: lookups.parse(answer, mark, frozenset(tags), ago_s),
            cost=2,
        )

    def act(self, action: Action, job_ids: Sequence[str]) -> Question[Mapping[str, str]]:
        """Cancel or release jobs; what Slurm says of those that are there and to which it was not done."""
        ids = legal(job_ids, rows.is_job_id)
        others = dict.fromkeys(set(job_ids).difference(ids), "this is not a Slurm job id")
        program, argv = (programs.CANCEL, ids) if action is Action.CANCEL else (programs.RELEASE, (",".join(ids),))
        return Question(program=program, argv=argv, parse=lambda answer: {**others, **complaints.parse(answer)})
