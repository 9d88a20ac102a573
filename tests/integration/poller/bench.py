"""The poller's loops without their supervision: a test takes each step itself."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.local import LocalShell
from scripthut_common.tasks import TaskSpec
from scripthut_poller.budget import Budget
from scripthut_poller.extending import Extending
from scripthut_poller.homes import Homes
from scripthut_poller.leasing import Leasing
from scripthut_poller.metrics import Metrics
from scripthut_poller.sites import Site
from scripthut_poller.submitting import Submitting
from scripthut_poller.watching import Watching
from scripthut_poller.watchlist import requests
from scripthut_poller.watchlist.requests import Terms
from scripthut_poller.wiring import open_scheduler
from tests.integration.poller.faulty import FaultyShell
from tests.integration.poller.told import part_of_run, rows


class Bench:
    """Submits to and watches a cluster on this machine; each task notes that it ran in a file of its own."""

    def __init__(self, database: Database, cluster: Cluster, folder: Path) -> None:
        self.database = database
        self.shell = FaultyShell(LocalShell())
        self.shells = AccountShells(cluster, lambda _: self.shell)
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.lease = Leasing(database, cluster.name, "this poller", lease_s=600)
        self.site = Site(
            cluster=cluster,
            scheduler=open_scheduler(cluster),
            shells=self.shells,
            lease=self.lease,
            budget=Budget(100_000),
            metrics=Metrics(CollectorRegistry()).of(cluster.name),
        )
        self.watching = Watching(database, self.site)
        self.submitting = self.another_life()
        self.extending = self.extending_by(self.site)
        self.woken = 0

    def another_life(self) -> Submitting:
        """Make what a process has after its start."""
        homes = Homes(self.database, {"here": self.shells})
        return Submitting(self.database, self.site, homes, self.watching)

    def extending_by(self, site: Site) -> Extending:
        """Read generated lists on a cluster that is described otherwise."""
        return Extending(self.database, site, Homes(self.database, {"here": self.shells}), self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def watching_by(self, clock: Callable[[], float], *, interval_s: float) -> Watching:
        """Watch by another clock."""
        cluster = msgspec.structs.replace(self.site.cluster, poll_interval_s=interval_s)
        return Watching(self.database, msgspec.structs.replace(self.site, cluster=cluster), clock=clock)

    def task(self, id_: str, *deps: str) -> TaskSpec:
        return TaskSpec(id=id_, command=f"echo ran >> {self.notes}/{id_}", deps=deps)

    async def ask(self, wanted: Sequence[TaskSpec], log_dir: str | None = None) -> None:
        await requests.store(self.database, part_of_run(wanted, log_dir=log_dir or self.site.cluster.log_dir), Terms())

    async def rounds_until(self, state: str, *task_ids: str) -> None:
        """Take rounds until these items are in a state."""
        async with asyncio.timeout(60):
            while {(await rows(self.database))[task_id].state for task_id in task_ids} != {state}:
                await self.watching.round()
                await asyncio.sleep(0.05)

    async def jobs(self) -> set[str | None]:
        return {row.job_id for row in (await rows(self.database)).values()}
