"""Scan a cluster for tagged jobs that nobody announced: what is asked and what is told. Text in, text out."""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_common.shell import MIB

from . import Question
from .reading import moment, number, shown

MAX_ELEMENTS = 10_000
MAX_ROWS_PER_USER = 10_000
MAX_ELEMENTS_PER_USER = 50_000
MAX_BYTES_PER_USER = 2 * MIB
MAX_ANNOUNCED = 1000
OVERLAP_S = 600
FIRST_LOOK_BACK_S = 86_400
LONGEST_LOOK_BACK_S = 14 * 86_400
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([0-9]{1,9}))?)?")


class Element(msgspec.Struct, frozen=True, kw_only=True):
    """One job to watch; `index` is its place in an array."""

    job_id: str
    index: int | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A job, or several elements of one array, of an account that was asked for.

    `base_id` is the id of the whole. `tag` is what its owner wrote, unchecked; `None` for a job that was only
    announced. `elements` is empty where there are too many, or where they cannot be told.
    """

    base_id: str
    user: str
    submitted_at: datetime | None
    tag: str | None
    elements: tuple[Element, ...]


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan found; `at` is the cluster's own clock before anything was asked.

    `is_whole` is false where the past was not told: then it is asked for again. `left_out` counts the jobs, by
    account, that were more than one scan takes of it.
    """

    candidates: tuple[Candidate, ...]
    at: datetime
    is_whole: bool
    left_out: Mapping[str, int]


class Scanner(Protocol):
    """A scheduler's own words for the search for jobs to adopt."""

    def scan(self, users: Sequence[str], since: datetime | None, announced_ids: Sequence[str]) -> Question[Scanned]:
        """Ask for tagged and announced jobs of these accounts, alive or ended since then (less an overlap).

        Args:
            users: accounts that exist on the cluster.
            since: by the cluster's own clock; `None` for the first scan, which looks back a day.
            announced_ids: ids of jobs and arrays, up to `MAX_ANNOUNCED`, that are told of without a tag too.
        """


def new_mark() -> str:
    """Make up what nobody who writes comments can know."""
    return secrets.token_hex(16)


def epoch(since: datetime | None) -> str:
    """Write a time for a program; nothing where there is none."""
    return "" if since is None else str(int(since.timestamp()))


def chosen(
    rows: Iterable[Sequence[str]],
    read: Callable[[str, str, str, str], Candidate | None],
    users: frozenset[str],
    left_out: dict[str, int],
) -> tuple[Candidate, ...]:
    """Read rows of these accounts, whose name is the third field; count in `left_out` what is too much of one."""
    known, taken = list[Candidate](), dict.fromkeys(users, 0)
    for id_, submitted, user, tagged in rows:
        if user not in taken:
            continue
        if taken[user] >= MAX_ELEMENTS_PER_USER:
            left_out[user] = left_out.get(user, 0) + 1
            continue
        one = read(id_, submitted, user, tagged)
        if one is not None:
            taken[user] += len(one.elements)
            known.append(one)
    return _merged(known)


def _merged(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Keep one of each element: the tagged one, else that which was submitted first (a requeue submits anew)."""
    known: dict[str, Candidate] = {}
    for one in sorted(candidates, key=lambda one: (one.tag is None, one.submitted_at is None, one.submitted_at)):
        fresh = tuple(element for element in one.elements if element.job_id not in known)
        if fresh or not one.elements:
            kept = msgspec.structs.replace(one, elements=fresh)
            known |= dict.fromkeys([element.job_id for element in fresh] or [one.base_id], kept)
    return tuple({id(one): one for one in known.values()}.values())


def indices(text: str) -> tuple[int, ...] | None:
    """Read the elements of an array, `0-9`, `1,3,5-7%2` or `0-20:4`, in their order.

    `None` where there are more than `MAX_ELEMENTS` of them, or where they cannot be read.
    """
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        known = _RANGE.fullmatch(part)
        if known is None:
            return None
        first, last, step = int(known[1]), int(known[2] or known[1]), int(known[3] or 1)
        if step == 0 or (last - first) // step >= MAX_ELEMENTS - len(found):
            return None
        found += range(first, last + 1, step)
    return tuple(dict.fromkeys(found))


def read_rows(text: str, mark: str) -> tuple[datetime, list[list[str]], dict[str, int], list[str]]:
    """Take apart what a scan prints: the clock, the rows, the counts of what was left out, the exit statuses.

    Sample, with M as mark: `1795457272`, `M|12_3|1795457268|bob|=r/t1`, `MM0`, `M-bob|7`, `MMend`. The fourth field
    begins with `=` where there is a tag; it comes last, since its owner may have written anything.

    Raises:
        BadOutput: the answer is not whole.
    """
    clock, *lines = text.split("\n")
    if lines[-2:] != [f"{mark}{mark}end", ""]:
        raise BadOutput("the scan's answer is not whole")
    rows, left_out, statuses = list[list[str]](), dict[str, int](), list[str]()
    for line in lines[:-2]:
        if line.startswith(f"{mark}{mark}"):
            statuses.append(line.removeprefix(f"{mark}{mark}"))
        elif line.startswith(f"{mark}|") and line.count("|") >= 4:
            rows.append(line.split("|", 4)[1:])
        elif line.startswith(f"{mark}-"):
            user, _, count = line.removeprefix(f"{mark}-").partition("|")
            left_out[user] = left_out.get(user, 0) + number(count, "count")
        else:
            raise BadOutput(f"the scan printed {shown(line)}")
    return moment(clock, "the cluster's clock"), rows, left_out, statuses
