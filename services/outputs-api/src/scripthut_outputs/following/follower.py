"""Follow one cluster: whose turn it is, one trip, what is new of what it brings; by one process at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from uuid import uuid4

import msgspec
import structlog

from scripthut_common import supervision
from scripthut_common.clusters import Cluster
from scripthut_common.errors import AccountRefused, DatabaseUnavailable, Error, InvalidInput, LeaseLost, NoConnection
from scripthut_common.supervision import Loop
from scripthut_outputs import listing, owning
from scripthut_outputs.catalog.following import FileKey, Following, Key, Noted, Running, Seen
from scripthut_outputs.catalog.quotas import Quotas
from scripthut_outputs.fetching import Fault

from .pace import Pace
from .seeing import compare, passed_over
from .trips import Glanced, NoFollowing, Trips
from .turns import Turns

log = structlog.get_logger()
_WITHOUT_PYTHON_S = 600.0
Wanted = tuple[Running, listing.Item]
Ledgers = dict[Key, tuple[int, dict[FileKey, Noted]]]


class Follower:
    """Follows one cluster: every so often all that is to be followed, at once what was opened just now."""

    def __init__(
        self, cluster: Cluster, every_s: float, trips: Trips, catalog: Following, quotas: Quotas, pace: Pace
    ) -> None:
        self._cluster = cluster
        self._every_s = every_s
        self._trips = trips
        self._catalog = catalog
        self._quotas = quotas
        self._pace = pace
        self._turns = Turns(pace, cluster.follow_max_items)
        self._lease = uuid4()
        self._wake = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None
        self._is_called = False
        self._tick_at = self._looked_at = float("-inf")
        self._ledgers: Ledgers = {}

    def loop(self) -> Loop:
        """What is to run."""
        return Loop(
            name=f"outputs.follow.{self._cluster.name}", step=self.step, interval_s=self._every_s, wake=self._wake
        )

    def call(self) -> None:
        """Look at once at what was not looked at yet."""
        self._is_called = True
        self._wake.set()

    async def step(self) -> None:
        """Look, if it is time.

        Raises:
            DatabaseUnavailable: nothing can be asked or written.
            StoreUnavailable: the blob store is full or away.
        """
        try:
            await self._step(monotonic())
        finally:
            self._wake_in_time()

    async def _step(self, now: float) -> None:
        is_tick = now >= self._tick_at
        if not is_tick and not (self._is_called and now >= self._looked_at + self._pace.spacing_s):
            return
        self._is_called, self._looked_at = False, now
        if is_tick:
            self._tick_at = now + self._every_s
            self._turns.begin()
        await self._look(only_new=not is_tick)

    def _wake_in_time(self) -> None:
        """Let the next step begin when there is something to look at, neither sooner nor later."""
        if self._waking is not None:
            self._waking.cancel()
        at = min(self._tick_at, self._looked_at + self._pace.spacing_s) if self._is_called else self._tick_at
        self._waking = asyncio.get_running_loop().call_later(max(at - monotonic(), 0.0), self._wake.set)

    async def _look(self, *, only_new: bool) -> None:
        running = await self._catalog.running(self._cluster.name)
        exhausted = await self._quotas.exhausted({item.run.owner for item in running})
        running = [item for item in running if item.run.owner not in exhausted]
        self._forget({item.key for item in running})
        picked = self._turns.pick(running, only_new=only_new)
        if not picked or not await self._catalog.hold(self._cluster.name, self._lease, lease_s=self._pace.lease_s):
            return
        fault: Error | None = None
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew())
            try:
                await self._follow(picked)
            except Error as error:
                fault = error
            finally:
                renewing.cancel()
        if fault is not None:
            raise fault

    def _forget(self, keys: set[Key]) -> None:
        self._turns.keep(keys)
        for key in self._ledgers.keys() - keys:
            self._ledgers.pop(key)

    async def _follow(self, picked: Sequence[Running]) -> None:
        await self._read(picked)
        wanted: list[Wanted] = []
        for item in picked:
            place = _place(self._cluster, item)
            if place is None:
                self._turns.note(item.key, {}, (), has_stalled=True)
            else:
                wanted.append((item, place))
        wanted = wanted[: self._turns.fitting([self._ledgers[item.key][1] for item, _ in wanted])]
        groups: dict[str | None, list[Wanted]] = {}
        for one in wanted:
            groups.setdefault(one[1].whose.reader, []).append(one)
        await self._look_as_each(groups)

    async def _look_as_each(self, groups: Mapping[str | None, Sequence[Wanted]]) -> None:
        """Look as one account after the other, as a few at the same time: who hangs keeps nobody else waiting."""
        slots = asyncio.Semaphore(self._pace.accounts_at_once)
        faults: list[Error] = []

        async def look(account: str | None, wanted: Sequence[Wanted]) -> None:
            async with slots:
                try:
                    await self._look_as(account, wanted)
                except Error as error:
                    faults.append(error)

        async with asyncio.TaskGroup() as group:
            for account, wanted in groups.items():
                group.create_task(look(account, wanted))
        if faults:
            raise faults[0]

    async def _look_as(self, account: str | None, wanted: Sequence[Wanted]) -> None:
        known = [self._turns.known(item.key, self._ledgers[item.key][1]) for item, _ in wanted]
        try:
            glanced, fault = await self._trips.look(account, wanted, known)
        except NoFollowing:
            self._leave_alone(account, wanted)
            return
        if fault is not None:
            # That a cluster cannot be reached, or an account not be become, is the collector's to tell.
            log.info("look_cut", cluster=self._cluster.name, account=account, fault=str(fault))
        if len(glanced) < len(wanted) and not isinstance(fault, NoConnection | None):
            # The reader goes from one item to the next: others shall not wait behind the one at which it stopped.
            self._turns.note(wanted[len(glanced)][0].key, {}, (), has_stalled=True)
        if account is not None and not glanced and (fault is None or _is_of_account(fault)):
            for item, _ in wanted:
                self._turns.note(item.key, {}, (), has_stalled=True)
        await self._keep(glanced)

    def _leave_alone(self, account: str | None, wanted: Sequence[Wanted]) -> None:
        """Look again later, for want of a python3: at the cluster, or as this account."""
        log.info("not_followed", cluster=self._cluster.name, account=account, reason="it has no python3")
        if account is None:
            self._tick_at = monotonic() + _WITHOUT_PYTHON_S
        for item, _ in wanted:
            self._turns.note(item.key, {}, (), has_stalled=True)

    async def _read(self, picked: Sequence[Running]) -> None:
        """Read the ledgers that are not as they were when they were read last."""
        stale = [item for item in picked if self._ledgers.get(item.key, (-1,))[0] != item.outputs_version]
        found = await self._catalog.read([item.key for item in stale])
        for item in stale:
            self._ledgers[item.key] = item.outputs_version, found[item.key]

    async def _keep(self, glanced: Sequence[Glanced]) -> None:
        for one in glanced:
            if one.found.stranger is not None:
                # Nothing was seen of what was there before either; why, the collector says in the end.
                self._turns.note(one.running.key, {}, (), has_stalled=True)
        seen = [self._note(one) for one in glanced if one.found.stranger is None]
        told = [one for one in seen if one.is_change or self._is_to_be_told(one)]
        if not told:
            return
        try:
            kept = await self._catalog.keep(self._cluster.name, self._lease, told)
        except LeaseLost as error:
            log.warning("look_lost", reason=str(error))
            return
        await self._catalog.forget(self._replaced([one for one in told if one.item.key in kept]))

    def _note(self, glanced: Glanced) -> Seen:
        key = glanced.running.key
        ledger = self._ledgers[key][1]
        sent = {file: row.stored_bytes or row.size_bytes or 0 for file, row in glanced.sent.items()}
        has_stalled = glanced.found.has_stalled or glanced.is_cut
        self._turns.note(key, sent, passed_over(glanced, ledger), has_stalled=has_stalled)
        return compare(glanced, ledger)

    def _is_to_be_told(self, seen: Seen) -> bool:
        """Whether it was long ago that it was said as of when files are shown that have not changed."""
        at = seen.item.followed_at
        is_shown = bool(self._ledgers[seen.item.key][1])
        return is_shown and (at is None or (datetime.now(UTC) - at).total_seconds() >= self._pace.told_every_s)

    def _replaced(self, seen: Sequence[Seen]) -> set[str]:
        """Name the contents that were followed and are no longer what is there."""
        replaced = set()
        for one in seen:
            ledger = self._ledgers[one.item.key][1]
            for file in (*((row.place, row.path) for row in one.rows), *one.gone):
                noted = ledger.get(file)
                if noted is not None and noted.is_followed and noted.sha256 is not None:
                    replaced.add(noted.sha256)
        return replaced

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._pace.lease_s / 3)
            supervision.beat()
            try:
                await self._catalog.hold(self._cluster.name, self._lease, lease_s=self._pace.lease_s)
            except DatabaseUnavailable as error:
                # Nothing is lost: what is written checks the lease.
                log.warning("lease_not_renewed", cluster=self._cluster.name, fault=str(error))


def _is_of_account(fault: Fault) -> bool:
    """Whether a fault says nothing of other accounts."""
    return isinstance(fault, AccountRefused) or not isinstance(fault, NoConnection)


def _place(cluster: Cluster, item: Running) -> listing.Item | None:
    """Where an item's files lie; `None` for a place that may not or cannot be: the collector says so in the end."""
    try:
        found = listing.locate(
            item.run_id,
            item.task_id,
            output_dir=item.output_dir,
            run_summary_path=item.run_summary_path,
            stdout_path=item.stdout_path,
            stderr_path=item.stderr_path,
            attempt=item.attempt,
        )
    except InvalidInput:
        return None
    whose = owning.decide(cluster, item.run, is_in_place=found.is_in_place)
    if isinstance(whose, owning.Refused):
        return None
    # An exit record is there at the end, or of an earlier attempt.
    return msgspec.structs.replace(found, manifest=listing.Location(), whose=whose)
