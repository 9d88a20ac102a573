"""Read what scancel and scontrol say of jobs that they could not cancel or release."""

import re
from collections.abc import Mapping

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.reading import said

_OF_A_JOB = (
    re.compile(r".*error on job id (?P<job>[0-9]+(_[0-9]+)?): (?P<what>.+)"),
    re.compile(r"(?P<what>.+) for job (?P<job>[0-9]+)"),
    re.compile(r"(?P<job>[0-9]+_[0-9]+): (?P<what>.+)"),
    # A whole array, with its elements.
    re.compile(r"(?P<job>[0-9]+)_[0-9,-]*[,-][0-9,-]*: (?P<what>.+)"),
)
# There is nothing left to cancel or release.
_IS_GONE = ("Invalid job id", "already finished", "already completing or completed")
_NO_ANSWER = ("contact slurm controller", "timed out", "Unexpected message received", "Socket")


def parse(answer: Answer) -> Mapping[str, str]:
    """Read complaints by job id; jobs that are over are none.

    Samples: `scancel: error: Kill job error on job id 3: Access/permission denied`,
    `Job has already finished for job 1`, `22_3: Invalid user id`, `22_0-5: Invalid user id` for all of 22.

    Raises:
        BadOutput: Slurm did not answer.
    """
    if answer.exit_status == 0:
        return {}
    text = answer.stderr.decode("utf-8", "replace")
    told = [known for line in text.split("\n") for rule in _OF_A_JOB if (known := rule.fullmatch(line))]
    if not told or any(words in text for words in _NO_ANSWER):
        raise BadOutput(f"exit status {answer.exit_status}: {said(answer)}")
    return {one["job"]: one["what"] for one in told if not any(words in one["what"] for words in _IS_GONE)}
