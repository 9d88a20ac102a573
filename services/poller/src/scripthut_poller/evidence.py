"""Gather what a round learns besides the queue: exit records that wrappers left, and the scheduler's accounting."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from posixpath import dirname
from types import MappingProxyType
from typing import TypeVar

import msgspec

from scripthut_common.errors import AccountRefused, Error, TimedOut, Unreachable
from scripthut_common.events import ItemState

from . import records, schedulers
from .records import Trace, Wanted
from .schedulers import job
from .schedulers.job import Accounts, Queue
from .sites import Site, is_of
from .transitions import Observation, Source
from .watchlist.items import Item, Key

Told = TypeVar("Told")
Wants = Mapping[Key, frozenset[Source]]
MAX_ACCOUNTS = 16


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; a source that was asked and did not answer says why, one that was not asked is empty.

    `refused` says of which accounts no records could be read, by account; those of others are none the worse for it.
    `away` says why none could be read at all.
    """

    traces: Mapping[Key, Trace | job.Unreachable]
    accounts: Accounts | job.Unreachable | None
    refused: Mapping[str, str] = MappingProxyType({})
    away: str | None = None

    @property
    def fault(self) -> str | None:
        """Why not everything was found that was looked for."""
        faults = [*self.refused.values(), *([self.away] if self.away else ())]
        if isinstance(self.accounts, job.Unreachable):
            faults.append(self.accounts.reason)
        return "; ".join(dict.fromkeys(faults)) or None

    @property
    def is_whole(self) -> bool:
        """Whether the cluster as a whole has answered, whatever single accounts do."""
        return self.away is None and not isinstance(self.accounts, job.Unreachable)

    def observation(self, item: Item, queue: Queue, wants: frozenset[Source]) -> Observation:
        """Put together what this round says of one item."""
        trace: Trace | job.Unreachable | None = None
        if Source.RECORD in wants and _has_our_wrapper(item):
            trace = self.traces.get(item.key, Trace())
        accounting = None
        if Source.ACCOUNTING in wants and self.accounts is not None:
            accounts = self.accounts
            accounting = accounts if isinstance(accounts, job.Unreachable) else accounts.look(item.job_id or "")
        return Observation(queue=queue.look(item.job_id or ""), trace=trace, accounting=accounting)


def within_limits(
    items: Sequence[Item],
    wants: Wants,
    whose: Callable[[str | None], str | None] = lambda account: account,
    refused: Collection[str] = (),
) -> list[Item]:
    """Leave for the next round what is too much for one; what is left out is not judged and does not age.

    One command asks for so many ids or records. Records are read by one command for each account that has some, of so
    many accounts in a round; `whose` says as whom records are read of a job of an account. Those of `refused` accounts
    are not read, and take nobody's room.
    """
    left = {Source.RECORD: records.MAX_RECORDS, Source.ACCOUNTING: schedulers.MAX_IDS}
    accounts = set[str | None]()
    chosen = []
    for item in sorted(items, key=_urgency):
        account = whose(item.job_user)
        wanted = wants[item.key] - {Source.RECORD} if account in refused else wants[item.key]
        is_read = Source.RECORD in wanted and _has_our_wrapper(item)
        if is_read and account not in accounts and len(accounts) >= MAX_ACCOUNTS:
            continue
        if all(left[source] > 0 for source in wanted):
            if is_read:
                accounts.add(account)
            chosen.append(item)
            for source in wanted:
                left[source] -= 1
    return chosen


def _urgency(item: Item) -> tuple[bool, float]:
    """Put items without a verdict first, and among them those that were looked at longest ago."""
    return item.state is ItemState.FINAL, item.observed_at.timestamp() if item.observed_at else 0.0


async def gather(
    site: Site, items: Sequence[Item], wants: Wants, resting: Mapping[str, str] = MappingProxyType({})
) -> Evidence:
    """Ask for everything that is wanted of these items, at once: one command each, for records one an account.

    `resting` are accounts that are not asked for now, with the reason.
    """
    recorded: dict[str | None, list[Item]] = {}
    for item in items:
        if Source.RECORD in wants[item.key] and _has_our_wrapper(item) and item.run_summary_path is not None:
            recorded.setdefault(site.whose(item.job_user), []).append(item)
    accounted = [item.job_id for item in items if Source.ACCOUNTING in wants[item.key] and item.job_id]
    async with asyncio.TaskGroup() as group:
        reading = {
            account: group.create_task(_traces_or_fault(site, theirs, account))
            for account, theirs in recorded.items()
            if account is None or account not in resting
        }
        accounts = group.create_task(_or_unreachable(_accounts(site, accounted)))
    traces, refused, away = dict[Key, Trace | job.Unreachable](), dict[str, str](), None
    for account, theirs in recorded.items():
        asked = reading.get(account)
        found = asked.result() if asked is not None else AccountRefused(resting[account or ""])
        if isinstance(found, Error):
            traces |= {item.key: job.Unreachable(reason=str(found)) for item in theirs}
            if account is not None and is_of(account, found):
                refused[account] = str(found)
            else:
                away = str(found)
        else:
            traces |= found
    return Evidence(traces=traces, accounts=accounts.result(), refused=refused, away=away)


async def _traces_or_fault(
    site: Site, items: Sequence[Item], account: str | None
) -> Mapping[Key, Trace] | Unreachable | TimedOut:
    try:
        return await _traces(site, items, account)
    except (Unreachable, TimedOut) as error:
        return error


async def _traces(site: Site, items: Sequence[Item], account: str | None) -> Mapping[Key, Trace]:
    wanted = [
        Wanted(
            records_dir=dirname(item.run_summary_path),
            run_id=item.run_id,
            task_id=item.task_id,
            nonce=item.nonce,
        )
        for item in items
        if item.nonce is not None and item.run_summary_path is not None
    ]
    return await site.put(records.read(wanted), account)


async def _accounts(site: Site, job_ids: Sequence[str]) -> Accounts | None:
    if not job_ids:
        return None
    accounts: Accounts = await site.put(site.scheduler.accounting(job_ids))
    return accounts


async def _or_unreachable(asked: Awaitable[Told]) -> Told | job.Unreachable:
    try:
        return await asked
    except (Unreachable, TimedOut) as error:
        return job.Unreachable(reason=str(error))


def _has_our_wrapper(item: Item) -> bool:
    """Say whether our wrapper ran it; jobs that others submitted leave no record that could be matched."""
    return item.nonce is not None
