"""One polling round of one cluster: one question to the queue, one to accounting, one for exit records, at most."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from scripthut_common.database import Database
from scripthut_common.errors import TimedOut, Unreachable

from . import evidence, transitions
from .asking import ask
from .schedulers import job
from .schedulers.job import Queue, Seen
from .sites import Site
from .transitions import Clock, Decision, Observation, Standing
from .watchlist import clusters, rounds
from .watchlist.clusters import Observed
from .watchlist.items import Item, Key
from .watchlist.leases import Term
from .watchlist.recording import Change
from .watchlist.rounds import Watch

SOON_S = 1.0

log = structlog.get_logger()


class Watching:
    """Watches one cluster, while this process holds it.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        site: Site,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._site = site
        self._clock = clock
        self._due_at = clock()
        self._started_at = clock() - SOON_S
        self._seen = Observed(state="unknown")
        self._submission_fault: str | None = None
        self._is_idle = True
        self._commands = deque([(clock(), site.shell.commands_run)])

    @property
    def fault(self) -> str | None:
        """What was wrong in the last round, while there is something to watch."""
        return None if self._is_idle else self._seen.error

    @property
    def is_due(self) -> bool:
        """Whether it is time for a round."""
        return self._clock() >= self._due_at

    def soon(self) -> None:
        """Let the next round come soon: jobs were submitted, and short ones are over before the usual time."""
        self._due_at = min(self._due_at, max(self._clock(), self._started_at) + SOON_S)

    def note_submissions(self, fault: str | None) -> None:
        """Take into account what keeps jobs from being submitted; it is told with how the rounds go."""
        self._submission_fault = fault

    async def step(self) -> None:
        """Do a round if one is due.

        Raises:
            DatabaseUnavailable, LeaseLost: nothing was concluded.
        """
        if not self.is_due:
            return
        if not self._site.lease.is_held:
            self._is_idle = True
            return
        self._started_at = self._clock()
        self._due_at = self._started_at + self._site.cluster.poll_interval_s
        await self.round()

    async def round(self) -> None:
        """Look at everything that is watched, once."""
        term = self._site.lease.term
        await rounds.announce(self._database, term)
        watch = await rounds.watched(self._database, self._site.name)
        clock = Clock(
            now=watch.now,
            interval_s=self._site.cluster.poll_interval_s,
            answering_since=watch.answering_since,
            patience=self._site.cluster.patience,
        )
        standings = {item.key: _standing(item, watch) for item in watch.items}
        items = [item for item in watch.items if transitions.is_watched(standings[item.key], clock)]
        self._is_idle = not items
        if not items:
            told = msgspec.structs.replace(self._told(), is_good=False, has_answered=False)
            await clusters.observe(self._database, term, told)
            return
        try:
            queue = await ask(self._site.shell, self._site.scheduler.queue(_job_ids(items), _users(items)))
        except (Unreachable, TimedOut) as error:
            self._note("unreachable", str(error))
            await clusters.observe(self._database, term, self._seen)
            return
        await self._judge(term, items, standings, queue, clock)

    async def _judge(
        self, term: Term, items: Sequence[Item], standings: Mapping[Key, Standing], queue: Queue, clock: Clock
    ) -> None:
        wants = {
            item.key: transitions.wanted(standings[item.key], queue.look(item.job_id or ""), clock) for item in items
        }
        looked_at = evidence.within_limits(items, wants)
        found = await evidence.gather(self._site.shell, self._site.scheduler, looked_at, wants)
        changes = []
        for item in looked_at:
            seen = found.observation(item, queue, wants[item.key])
            decision = transitions.decide(standings[item.key], seen, clock)
            if _is_worth_writing(standings[item.key], decision, seen):
                changes.append(_change(item, decision))
        fault = found.fault
        self._note("degraded" if fault else "reachable", fault)
        await rounds.record_round(self._database, term, changes, self._told())

    def _note(self, state: str, fault: str | None) -> None:
        """Keep how the round went; log it when it went otherwise than the last."""
        if (self._seen.state, self._seen.error) != (state, fault):
            level = log.info if fault is None else log.warning
            level("cluster_observed", cluster=self._site.name, state=state, fault=fault)
        self._seen = Observed(
            state=state,
            error=fault,
            is_good=fault is None,
            has_answered=state != "unreachable",
            commands_per_minute=self._commands_per_minute(),
        )

    def _told(self) -> Observed:
        """What others are told: how the last round went, and whether jobs can be submitted."""
        if self._submission_fault is None or self._seen.error is not None:
            return self._seen
        return msgspec.structs.replace(self._seen, state="degraded", error=self._submission_fault)

    def _commands_per_minute(self) -> float:
        now = self._clock()
        self._commands.append((now, self._site.shell.commands_run))
        while now - self._commands[0][0] > 60 and len(self._commands) > 2:
            self._commands.popleft()
        since, before = self._commands[0]
        return (self._site.shell.commands_run - before) * 60 / max(now - since, 60.0)


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
