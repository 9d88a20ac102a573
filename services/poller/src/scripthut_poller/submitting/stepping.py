"""The loop of one cluster's submissions: cancel, look up, submit, release, for each account as that account."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from scripthut_common.clusters import AsWhom
from scripthut_common.database import Database
from scripthut_common.errors import AccountRefused, NoConnection, PermanentError, TimedOut, TransientError, Unreachable
from scripthut_poller.homes import Homes, expand
from scripthut_poller.schedulers import MAX_IDS, MAX_SUBMISSIONS
from scripthut_poller.schedulers.job import Action, Fate, Receipt, Submission
from scripthut_poller.sites import Site
from scripthut_poller.watchlist import cancellations, dependencies, submissions
from scripthut_poller.watchlist.dependencies import Ready
from scripthut_poller.watchlist.items import Item, Job, Key
from scripthut_poller.watchlist.leases import Term
from scripthut_poller.watchlist.recording import CANCELLED, End
from scripthut_poller.watchlist.submissions import EVERYBODY, Claim, Handed, Whom

from .batches import deferred, fates_of, found_again, submission
from .lanes import Lane, Lanes

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
        self._lanes = Lanes(clock)

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
        self._rounds.note_submissions(self._lanes.fault)
        return has_more

    def _begun(self) -> Term:
        """Return the present term; whoever held the cluster before it may have left something unclear."""
        term = self._site.lease.term
        if term != self._term:
            self._term = term
            self._lanes.begin_anew()
        return term

    async def _step(self, term: Term) -> bool:
        await submissions.let_go(self._database, term)
        resting = self._lanes.resting
        due = self._by_account(await cancellations.due(self._database, self._site.name, limit=MAX_IDS, refused=resting))
        accounts = [account for account in await self._waiting() if account not in resting]
        self._lanes.keep([*due, *accounts])
        served = await self._lanes.each([*due, *accounts], lambda lane: self._serve(term, lane, due))
        await self._note_refusals(term, accounts)
        await self._release(term)
        faults = [fault for fault, _ in served if fault is not None]
        if faults:
            raise faults[0]
        return any(has_more for _, has_more in served)

    async def _waiting(self) -> Sequence[str | None]:
        """Name the accounts of which something waits to be submitted."""
        if self._site.cluster.as_whom is AsWhom.SERVICE:
            return [None]
        return await submissions.accounts(self._database, self._site.name)

    async def _note_refusals(self, term: Term, accounts: Sequence[str | None]) -> None:
        """Let what waits for those who have just refused us say why."""
        for account in accounts:
            fault = self._lanes.of(account).fault
            if account is not None and isinstance(fault, AccountRefused):
                await submissions.note_refusal(self._database, term, account, str(fault))

    def _by_account(self, jobs: Sequence[Job]) -> dict[str | None, list[Job]]:
        """Sort jobs by the account that may do something to them."""
        found: dict[str | None, list[Job]] = {}
        for job in jobs:
            found.setdefault(self._site.whose(job.job_user), []).append(job)
        return found

    async def _serve(
        self, term: Term, lane: Lane, due: Mapping[str | None, Sequence[Job]]
    ) -> tuple[TransientError | None, bool]:
        """Do all that is to do for one account; say what keeps jobs from being cancelled, and whether there is more."""
        fault = await self._cancel(term, lane, due.get(lane.account, ()))
        await self._look_early(term, lane)
        unclear = await self._submit_unclear(term, lane)
        fresh = await self._submit_fresh(term, lane)
        if fault is not None and lane.account is not None:
            raise fault
        lane.went_well()
        return fault, unclear or fresh

    async def _cancel(self, term: Term, lane: Lane, due: Sequence[Job]) -> TransientError | None:
        """Cancel what is to be cancelled; what keeps it from being done does not keep others from being submitted."""
        if not due:
            return None
        cancelling = self._site.scheduler.act(Action.CANCEL, [job.job_id for job in due])
        try:
            complaints = await self._site.ask(cancelling, lane.account)
        except NoConnection:
            raise
        except (Unreachable, TimedOut) as fault:
            return fault
        await cancellations.sent(self._database, term, [job.key for job in due])
        log.info("jobs_cancelled", cluster=self._site.name, jobs=len(due), complaints=dict(complaints))
        return None

    async def _release(self, term: Term) -> None:
        resting = self._lanes.resting
        held = self._by_account(
            await submissions.releasable(self._database, self._site.name, limit=MAX_IDS, refused=resting)
        )
        if held:
            await self._lanes.each(held, lambda lane: self._release_of(term, lane, held[lane.account]))

    async def _release_of(self, term: Term, lane: Lane, held: Sequence[Job]) -> None:
        releasing = self._site.scheduler.act(Action.RELEASE, [job.job_id for job in held])
        complaints = await self._site.ask(releasing, lane.account)
        await submissions.released(self._database, term, [job.key for job in held if job.job_id not in complaints])
        if complaints:
            job, complaint = next(iter(complaints.items()))
            raise Unreachable(
                f"cluster '{self._site.name}': {len(complaints)} jobs cannot be released, {job}: {complaint}"
            )

    async def _look_early(self, term: Term, lane: Lane) -> None:
        """Take over what was submitted by somebody who could not say so, without waiting for the lease to end."""
        if lane.look_at is None or self._clock() < lane.look_at:
            return
        items = await submissions.unclear(self._database, self._site.name, self._whom(lane), limit=MAX_IDS)
        found = await self._take_over(term, lane, items)
        lane.look_at = self._clock() + LOOK_EVERY_S if len(found) < len(items) else None

    def _whom(self, lane: Lane) -> Whom:
        """Say whose items a lane is about: all where everything runs as our own account."""
        return EVERYBODY if self._site.cluster.as_whom is AsWhom.SERVICE else Whom(account=lane.account)

    async def _submit_unclear(self, term: Term, lane: Lane) -> bool:
        claimed = await submissions.claim_unclear(
            self._database, term, self._whom(lane), limit=MAX_SUBMISSIONS, lease_s=self._lease_s
        )
        if not claimed.items:
            return False
        try:
            found = await self._take_over(term, lane, claimed.items)
        except TransientError:
            await self._give_back(claimed, claimed.items)
            raise
        missing = [item for item in claimed.items if item.key not in found]
        cancelled = {item.key: CANCELLED for item in missing if item.is_cancelled}
        await submissions.hand_over(self._database, term, missing, cancelled)
        await self._submit(term, lane, claimed, [item for item in missing if not item.is_cancelled])
        return True

    async def _submit_fresh(self, term: Term, lane: Lane) -> bool:
        claimed = await submissions.claim(
            self._database, term, self._whom(lane), limit=MAX_SUBMISSIONS, lease_s=self._lease_s
        )
        return await self._submit(term, lane, claimed, claimed.items)

    async def _take_over(self, term: Term, lane: Lane, items: Sequence[Item]) -> dict[Key, Handed]:
        """Look up items that may have been submitted; note and return those that were."""
        if not items:
            return {}
        ago_s = await submissions.age_s(self._database, items)
        told = await self._site.ask(self._site.scheduler.find([item.tag for item in items], ago_s), lane.account)
        found = found_again(items, told)
        await submissions.hand_over(self._database, term, items, found)
        log.info("submissions_looked_up", cluster=self._site.name, asked=len(items), found=len(found))
        return found

    async def _submit(self, term: Term, lane: Lane, claimed: Claim, items: Sequence[Item]) -> bool:
        """Submit claimed items; `False` when nothing has come of it."""
        if not items:
            return False
        must_end_at = asyncio.get_running_loop().time() + self._lease_s - ACCOUNTING_LAGS_S
        try:
            placed = await self._placed(lane, items)
            resolved = await dependencies.resolve(self._database, placed)
            wanted = await self._written(lane, resolved.ready)
        except (TransientError, PermanentError):
            await self._give_back(claimed, items)
            raise
        try:
            receipts = await self._hand_in(lane, wanted, must_end_at)
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

    async def _hand_in(self, lane: Lane, wanted: Sequence[Submission], must_end_at: float) -> Sequence[Receipt]:
        if not wanted:
            return ()
        # Whatever goes wrong from here on, until the rows say otherwise: look before trying again.
        lane.look_at = self._clock()
        try:
            async with asyncio.timeout_at(must_end_at):
                return await self._site.ask(self._site.scheduler.submit(wanted), lane.account)
        except TimeoutError as error:
            raise TimedOut(f"cluster '{self._site.name}': the submission took too long") from error

    async def _placed(self, lane: Lane, items: Sequence[Item]) -> tuple[Item, ...]:
        log_dirs = {item.run_id: item.log_dir for item in items}
        if any(log_dir.startswith("~") for log_dir in log_dirs.values()):
            home = await self._homes.of(self._site.name, lane.account)
            log_dirs = {run_id: expand(log_dir, home) for run_id, log_dir in log_dirs.items()}
        return await submissions.place(self._database, items, log_dirs)

    async def _written(self, lane: Lane, ready: Sequence[Ready]) -> list[Submission]:
        needs_home = any(one.item.task and (one.item.task.working_dir or "").startswith("~") for one in ready)
        home = await self._homes.of(self._site.name, lane.account) if needs_home else ""
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
