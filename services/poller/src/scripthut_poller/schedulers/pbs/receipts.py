"""Write what the submit program reads, and read what qsub said of each job."""

from collections.abc import Sequence

from scripthut_common.errors import InvalidInput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers import handing_in
from scripthut_poller.schedulers.handing_in import has
from scripthut_poller.schedulers.job import Fate, Receipt, Submission

from . import requests
from .answers import is_job_id

_UNFIT = "!"
# PBS counts no restarts where a job could see them; the wrapper counts by itself.
_HEADER = b"#!/bin/bash\nSCRIPTHUT_JOB_ID=$PBS_JOBID SCRIPTHUT_RESTARTS=\n"
# qsub gave up before anything was sent, or the server refuses for now.
_FOR_NOW = (
    "cannot connect to server",
    "Connection refused",
    "No route to host",
    "Unknown Host",
    "reserved ports",
    "Invalid credential",
    "Munge",
    "munge",
    "Maximum number of jobs",
    "would exceed",
    "Resource temporarily unavailable",
)
# It was sent and no answer came, or a broken one.
_MAY_BE_IN = (
    "timed out",
    "Connection reset",
    "Batch protocol error",
    "End of File",
    "Premature end of message",
    "System error",
    "Unexpected reply",
    "no server response",
    "munmap_chunk",
)
_TIMED_OUT = 124
_BY_SIGNAL = (129, 130, 131, 132, 134, 135, 136, 137, 139, 141, 143)


def frames(submissions: Sequence[Submission]) -> bytes:
    """Write a batch for `programs.SUBMIT`."""
    return handing_in.frames(_QSUB, submissions)


def parse(answer: Answer, submissions: Sequence[Submission]) -> tuple[Receipt, ...]:
    """Read a receipt for each submission.

    Sample: `0 1795457268 8` and `42.pbs01` on the next line, without an end; the last number is the length of
    what qsub said.

    Raises:
        BadOutput: the program failed, or the answer is not whole: look the tags up.
    """
    return handing_in.receipts(_QSUB, tuple(handing_in.told(answer)), submissions)


def _written(submission: Submission) -> tuple[tuple[str, ...], bytes]:
    options, _ = _request(submission)
    words = (submission.stdout_path, submission.stderr_path, requests.job_name(submission.job_name), options)
    return words, b"" if options == _UNFIT else _HEADER + submission.script


def _request(submission: Submission) -> tuple[str, str]:
    """Return the options of qsub; where PBS has no words for what is asked, say why instead: it is not submitted."""
    try:
        for path in (submission.stdout_path, submission.stderr_path):
            requests.path(path)
        return requests.options(submission), ""
    except InvalidInput as error:
        return _UNFIT, str(error)


def _failed(status: int, text: str) -> Fate:
    """Read the failure of qsub. Without its own word that nothing was sent, or that it was refused, it may be in.

    Exit statuses are error numbers less a multiple of 256; 134 and the like are also those of a crash.
    """
    says_nothing = not text.strip()
    if has(text, _MAY_BE_IN) or status == _TIMED_OUT or says_nothing or (status in _BY_SIGNAL and "qsub:" not in text):
        return Fate.UNSURE
    return Fate.DEFERRED if has(text, _FOR_NOW) else Fate.REFUSED


def _rows(text: str) -> list[str]:
    """Keep what qsub said, without its own name before every line and without its usage."""
    return [row.removeprefix("qsub: ") for row in text.partition("usage: qsub")[0].split("\n")]


_QSUB = handing_in.Command(
    scheduler="PBS",
    is_job_id=is_job_id,
    written=_written,
    printed_id=lambda row: row if is_job_id(row) else None,
    failed=_failed,
    rows=_rows,
    unfit=lambda submission: _request(submission)[1],
)
