"""The loop of one cluster's submissions: cancel, look up, submit, release."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from scripthut_common.database import Database
from scripthut_common.errors import NoConnection, PermanentError, TimedOut, TransientError, Unreachable
from scripthut_poller.homes import Homes, expand
from scripthut_poller.schedulers import MAX_IDS, MAX_SUBMISSIONS
from scripthut_poller.schedulers.job import Action, Fate, Receipt, Submission
from scripthut_poller.sites import Site
from scripthut_poller.watchlist import cancellations, dependencies, submissions
from scripthut_poller.watchlist.dependencies import Ready
from scripthut_poller.watchlist.items import Item, Key
from scripthut_poller.watchlist.leases import Term
from scripthut_poller.watchlist.recording import CANCELLED, End
from scripthut_poller.watchlist.submissions import Claim, Handed

from .batches import deferred, fates_of, found_again, submission

ACCOUNTING_LAGS_S = 15.0
LOOK_EVERY_S = 5.0

log = structlog.get_logger()


class Rounds(Protocol):
    """What a cluster's rounds want to know of its submissions."""

    def soon(self) -> None:
        """Jobs were handed over: short ones are over before the usual time."""

    def note_submissions(self, fault: str | None) -> None:
        """What keeps jobs from being submitted, if anything."""


class Submitting:
    """Submits for one cluster.

    Args:
        rounds: of the same cluster; they are told what became of every step.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        site: Site,
        homes: Homes,
        rounds: Rounds,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._site = site
        self._homes = homes
        self._rounds = rounds
        self._term: Term | None = None
        self._lease_s = 2 * site.cluster.connect_timeout_s + site.cluster.submission_timeout_s + ACCOUNTING_LAGS_S
        self._clock = clock
        self._look_at: float | None = None

    async def step(self) -> bool:
        """Do what is to do now; `True` when there may be more. Nothing while another process holds the cluster.

        Raises:
            TransientError: the cluster or the database is away, or the scheduler takes nothing at the moment.
        """
        if not self._site.lease.is_held:
            return False
        try:
            has_more = await self._step(self._begun())
        except (Unreachable, TimedOut) as fault:
            self._rounds.note_submissions(str(fault))
            raise
        self._rounds.note_submissions(None)
        return has_more

    def _begun(self) -> Term:
        """Return the present term; whoever held the cluster before it may have left something unclear."""
        term = self._site.lease.term
        if term != self._term:
            self._term, self._look_at = term, self._clock()
        return term

    async def _step(self, term: Term) -> bool:
        fault = await self._cancel(term)
        await self._look_early(term)
        unclear = await self._submit_unclear(term)
        await submissions.let_go(self._database, term)
        fresh = await self._submit_fresh(term)
        await self._release(term)
        if fault is not None:
            raise fault
        return unclear or fresh

    async def _cancel(self, term: Term) -> TransientError | None:
        """Cancel what is to be cancelled; what keeps it from being done does not keep others from being submitted."""
        due = await cancellations.due(self._database, self._site.name, limit=MAX_IDS)
        if not due:
            return None
        try:
            complaints = await self._site.ask(self._site.scheduler.act(Action.CANCEL, list(due.values())))
        except NoConnection:
            raise
        except (Unreachable, TimedOut) as fault:
            return fault
        await cancellations.sent(self._database, term, due.keys())
        log.info("jobs_cancelled", cluster=self._site.name, jobs=len(due), complaints=dict(complaints))
        return None

    async def _release(self, term: Term) -> None:
        held = await submissions.releasable(self._database, self._site.name, limit=MAX_IDS)
        if not held:
            return
        complaints = await self._site.ask(self._site.scheduler.act(Action.RELEASE, list(held.values())))
        done = [key for key, job in held.items() if job not in complaints]
        await submissions.released(self._database, term, done)
        if complaints:
            job, complaint = next(iter(complaints.items()))
            raise Unreachable(
                f"cluster '{self._site.name}': {len(complaints)} jobs cannot be released, {job}: {complaint}"
            )

    async def _look_early(self, term: Term) -> None:
        """Take over what was submitted by somebody who could not say so, without waiting for the lease to end."""
        if self._look_at is None or self._clock() < self._look_at:
            return
        items = await submissions.unclear(self._database, self._site.name, limit=MAX_IDS)
        found = await self._take_over(term, items)
        self._look_at = self._clock() + LOOK_EVERY_S if len(found) < len(items) else None

    async def _submit_unclear(self, term: Term) -> bool:
        claimed = await submissions.claim_unclear(self._database, term, limit=MAX_SUBMISSIONS, lease_s=self._lease_s)
        if not claimed.items:
            return False
        try:
            found = await self._take_over(term, claimed.items)
        except TransientError:
            await self._give_back(claimed, claimed.items)
            raise
        missing = [item for item in claimed.items if item.key not in found]
        cancelled = {item.key: CANCELLED for item in missing if item.is_cancelled}
        await submissions.hand_over(self._database, term, missing, cancelled)
        await self._submit(term, claimed, [item for item in missing if not item.is_cancelled])
        return True

    async def _submit_fresh(self, term: Term) -> bool:
        claimed = await submissions.claim(self._database, term, limit=MAX_SUBMISSIONS, lease_s=self._lease_s)
        return await self._submit(term, claimed, claimed.items)

    async def _take_over(self, term: Term, items: Sequence[Item]) -> dict[Key, Handed]:
        """Look up items that may have been submitted; note and return those that were."""
        if not items:
            return {}
        ago_s = await submissions.age_s(self._database, items)
        told = await self._site.ask(self._site.scheduler.find([item.tag for item in items], ago_s))
        found = found_again(items, told)
        await submissions.hand_over(self._database, term, items, found)
        log.info("submissions_looked_up", cluster=self._site.name, asked=len(items), found=len(found))
        return found

    async def _submit(self, term: Term, claimed: Claim, items: Sequence[Item]) -> bool:
        """Submit claimed items; `False` when nothing has come of it."""
        if not items:
            return False
        must_end_at = asyncio.get_running_loop().time() + self._lease_s - ACCOUNTING_LAGS_S
        try:
            placed = await self._placed(items)
            resolved = await dependencies.resolve(self._database, placed)
            wanted = await self._written(resolved.ready)
        except (TransientError, PermanentError):
            await self._give_back(claimed, items)
            raise
        try:
            receipts = await self._hand_in(wanted, must_end_at)
        except NoConnection:
            await self._give_back(claimed, items)
            raise
        fates = resolved.doomed | fates_of(resolved.ready, receipts)
        await submissions.hand_over(self._database, term, placed, fates)
        await submissions.give_back(self._database, claimed, [*resolved.waiting, *deferred(resolved.ready, receipts)])
        await self._conclude(fates, receipts)
        return bool(fates)

    async def _give_back(self, claimed: Claim, items: Sequence[Item]) -> None:
        await submissions.give_back(self._database, claimed, [item.key for item in items])

    async def _hand_in(self, wanted: Sequence[Submission], must_end_at: float) -> Sequence[Receipt]:
        if not wanted:
            return ()
        # Whatever goes wrong from here on, until the rows say otherwise: look before trying again.
        self._look_at = self._clock()
        try:
            async with asyncio.timeout_at(must_end_at):
                return await self._site.ask(self._site.scheduler.submit(wanted))
        except TimeoutError as error:
            raise TimedOut(f"cluster '{self._site.name}': the submission took too long") from error

    async def _placed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        log_dirs = {item.run_id: item.log_dir for item in items}
        if any(log_dir.startswith("~") for log_dir in log_dirs.values()):
            home = await self._homes.of(self._site.name)
            log_dirs = {run_id: expand(log_dir, home) for run_id, log_dir in log_dirs.items()}
        return await submissions.place(self._database, items, log_dirs)

    async def _written(self, ready: Sequence[Ready]) -> list[Submission]:
        needs_home = any(one.item.task and (one.item.task.working_dir or "").startswith("~") for one in ready)
        home = await self._homes.of(self._site.name) if needs_home else ""
        return [submission(one, home) for one in ready]

    async def _conclude(self, fates: Mapping[Key, Handed | End], receipts: Sequence[Receipt]) -> None:
        """Let others know what came out, and say when the scheduler takes nothing at the moment."""
        failed = {key[0] for key, fate in fates.items() if isinstance(fate, End)}
        if failed:
            await dependencies.fail_dependents(self._database, failed)
        if any(isinstance(fate, Handed) for fate in fates.values()):
            self._rounds.soon()
        handed = sum(isinstance(fate, Handed) for fate in fates.values())
        log.info("items_submitted", cluster=self._site.name, submitted=handed, ended=len(fates) - handed)
        for receipt in receipts:
            if receipt.fate in {Fate.DEFERRED, Fate.UNSURE}:
                raise Unreachable(f"cluster '{self._site.name}' takes no jobs at the moment: {receipt.message}")
