"""Gather what a round learns besides the queue: exit records that wrappers left, and the scheduler's accounting."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from posixpath import dirname
from typing import TypeVar

import msgspec

from scripthut_common.errors import TimedOut, Unreachable
from scripthut_common.events import ItemState

from . import records, schedulers
from .records import Trace, Wanted
from .schedulers import job
from .schedulers.job import Accounts, Queue
from .sites import Site
from .transitions import Observation, Source
from .watchlist.items import Item, Key

Told = TypeVar("Told")
Wants = Mapping[Key, frozenset[Source]]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; a source that was asked and did not answer says why, one that was not asked is empty."""

    traces: Mapping[Key, Trace] | job.Unreachable
    accounts: Accounts | job.Unreachable | None

    @property
    def fault(self) -> str | None:
        """Why not everything was found that was looked for."""
        faults = [source.reason for source in (self.traces, self.accounts) if isinstance(source, job.Unreachable)]
        return "; ".join(faults) or None

    def observation(self, item: Item, queue: Queue, wants: frozenset[Source]) -> Observation:
        """Put together what this round says of one item."""
        trace: Trace | job.Unreachable | None = None
        if Source.RECORD in wants and _has_our_wrapper(item):
            trace = self.traces if isinstance(self.traces, job.Unreachable) else self.traces.get(item.key, Trace())
        accounting = None
        if Source.ACCOUNTING in wants and self.accounts is not None:
            accounts = self.accounts
            accounting = accounts if isinstance(accounts, job.Unreachable) else accounts.look(item.job_id or "")
        return Observation(queue=queue.look(item.job_id or ""), trace=trace, accounting=accounting)


def within_limits(items: Sequence[Item], wants: Wants) -> list[Item]:
    """Leave for the next round what one command cannot ask for; what is left out is not judged and does not age."""
    left = {Source.RECORD: records.MAX_RECORDS, Source.ACCOUNTING: schedulers.MAX_IDS}
    chosen = []
    for item in sorted(items, key=_urgency):
        if all(left[source] > 0 for source in wants[item.key]):
            chosen.append(item)
            for source in wants[item.key]:
                left[source] -= 1
    return chosen


def _urgency(item: Item) -> tuple[bool, float]:
    """Put items without a verdict first, and among them those that were looked at longest ago."""
    return item.state is ItemState.FINAL, item.observed_at.timestamp() if item.observed_at else 0.0


async def gather(site: Site, items: Sequence[Item], wants: Wants) -> Evidence:
    """Ask for everything that is wanted of these items: at most one command each, both at once."""
    recorded = [item for item in items if Source.RECORD in wants[item.key]]
    accounted = [item.job_id for item in items if Source.ACCOUNTING in wants[item.key] and item.job_id]
    async with asyncio.TaskGroup() as group:
        traces = group.create_task(_or_unreachable(_traces(site, recorded)))
        accounts = group.create_task(_or_unreachable(_accounts(site, accounted)))
    return Evidence(traces=traces.result(), accounts=accounts.result())


async def _traces(site: Site, items: Sequence[Item]) -> Mapping[Key, Trace]:
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
    return await site.put(records.read(wanted)) if wanted else {}


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
