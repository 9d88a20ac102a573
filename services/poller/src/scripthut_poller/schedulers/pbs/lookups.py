"""Read where jobs with our tags are: among the account's own, by a variable that nobody can change."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Found
from scripthut_poller.schedulers.reading import shown

from . import answers
from .answers import NOT_KEPT, Fields

_OVERLAP = timedelta(minutes=10)
TAG_VARIABLE = "SCRIPTHUT_TAG"
# Commas within a value are written `\,`.
_VARIABLE = re.compile(r"(?:\\.|[^,\\])+", re.DOTALL)


def parse(answer: Answer, mark: str, tags: frozenset[str], ago_s: float) -> Found:
    """Read the answer of `programs.FIND`: the ids of qselect, then those jobs as qstat shows them.

    Raises:
        BadOutput: one of the two did not answer, or not completely.
    """
    at, blocks = answers.read(answer, mark)
    is_kept = not (blocks and blocks[0].said == f"qselect: {NOT_KEPT}")
    left = blocks if is_kept else blocks[1:]
    if not left:
        raise BadOutput("qselect was not asked")
    selected = left[0]
    if selected.status != 0 or selected.said:
        raise BadOutput(f"qselect ended with exit status {selected.status}: {selected.said[:300]}")
    ids = selected.output.split()
    if not all(map(answers.is_job_id, ids)):
        raise BadOutput(f"qselect printed {shown(selected.output)}")
    looked = answers.looked_for(left[1:], mark, [ids] if ids else [])
    if looked.unproven or not (looked.is_kept or not ids):
        raise BadOutput(f"qstat does not show {len(looked.unproven)} jobs that qselect names")
    found = _tagged(looked.jobs, tags, at - timedelta(seconds=ago_s) - _OVERLAP)
    return Found(
        jobs={tag: tuple(sorted(times, key=times.__getitem__, reverse=True)) for tag, times in found.items()},
        at=at,
        submitted_at={job_id: made_at for times in found.values() for job_id, made_at in times.items()},
        is_accounting_kept=is_kept,
    )


def tag_of(fields: Fields) -> str | None:
    """Return a job's tag; `None` where it has none, or several."""
    found = set(_tags(fields.get("Variable_List", "")))
    return found.pop() if len(found) == 1 else None


def _tagged(jobs: Mapping[str, Fields], tags: frozenset[str], earliest: datetime) -> dict[str, dict[str, datetime]]:
    """Put ids by tag, with the times at which the jobs were made."""
    found: dict[str, dict[str, datetime]] = {}
    for job_id, fields in jobs.items():
        tag, made_at = tag_of(fields), answers.time_of(fields, "ctime")
        if tag in tags and tag is not None and made_at is not None and made_at >= earliest:
            found.setdefault(tag, {})[job_id] = made_at
    return found


def _tags(variables: str) -> Iterator[str]:
    for variable in _VARIABLE.findall(variables):
        name, _, value = variable.partition("=")
        if name == TAG_VARIABLE:
            yield value
