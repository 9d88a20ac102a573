"""Build the poller from its settings and a bus: its loops, its checks, and what is closed at the end."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from scripthut_common import bus as buses
from scripthut_common import clusters as clusters_file
from scripthut_common import migrating, supervision
from scripthut_common.bus import Bus
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import DatabaseUnavailable
from scripthut_common.health import Check
from scripthut_common.inbox import Inbox
from scripthut_common.relay import Relay
from scripthut_common.shell import RemoteShell
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.opening import open_shell
from scripthut_common.supervision import Loop, Pulse

from .adopting import Adopting
from .budget import Budget
from .extending import Extending
from .homes import Homes
from .leasing import RENEW_EVERY_S, Leasing, holder_name
from .localhost import scheduler as localhost
from .metrics import Metrics
from .migrations import MIGRATIONS
from .registering import Registering
from .requesting import Requesting
from .schedulers import Scheduler
from .schedulers.pbs import Pbs
from .schedulers.pbs.scans import PbsScanner
from .schedulers.scanning import Scanner
from .schedulers.slurm import Slurm
from .schedulers.slurm.scans import SlurmScanner
from .settings import BrokerSettings, ProcessSettings, Settings
from .sites import Site
from .submitting import Submitting
from .tables import INBOX
from .watching import Watching
from .watchlist import clusters, recording

_SUBMIT_EVERY_S = 2.0
_EXTEND_EVERY_S = 2.0
_WATCH_TICK_S = 0.25

Shells = Callable[[Cluster], RemoteShell]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A poller ready to run. `checks` say what is wrong, by name."""

    loops: Sequence[Loop]
    checks: Mapping[str, Check]
    database: Database
    shells: Sequence[AccountShells]
    leases: Sequence[Leasing]

    async def close(self) -> None:
        """Let go of clusters and database; the bus belongs to whoever gave it."""
        for lease in self.leases:
            with contextlib.suppress(DatabaseUnavailable):  # it ends by itself
                await lease.release()
        for shell in self.shells:
            await shell.close()
        await self.database.close()


def open_bus(settings: BrokerSettings | ProcessSettings) -> AmqpBus:
    """Make the bus of a process of its own."""
    return AmqpBus(settings.amqp_url)


def open_scheduler(cluster: Cluster) -> Scheduler:
    """Choose the words for a cluster's scheduler."""
    match cluster.scheduler:
        case SchedulerKind.SLURM:
            return Slurm()
        case SchedulerKind.PBS:
            return Pbs()
        case SchedulerKind.LOCALHOST:
            return localhost.of_cluster(cluster)


def open_scanner(cluster: Cluster) -> Scanner | None:
    """Choose the words for the search for jobs to adopt; `None` where nobody is to be adopted."""
    match cluster.scheduler:
        case SchedulerKind.SLURM if cluster.adopted_users:
            return SlurmScanner()
        case SchedulerKind.PBS if cluster.adopted_users:
            return PbsScanner()
        case _:
            return None


def build(
    settings: Settings,
    bus: Bus,
    pulse: Pulse,  # noqa: ARG001  as the other service
    shells: Shells = open_shell,
    registry: CollectorRegistry | None = None,
) -> Service:
    """Put the rooms together; nothing runs yet.

    Args:
        settings: the database, and the file that names the clusters.
        bus: where commands come from and events go.
        pulse: of the process.
        shells: makes the way to each cluster, as the service's own account.
        registry: where the metrics are shown; nowhere else they are.

    Raises:
        SettingsError: the clusters file is missing or wrong.
    """
    return _Plan(settings, bus, shells, registry or CollectorRegistry()).service()


class _Plan:
    """The parts of one service while they are put together."""

    def __init__(self, settings: Settings, bus: Bus, shells: Shells, registry: CollectorRegistry) -> None:
        self._bus = bus
        self._clusters = clusters_file.load(Path(settings.clusters_file))
        self._database = Database(settings.database_url, pool_size=5 + 3 * len(self._clusters))
        self._shells = {name: AccountShells(cluster, shells) for name, cluster in self._clusters.items()}
        self._homes = Homes(self._database, self._shells)
        self._relay = Relay(self._database, recording.outbox, bus)
        self._to_submit = {name: asyncio.Event() for name in self._clusters}
        holder, metrics = holder_name(), Metrics(registry)
        self._sites = {
            name: Site(
                cluster=cluster,
                scheduler=open_scheduler(cluster),
                shells=self._shells[name],
                lease=Leasing(self._database, name, holder, on_taken=self._to_submit[name].set),
                budget=Budget(cluster.commands_per_minute),
                metrics=metrics.of(name),
            )
            for name, cluster in self._clusters.items()
        }

    def service(self) -> Service:
        watching = {name: Watching(self._database, site) for name, site in self._sites.items()}
        return Service(
            loops=[
                *self._bus_loops(),
                *(_lease_loop(name, site.lease) for name, site in self._sites.items()),
                *(self._submit_loop(name, watch) for name, watch in watching.items()),
                *(_watch_loop(name, watch) for name, watch in watching.items()),
                *(self._extend_loop(name, site) for name, site in self._sites.items()),
                *self._adopt_loops(watching),
            ],
            checks=self._checks(watching),
            database=self._database,
            shells=list(self._shells.values()),
            leases=[site.lease for site in self._sites.values()],
        )

    def _bus_loops(self) -> list[Loop]:
        requesting = Requesting(self._database, self._clusters, self._wake)
        registering = Registering(self._database, self._clusters, self._homes)

        async def commands() -> None:
            await self._bus.consume(buses.POLLER_COMMANDS, requesting.take)

        async def announcements() -> None:
            await self._bus.consume(buses.POLLER_ANNOUNCEMENTS, registering.take)

        return [
            *self._relay.loops(),
            *Inbox(INBOX).loops(self._database),
            Loop(name="poller.commands", step=commands, interval_s=1.0, is_server=True),
            Loop(name="poller.announcements", step=announcements, interval_s=1.0, is_server=True),
        ]

    def _submit_loop(self, name: str, watching: Watching) -> Loop:
        submitting = Submitting(self._database, self._sites[name], self._homes, watching)
        return Loop(
            name=f"poller.submit.{name}",
            step=submitting.step,
            interval_s=_SUBMIT_EVERY_S,
            wake=self._to_submit[name],
        )

    def _extend_loop(self, name: str, site: Site) -> Loop:
        extending = Extending(self._database, site, self._homes, self._to_submit[name].set)
        return Loop(name=f"poller.extend.{name}", step=extending.step, interval_s=_EXTEND_EVERY_S)

    def _adopt_loops(self, watching: Mapping[str, Watching]) -> list[Loop]:
        return [
            Loop(
                name=f"poller.adopt.{name}",
                step=Adopting(self._database, site, scanner, on_adopted=watching[name].soon).step,
                interval_s=site.cluster.adopt_interval_s,
            )
            for name, site in self._sites.items()
            if (scanner := open_scanner(site.cluster)) is not None
        ]

    def _wake(self, cluster: str) -> None:
        """Let a cluster's submissions go on at once."""
        if cluster in self._to_submit:
            self._to_submit[cluster].set()

    def _checks(self, watching: Mapping[str, Watching]) -> dict[str, Check]:
        checks: dict[str, Check] = {
            "poller.database": self._check_database,
            "poller.bus": self._bus.check,
            "poller.outbox": self._relay.check,
            "poller.clusters": self._check_clusters,
        }
        return checks | {f"poller.cluster.{name}": _check_of(watch) for name, watch in watching.items()}

    async def _check_database(self) -> str | None:
        return await migrating.fault(self._database, MIGRATIONS)

    async def _check_clusters(self) -> str | None:
        if await self._check_database():
            return None
        left = await clusters.unserved(self._database, self._clusters)
        if not left:
            return None
        named = ", ".join(f"{count} on '{name}'" for name, count in sorted(left.items()))
        return f"nobody watches {named}: put the cluster back into the clusters file"


def _lease_loop(name: str, lease: Leasing) -> Loop:
    return Loop(name=f"poller.lease.{name}", step=lease.step, interval_s=RENEW_EVERY_S)


def _watch_loop(name: str, watching: Watching) -> Loop:
    async def step() -> None:
        # A step that only looked at the clock would pass for one that works again.
        while not watching.is_due:
            supervision.beat()
            await asyncio.sleep(_WATCH_TICK_S)
        await watching.step()

    return Loop(name=f"poller.watch.{name}", step=step, interval_s=_WATCH_TICK_S)


def _check_of(watching: Watching) -> Check:
    async def check() -> str | None:
        return watching.fault

    return check
