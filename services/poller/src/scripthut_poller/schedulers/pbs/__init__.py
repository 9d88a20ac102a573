"""OpenPBS and PBS Professional 18.1 or newer, by their own commands. Text in, text out.

Recorded on 23.06, on the current master and from the output code of 19.1.3 and 20.0.1: every JSON of `qstat` can be
made invalid or wrong by what a user names a job or a variable, plain text wraps values and can be made to forge whole
records, and the table has too little in it. `-F dsv` has each job on one line, newlines and control characters in
values written out, numbers left as they are (recorded on 23.06 and master; before, read in the source); with a random
delimiter nothing that a user writes can begin a field.

Jobs are asked for by id and in one request (`-E`): without it every id takes a reserved port of the login node, and
the newest client prints the first job only. Then `qstat` keeps silent about ids that it does not find, so the missing
ones are asked for once more: only a refusal that names its reason proves that a job is not there. Jobs that are hidden
from us, or a server that is down, look like nothing at all.
"""

import math
import secrets
from collections.abc import Mapping, Sequence

from scripthut_poller.schedulers import MAX_SUBMISSIONS, Question, legal
from scripthut_poller.schedulers.job import Accounts, Action, Found, Queue, Receipt, Submission

from . import answers, complaints, lookups, programs, receipts, rows


class Pbs:
    """The words of PBS; see `Scheduler`."""

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

    def queue(self, job_ids: Sequence[str], users: Sequence[str] = ()) -> Question[Queue]:  # noqa: ARG002  ids say it all
        """Ask for the jobs with these ids that are not over; what is no id of PBS is shown as an odd job."""
        mark, chunks = secrets.token_hex(16), answers.chunks(filter(answers.is_job_id, job_ids))
        return Question(
            program=programs.QUEUE,
            argv=(mark, "queue"),
            stdin=answers.lines(chunks),
            parse=lambda answer: rows.queue(answer, mark, chunks, job_ids),
        )

    def accounting(self, job_ids: Sequence[str]) -> Question[Accounts]:
        """Ask what the history has of up to `MAX_IDS` jobs. What is no id of PBS has no record."""
        mark, chunks = secrets.token_hex(16), answers.chunks(legal(job_ids, answers.is_job_id))
        return Question(
            program=programs.HISTORY,
            argv=(mark, "history"),
            stdin=answers.lines(chunks),
            parse=lambda answer: rows.accounts(answer, mark, chunks),
        )

    def find(self, tags: Sequence[str], ago_s: float) -> Question[Found]:
        """Look tags up in queue and history, among jobs made so long ago and ten minutes more, or later."""
        mark = secrets.token_hex(16)
        return Question(
            program=programs.FIND,
            argv=(mark, str(math.ceil(ago_s))),
            parse=lambda answer: lookups.parse(answer, mark, frozenset(tags), ago_s),
            cost=2,
        )

    def act(self, action: Action, job_ids: Sequence[str]) -> Question[Mapping[str, str]]:
        """Cancel or release jobs; what PBS says of those that are there and to which it was not done."""
        ids = legal(job_ids, answers.is_job_id)
        others = dict.fromkeys(set(job_ids).difference(ids), "this is not a PBS job id")
        program = programs.CANCEL if action is Action.CANCEL else programs.RELEASE
        return Question(program=program, argv=ids, parse=lambda answer: {**others, **complaints.parse(answer)})
