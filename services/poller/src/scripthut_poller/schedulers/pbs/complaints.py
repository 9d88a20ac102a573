"""Read what qdel and qrls say of jobs that they could not cancel or release."""

import re
from collections.abc import Mapping

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.reading import said

_OF_A_JOB = re.compile(r"q(del|rls): (?P<what>.+?)\s+(?P<job>[0-9]+(\[[0-9]*\])?\.[A-Za-z0-9_.-]+)\s*")
# There is nothing left to cancel or release.
_IS_GONE = ("Unknown Job Id", "Job has finished", "Request invalid for state of job")
_TIMED_OUT = frozenset({124, 137})
_NO_ANSWER = ("cannot connect", "Couldn't connect", "Connection refused", "reserved ports", "No route to host")


def parse(answer: Answer) -> Mapping[str, str]:
    """Read complaints by job id; jobs that are over are none.

    Samples: `qdel: Unauthorized Request  19.pbs01`, `qdel: Job has finished 2.pbs01`.

    Raises:
        BadOutput: PBS did not answer.
    """
    text = answer.stderr.decode("utf-8", "replace")
    told = [known for line in text.split("\n") if (known := _OF_A_JOB.fullmatch(line))]
    if (
        answer.exit_status in _TIMED_OUT
        or any(words in text for words in _NO_ANSWER)
        or (answer.exit_status and not told)
    ):
        raise BadOutput(f"exit status {answer.exit_status}: {said(answer)}")
    return {one["job"]: one["what"] for one in told if not any(words in one["what"] for words in _IS_GONE)}
