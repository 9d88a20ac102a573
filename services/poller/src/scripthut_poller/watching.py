"""Polling rounds of one cluster: one question to the queue, one to accounting, one for exit records, at most."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from scripthut_common.database import Database
from scripthut_common.errors import TimedOut, Unreachable
from scripthut_common.events import ItemState

from . import evidence, pacing, transitions
from .schedulers import job
from .schedulers.job import Queue, Seen
from .sites import Site
from .transitions import Clock, Decision, Observation, Source, Standing
from .watchlist import clusters, rounds
from .watchlist.clusters import Observed
from .watchlist.items import Item, Key
from .watchlist.leases import Term
from .watchlist.recording import Change
from .watchlist.rounds import Watch

SOON_S = 1.0
REFUSED_S = 30.0
# The queue, and accounting for what has left it.
_ROUND_COSTS = 2

log = structlog.get_logger()


class Watching:
    """Watches one cluster, while this process holds it.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, database: Database, site: Site, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._site = site
        self._clock = clock
        self._due_at = clock()
        self._wanted_at: float | None = None
        self._started_at = clock() - SOON_S
        self._changed_at = clock()
        self._told_at = clock()
        self._good_at: float | None = None
        self._interval_s = site.cluster.poll_interval_s
        self._failures = 0
        self._cost = 0
        self._is_settling = False
        self._is_idle = True
        self._is_over = False
        self._seen = Observed(state="unknown")
        self._submission_fault: str | None = None
        self._refused: dict[str, tuple[str, float]] = {}
        site.metrics.last_good_round.set_function(self._age_of_last_good_round)
        site.metrics.commands_per_minute.set_function(lambda: site.budget.spent)
        site.metrics.lease_held.set_function(lambda: site.lease.is_held)

    @property
    def fault(self) -> str | None:
        """What was wrong in the last round while something is watched; else what keeps jobs from being submitted."""
        seen = None if self._is_idle else self._seen.error
        return seen or self._submission_fault

    @property
    def is_due(self) -> bool:
        """Whether it is time for a round, or at least to tell again how the last one went."""
        return self._is_round_due or self._clock() - self._told_at >= clusters.TELL_EVERY_S

    @property
    def _is_round_due(self) -> bool:
        """Whether it is time for a round, and the budget has room for one."""
        return self._clock() >= self._due_at and not self._site.budget.wait_s(_ROUND_COSTS)

    def soon(self) -> None:
        """Let the next round come soon: jobs were submitted, and short ones are over before the usual time."""
        self._changed_at = self._clock()
        self._wanted_at = max(self._clock(), self._started_at) + SOON_S
        self._due_at = min(self._due_at, self._wanted_at)

    def note_submissions(self, fault: str | None) -> None:
        """Take into account what keeps jobs from being submitted; it is told with how the rounds go."""
        self._submission_fault = fault

    async def step(self) -> None:
        """Do a round if one is due; nothing while another process holds the cluster.

        Raises:
            DatabaseUnavailable, LeaseLost: nothing was concluded.
        """
        is_round = self._is_round_due
        if not self.is_due:
            return
        if not self._site.lease.is_held:
            self._is_idle, self._told_at = True, self._clock()
            self._due_at = self._clock() + SOON_S
            return
        if not is_round:
            await self._tell(self._site.lease.term)
            return
        self._started_at, self._wanted_at = self._clock(), None
        self._due_at = self._started_at + self._site.cluster.poll_interval_s
        await self.round()
        # A scheduler that answers slowly is left alone for at least as long as it took.
        took_s = self._clock() - self._started_at
        pause_s = max(self._rest_s(), 2 * took_s, self._site.budget.spacing_s(self._cost))
        if not self._failures:
            self._interval_s = max(self._site.cluster.poll_interval_s, pause_s)
        self._site.metrics.next_round.set(pause_s)
        self._due_at = self._started_at + pause_s
        if self._wanted_at is not None:
            self._due_at = min(self._due_at, self._wanted_at)

    async def round(self) -> None:
        """Look at everything that is watched, once."""
        term = self._site.lease.term
        await rounds.announce(self._database, term)
        watch = await rounds.watched(self._database, self._site.name)
        clock = Clock(
            now=watch.now,
            interval_s=self._interval_s,
            answering_since=watch.answering_since,
            patience=self._site.cluster.patience,
        )
        standings = {item.key: _standing(item, watch) for item in watch.items}
        items = [item for item in watch.items if transitions.is_watched(standings[item.key], clock)]
        self._consider(items)
        if not items:
            await self._tell(term)
            return
        with self._site.metrics.round_duration.time():
            await self._look(term, items, standings, clock)

    async def _look(self, term: Term, items: Sequence[Item], standings: Mapping[Key, Standing], clock: Clock) -> None:
        await self._site.budget.take(_ROUND_COSTS)
        self._cost = _ROUND_COSTS
        try:
            queue = await self._site.put(self._site.scheduler.queue(_job_ids(items), _users(items)))
        except (Unreachable, TimedOut) as error:
            self._spare_one()
            self._failures += 1
            self._note("unreachable", str(error))
            await self._tell(term)
            return
        self._failures = 0
        await self._judge(term, items, standings, queue, clock)

    async def _judge(
        self, term: Term, items: Sequence[Item], standings: Mapping[Key, Standing], queue: Queue, clock: Clock
    ) -> None:
        wants = {
            item.key: transitions.wanted(standings[item.key], queue.look(item.job_id or ""), clock) for item in items
        }
        looked_at = evidence.within_limits(items, wants, self._site.whose, self._resting)
        if not any(Source.ACCOUNTING in wants[item.key] for item in looked_at):
            self._spare_one()
        found = await evidence.gather(self._site, looked_at, wants, self._resting)
        self._let_rest(found.refused)
        changes = []
        for item in looked_at:
            seen = found.observation(item, queue, wants[item.key])
            decision = transitions.decide(standings[item.key], seen, clock)
            if _is_worth_writing(standings[item.key], decision, seen):
                changes.append(_change(item, decision))
        self._pace(changes)
        fault = found.fault
        self._note("degraded" if fault else "reachable", fault, is_whole=found.is_whole)
        self._told_at = self._clock()
        await rounds.record_round(self._database, term, changes, self._told())

    @property
    def _resting(self) -> dict[str, str]:
        """The accounts whose records are not read for a moment, with the reason."""
        now = self._clock()
        self._refused = {account: refused for account, refused in self._refused.items() if now < refused[1]}
        return {account: reason for account, (reason, _) in self._refused.items()}

    def _let_rest(self, refused: Mapping[str, str]) -> None:
        """Leave accounts alone of which no records could be read, so that they take no room from others."""
        until = self._clock() + REFUSED_S
        for account, reason in refused.items():
            if account not in self._refused:
                self._refused[account] = (reason, until)

    async def _tell(self, term: Term) -> None:
        """Say how the last round went, when this is none that got an answer."""
        self._told_at = self._clock()
        await clusters.observe(
            self._database, term, msgspec.structs.replace(self._told(), is_good=False, has_answered=False)
        )

    def _spare_one(self) -> None:
        """Accounting was not asked."""
        self._site.budget.give_back(1)
        self._cost -= 1

    def _consider(self, items: Sequence[Item]) -> None:
        """Take note of what is watched in this round."""
        self._is_idle = not items
        self._is_over = all(item.state is ItemState.FINAL for item in items)
        self._is_settling = False
        self._site.metrics.show_items(Counter(item.state for item in items))

    def _pace(self, changes: Sequence[Change]) -> None:
        """Take note of what has changed: how soon the next round should come depends on it."""
        if any(change.tells for change in changes):
            self._changed_at = self._clock()
        is_recent = self._clock() - self._changed_at < pacing.SETTLES_SOON_S
        self._is_settling = is_recent and any(change.after.state is ItemState.SETTLING for change in changes)

    def _rest_s(self) -> float:
        cluster = self._site.cluster
        slowest_s = cluster.slowest_interval_s
        if self._failures:
            jitter = random.random()  # noqa: S311  not a secret
            return pacing.retreat_s(cluster.poll_interval_s, slowest_s, self._failures, jitter)
        if self._is_idle:
            return cluster.poll_interval_s
        if self._is_over:
            slowest_s = max(slowest_s, cluster.patience.asking_again_s)
        quiet_s = self._clock() - self._changed_at
        return pacing.rest_s(cluster.poll_interval_s, slowest_s, quiet_s=quiet_s, is_settling=self._is_settling)

    def _note(self, state: str, fault: str | None, *, is_whole: bool = False) -> None:
        """Keep how the round went; log it when it went otherwise than the last.

        A round that only lacks what single accounts refuse us is a good one of the cluster as a whole.
        """
        if (self._seen.state, self._seen.error) != (state, fault):
            level = log.info if fault is None else log.warning
            level("cluster_observed", cluster=self._site.name, state=state, fault=fault)
        is_good = fault is None or is_whole
        if is_good:
            self._good_at = self._clock()
        self._site.metrics.count_round(state)
        self._seen = Observed(
            state=state,
            error=fault,
            is_good=is_good,
            has_answered=state != "unreachable",
            commands_per_minute=float(self._site.budget.spent),
        )

    def _told(self) -> Observed:
        """What others are told: how the last round went, and whether jobs can be submitted."""
        if self._submission_fault is None or self._seen.error is not None:
            return self._seen
        return msgspec.structs.replace(self._seen, state="degraded", error=self._submission_fault)

    def _age_of_last_good_round(self) -> float:
        if self._is_idle or self._good_at is None:
            return -1.0
        return self._clock() - self._good_at


def _standing(item: Item, watch: Watch) -> Standing:
    """Take from the row what verdicts depend on; the last good round of the cluster looked at this item too."""
    standing = msgspec.convert(item, Standing, from_attributes=True)
    last = watch.last_good_round_at
    if last is None or last < standing.entered_at:
        return standing
    return msgspec.structs.replace(standing, observed_at=max(last, standing.observed_at or last))


def _job_ids(items: Sequence[Item]) -> list[str]:
    return [item.job_id for item in items if item.job_id]


def _users(items: Sequence[Item]) -> list[str]:
    return sorted({item.job_user for item in items if item.job_user})


def _is_worth_writing(before: Standing, decision: Decision, seen: Observation) -> bool:
    """Say whether a row must be written: the mere time of the look is kept for the cluster as a whole."""
    if isinstance(seen.queue, Seen) and seen.queue.job.state is not job.JobState.ODD:
        timeless = {"waited_s": before.waited_s, "observed_at": before.observed_at}
        return decision.tells is not None or msgspec.structs.replace(decision.standing, **timeless) != before
    return decision.standing != before


def _change(item: Item, decision: Decision) -> Change:
    after = msgspec.structs.replace(item, **msgspec.structs.asdict(decision.standing))
    return Change(before=item, after=after, tells=decision.tells)
