"""Find jobs that nobody announced: submitted by hand or by other tools, but tagged, or announced by themselves.

Tags and announcements are their authors' claims. The scheduler says whose a job is, and only that account's own runs
are open to it.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import structlog

from scripthut_common import layout, supervision
from scripthut_common.accounts import identity_of
from scripthut_common.database import Database

from . import notices
from .homes import expand
from .notices import Account
from .schedulers import scanning
from .schedulers.scanning import Candidate, Scanned, Scanner
from .sites import Site
from .watchlist import adoptions
from .watchlist.adoptions import Foundling, Refusal
from .watchlist.leases import Term

MAX_RUNS_PER_SCAN = 500
_MAX_REMEMBERED = 100_000

log = structlog.get_logger()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan comes to: who would join which run, and which tags cannot be what they say."""

    foundlings: tuple[Foundling, ...]
    refusals: tuple[Refusal, ...]


class Adopting:
    """Scans one cluster for jobs to adopt, while this process holds it.

    Args:
        on_adopted: called when there is more to watch.
        max_runs: how many are taken in at a time.
    """

    def __init__(
        self,
        database: Database,
        site: Site,
        scanner: Scanner,
        *,
        on_adopted: Callable[[], None] = lambda: None,
        max_runs: int = MAX_RUNS_PER_SCAN,
    ) -> None:
        self._database = database
        self._site = site
        self._scanner = scanner
        self._on_adopted = on_adopted
        self._max_runs = max_runs
        self._refused: dict[tuple[str, str], str] = {}
        self._told_of = frozenset[str]()
        self._left_out = frozenset[str]()

    @property
    def refused(self) -> int:
        """How many tagged jobs were refused since this process has started."""
        return len(self._refused)

    async def step(self) -> bool:
        """Scan once; `True` when there is more than one scan takes in.

        Raises:
            Unreachable, TimedOut: the cluster did not answer; nothing was concluded.
            DatabaseUnavailable, LeaseLost: what was not written is found again.
        """
        users = self._site.cluster.adopted_users
        if not users or not self._site.lease.is_held:
            return False
        term = self._site.lease.term
        since = await adoptions.scanned_at(self._database, self._site.name)
        accounts = await self._site.ask(notices.look(users, self._site.cluster.adopt_log_dir, since))
        self._tell_of_missing(users, accounts)
        if not accounts:
            return False
        scanned = await self._site.ask(self._scanner.scan(sorted(accounts), since, announced_ids(accounts)))
        has_more = await self._take(term, scanned, accounts)
        if scanned.is_whole and not has_more:
            await adoptions.note_scan(self._database, term, scanned.at)
        return has_more

    async def _take(self, term: Term, scanned: Scanned, accounts: Mapping[str, Account]) -> bool:
        for user in scanned.left_out.keys() - self._left_out:
            log.warning("adoption_left_out", cluster=self._site.name, user=user, jobs=scanned.left_out[user])
        self._left_out = frozenset(scanned.left_out)
        found = plan(scanned, accounts, self._site.cluster.adopt_log_dir)
        self._note(found.refusals)
        untried = [one for one in found.foundlings if (one.job_id, f"{one.run_id}/{one.task_id}") not in self._refused]
        groups = by_run(await adoptions.unknown(self._database, self._site.name, untried))
        for group in groups[: self._max_runs]:
            identity = identity_of(self._site.cluster, group[0].owner)
            refusals = await adoptions.adopt(self._database, term, group, identity=identity)
            self._note(refusals)
            one, joined = group[0], len(group) - len(refusals)
            self._site.metrics.adopted_jobs.inc(joined)
            if joined:
                self._on_adopted()
                log.info("jobs_adopted", cluster=self._site.name, run_id=one.run_id, owner=one.owner, jobs=joined)
            supervision.beat()
        return len(groups) > self._max_runs

    def _note(self, refusals: Iterable[Refusal]) -> None:
        """Tell of each refused job once; they are found again with every scan."""
        for one in refusals:
            if self._refused.get((one.job_id, one.tag)) == one.reason:
                continue
            log.warning("job_not_adopted", cluster=self._site.name, **msgspec.structs.asdict(one))
            self._site.metrics.refused_jobs.inc()
            self._refused[one.job_id, one.tag] = one.reason
        while len(self._refused) > _MAX_REMEMBERED:
            del self._refused[next(iter(self._refused))]

    def _tell_of_missing(self, users: Sequence[str], accounts: Mapping[str, Account]) -> None:
        missing = frozenset(users) - accounts.keys()
        if missing != self._told_of:
            log.warning("accounts_unknown", cluster=self._site.name, users=sorted(missing))
        self._told_of = missing


def announced_ids(accounts: Mapping[str, Account]) -> list[str]:
    """Name the jobs to ask for because of their announcements: an equal share for every account."""
    share = scanning.MAX_ANNOUNCED // max(1, len(accounts))
    return sorted({id_ for account in accounts.values() for id_ in list(account.notices)[:share]})


def plan(scanned: Scanned, accounts: Mapping[str, Account], log_dir: str) -> Plan:
    """Say where found jobs belong by what they claim; a tag goes before an announcement."""
    foundlings, refusals = list[Foundling](), list[Refusal]()
    for one in scanned.candidates:
        account = accounts.get(one.user)
        name = None if account is None else _name_of(one, account)
        if account is None or name is None:
            continue
        joining = [] if isinstance(name, str) else _joining(one, name, expand(log_dir, account.home))
        if joining:
            foundlings += joining
        else:
            tag, reason = (name, "this is no tag: run/task") if isinstance(name, str) else ("/".join(name), _TOO_LARGE)
            refusals.append(Refusal(job_id=one.base_id, owner=one.user, tag=tag[:300], reason=reason))
    return Plan(foundlings=tuple(foundlings), refusals=tuple(refusals))


_TOO_LARGE = f"its elements cannot be told, are more than {scanning.MAX_ELEMENTS}, or have names that are too long"


def _name_of(one: Candidate, account: Account) -> tuple[str, str] | str | None:
    """Give run and task; what cannot be read as such; or nothing where nobody claims anything."""
    if one.tag is None:
        notice = account.notices.get(one.base_id)
        return None if notice is None else (notice.run_id, notice.task_id)
    run_id, slash, task_id = one.tag.partition("/")
    return (run_id, task_id) if slash and layout.is_id(run_id) and layout.is_id(task_id) else one.tag


def _joining(one: Candidate, name: tuple[str, str], log_dir: str) -> list[Foundling]:
    run_id, task_id = name
    named = [(element, task_id if element.index is None else f"{task_id}.{element.index}") for element in one.elements]
    if not all(layout.is_id(id_) for _, id_ in named):
        return []
    return [
        Foundling(
            run_id=run_id,
            task_id=id_,
            owner=one.user,
            job_id=element.job_id,
            submitted_at=one.submitted_at,
            log_dir=log_dir,
            nonce=nonce_of(element.job_id),
        )
        for element, id_ in named
    ]


def nonce_of(job_id: str) -> str:
    """Derive what `scripthut-env.sh` names in an exit record, from the job's id alone."""
    return "adopted-" + re.sub(r"[^A-Za-z0-9]", "_", job_id)


def by_run(found: Iterable[Foundling]) -> list[list[Foundling]]:
    """Put together what joins one run, first submitted first; in turns, so that no account keeps others waiting."""
    groups: dict[tuple[str, str], list[Foundling]] = {}
    for one in sorted(found, key=_place):
        groups.setdefault((one.owner, one.run_id), []).append(one)
    turns, ranked = dict[str, int](), list[tuple[int, list[Foundling]]]()
    for (owner, _), group in groups.items():
        turns[owner] = turns.get(owner, 0) + 1
        ranked.append((turns[owner], group))
    return [group for _, group in sorted(ranked, key=lambda one: one[0])]


def _place(one: Foundling) -> tuple[float, list[int]]:
    """Order jobs by their submission, elements of an array by their number: schedulers list the waiting ones first."""
    at = math.inf if one.submitted_at is None else one.submitted_at.timestamp()
    return at, [int(digits) for digits in re.findall(r"[0-9]{1,20}", one.job_id)]
