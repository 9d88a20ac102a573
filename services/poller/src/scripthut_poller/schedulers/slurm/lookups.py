"""Read where jobs with our tags are: in the queue by their comment, in accounting by their command line."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Found
from scripthut_poller.schedulers.reading import moment, said, shown

from . import rows

TAG_PREFIX = "scripthut:"
# What `programs.SUBMIT` calls; the tag comes first, so that nothing that a user writes can stand before it.
_SUBMIT_LINE = re.compile(rf"\S*sbatch --parsable --comment={TAG_PREFIX}(?P<tag>\S+)( .*)?", re.DOTALL)
_OVERLAP = timedelta(minutes=10)


def parse(answer: Answer, mark: str, tags: frozenset[str], ago_s: float) -> Found:
    """Read the answer of `programs.FIND`.

    Sample, with M as mark: `1795457272`, `M|16|1795457268|scripthut:r/t1`, `MM`, `15M1795457268Msbatch …MCOMPLETED`.

    Raises:
        BadOutput: one of the two did not answer, or not completely.
    """
    text = answer.stdout.decode("utf-8", "replace")
    queued, separator, ended = text.partition(f"{mark}{mark}\n")
    is_kept = not (answer.exit_status and rows.NOT_KEPT in answer.stderr)
    if not separator or (answer.exit_status and is_kept):
        raise BadOutput(f"exit status {answer.exit_status}: {said(answer)}")
    clock, *_ = queued.partition("\n")
    at = moment(clock, "the cluster's clock")
    earliest = at - timedelta(seconds=ago_s) - _OVERLAP
    found: dict[str, dict[str, datetime]] = {}
    for tag, job_id, submitted_at in (*_queued(queued, mark), *(_ended(ended, mark) if is_kept else ())):
        if submitted_at >= earliest and tag in tags:
            found.setdefault(tag, {})[job_id] = submitted_at
    jobs = {tag: tuple(sorted(times, key=times.__getitem__, reverse=True)) for tag, times in found.items()}
    submitted_at = {job_id: at for times in found.values() for job_id, at in times.items()}
    return Found(jobs=jobs, at=at, submitted_at=submitted_at, is_accounting_kept=is_kept)


def _queued(text: str, mark: str) -> Iterator[tuple[str, str, datetime]]:
    """Yield tag, job id and submission of every tagged job in squeue's records."""
    for record in text.split(f"{mark}|")[1:]:
        fields = record.split("|", 2)
        if len(fields) != 3 or not rows.is_job_id(fields[0]) or not record.endswith("\n"):
            raise BadOutput(f"squeue printed {shown(record)}")
        job_id, submitted, comment = fields
        if comment.startswith(TAG_PREFIX):
            yield comment.removeprefix(TAG_PREFIX).removesuffix("\n"), job_id, moment(submitted, "submit time")


def _ended(text: str, mark: str) -> Iterator[tuple[str, str, datetime]]:
    """Yield the same of sacct's records: three fields, then a state that ends its line."""
    if not text:
        return
    pieces = text.split(mark)
    if len(pieces) < 4 or len(pieces) % 3 != 1 or not text.endswith("\n"):
        raise BadOutput(f"sacct printed {shown(text)}")
    begins = [pieces[0], *(piece.partition("\n")[2] for piece in pieces[3:-1:3])]
    for job_id, submitted, line in zip(begins, pieces[1::3], pieces[2::3], strict=True):
        if not rows.is_job_id(job_id):
            raise BadOutput(f"sacct printed {shown(job_id)} for a job id")
        tagged = _SUBMIT_LINE.fullmatch(line)
        if tagged is not None:
            yield tagged["tag"], job_id, moment(submitted, "submit time")
