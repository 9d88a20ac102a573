"""Build the outputs service from its settings and a bus: its loops, its checks, and what is closed at the end."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from prometheus_client import CollectorRegistry

from scripthut_common import clusters as clusters_file
from scripthut_common import migrating
from scripthut_common.bus import QUEUES, Bus
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.errors import SettingsError
from scripthut_common.gauging import Lag, Pools
from scripthut_common.health import Check, Health
from scripthut_common.inbox import Inbox
from scripthut_common.outbox import Outbox
from scripthut_common.relay import Relay
from scripthut_common.serving import App, serve
from scripthut_common.shell import RemoteShell
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.opening import open_shell
from scripthut_common.supervision import Loop, Pulse

from . import app, following
from .access.addresses import Addresses
from .access.opening import Own, open_access
from .access.policy import AccessFile
from .access.sessions import Sessions
from .access.tokens import Tokens, read_key
from .blobs import open_store
from .catalog.administering import Administering
from .catalog.applying import Applying
from .catalog.auditing import Audit
from .catalog.changes import Cache, Listener
from .catalog.collections import Collections
from .catalog.creating import Creating
from .catalog.documents import Documents
from .catalog.login_codes import LoginCodes
from .catalog.looks import Looks
from .catalog.opening import Opening
from .catalog.pinning import Pins
from .catalog.quotas import Holdings
from .catalog.reading import Reading
from .catalog.shares import ShareLinks
from .catalog.updates import Updates
from .catalog.watching import Watching
from .collector import Collector, Pace
from .controllers.burials import Burials
from .controllers.counting import AuditCollector, Requests
from .controllers.door import Rules
from .controllers.inlining import MaxInline
from .controllers.noting import Noting
from .controllers.parts import Parts
from .controllers.places import StreamLimits
from .controllers.previewing import Previewer
from .controllers.standing import Bounds
from .controllers.telling import Telling
from .controllers.turns import Limits
from .documents.loop import Renderer
from .documents.press import Press
from .documents.workers import Workers
from .intake import Intake
from .live import Hub, Tempo
from .live import Noting as Noted
from .live.metrics import Metrics as LiveMetrics
from .migrations import MIGRATIONS
from .rendering import RENDERER
from .retention import Keeper, Terms
from .settings import BrokerSettings, DoorSettings, ProcessSettings, Settings
from .tables import INBOX, OUTBOX

_INTAKE_CONNECTIONS = 2

Shells = Callable[[Cluster], RemoteShell]


class Role(StrEnum):
    """What a process does of the service's work; one process may do all of it."""

    API = "api"
    COLLECTOR = "collector"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """An outputs service ready to run. `checks` say what is wrong, by name; `app` is there in the role `api`."""

    loops: Sequence[Loop]
    checks: Mapping[str, Check]
    health: Health
    databases: Sequence[Database]
    app: App | None
    looks: Looks
    collecting: "Collecting | None"
    previewer: Previewer | None = None

    async def close(self) -> None:
        """Let go of clusters, workers and database; the bus belongs to whoever gave it."""
        if self.collecting is not None:
            await self.collecting.close()
        if self.previewer is not None:
            await asyncio.to_thread(self.previewer.close)
        await self.looks.close()
        for database in self.databases:
            await database.close()


class Collecting(msgspec.Struct, frozen=True, kw_only=True):
    """What a process in the role `collector` holds: ways to the clusters, workers that render."""

    collector: Collector
    followers: following.Followers
    renderer: Renderer
    keeper: Keeper
    press: Press
    shells: Mapping[str, AccountShells]

    @property
    def loops(self) -> list[Loop]:
        """What is to run."""
        return [*self.collector.loops(), *self.followers.loops(), *self.renderer.loops(), *self.keeper.loops()]

    async def close(self) -> None:
        """Let go of everything."""
        for shell in self.shells.values():
            await shell.close()
        await asyncio.to_thread(self.collector.close)
        await asyncio.to_thread(self.followers.close)
        await asyncio.to_thread(self.press.close)


def open_bus(settings: BrokerSettings | ProcessSettings) -> AmqpBus:
    """Make the bus of a process of its own."""
    return AmqpBus(settings.amqp_url)


def build(
    settings: Settings,
    bus: Bus,
    pulse: Pulse,
    *,
    roles: Iterable[Role] = tuple(Role),
    shells: Shells = open_shell,
    other_checks: Mapping[str, Check] | None = None,
    registry: CollectorRegistry | None = None,
) -> Service:
    """Put the rooms together; nothing runs yet.

    Args:
        settings: the database, the door, the clusters file, the blobs.
        bus: where events come from and commands go.
        pulse: of the process.
        roles: what this process does.
        shells: makes the way to each cluster.
        other_checks: of others in the same process, to be told in `/health/ready` too.
        registry: metrics of others in the same process, to be shown in `/metrics` too.

    Raises:
        SettingsError: the clusters file, the tokens file or the blob store's address is missing or wrong.
    """
    return _Plan(settings, bus, frozenset(roles), shells).service(
        pulse, other_checks or {}, registry or CollectorRegistry()
    )


async def login_url(settings: DoorSettings, actor: str | None = None) -> str:
    """Make an address that logs a browser in once; without `actor`, as whom the tokens file names first.

    Raises:
        SettingsError: the tokens file is wrong, or does not name the actor.
        DatabaseUnavailable: the code cannot be kept.
    """
    tokens = Tokens(Path(settings.tokens_file))
    known = tokens.first if actor is None else tokens.actor_named(actor)
    if known is None:
        raise SettingsError(f"{settings.tokens_file}: does not name {actor!r}")
    database = Database(settings.database_url)
    try:
        code = await LoginCodes(database).issue(known.name, minutes=settings.login_code_minutes)
    finally:
        await database.close()
    return f"{settings.url}/login?code={code}"


class _Plan:
    """The parts of one service while they are put together."""

    def __init__(self, settings: Settings, bus: Bus, roles: frozenset[Role], open_shell: Shells) -> None:
        self._settings = settings
        self._bus = bus
        self._roles = roles
        self._open_shell = open_shell
        self._clusters = clusters_file.load(Path(settings.clusters_file))
        self._database = Database(settings.database_url, pool_size=settings.database_connections)
        # A flood of events waits in a queue of its own, and nobody who reads a page behind it.
        self._intake_database = Database(settings.database_url, pool_size=_INTAKE_CONNECTIONS)
        self._blobs = open_store(settings.blobs_url, settings.s3)
        self._looks = Looks(self._database)
        self._access_file = AccessFile(None if settings.access_file is None else Path(settings.access_file))

    def service(self, pulse: Pulse, other_checks: Mapping[str, Check], registry: CollectorRegistry) -> Service:
        relay = Relay(self._database, Outbox(OUTBOX), self._bus)
        databases = {"main": self._database, "intake": self._intake_database}
        registry.register(Pools("outputs", databases))
        checks: dict[str, Check] = {
            "outputs.database": self._check_database,
            "outputs.bus": self._bus.check,
            "outputs.outbox": relay.check,
            "outputs.blobs": self._blobs.fault,
        }
        if Role.COLLECTOR in self._roles:
            checks["outputs.clusters"] = self._check_clusters
        health = Health(pulse, {**checks, **other_checks}, registry)
        loops = [*relay.loops(), Lag(self._database, Outbox(OUTBOX), registry).loop]
        served = collecting = previewer = None
        if Role.API in self._roles:
            cache = Cache()
            registry.register(AuditCollector(self._looks))
            self._burials = Burials(self._count_dead, registry)
            reading = Reading(self._database, cache, renderer=RENDERER)
            hub = self._hub(reading, registry)
            previewer = self._previewer()
            served = self._app(health, cache, reading, hub, previewer, registry)
            loops += [*self._api_loops(served, cache, hub), self._burials.loop]
        if Role.COLLECTOR in self._roles:
            collecting = self._collecting(registry)
            collecting.collector.limit(self._quota_of)
            collecting.followers.limit(self._quota_of)
            loops += collecting.loops
        return Service(
            loops=loops,
            checks=checks,
            health=health,
            databases=(self._database, self._intake_database),
            app=served,
            collecting=collecting,
            previewer=previewer,
            looks=self._looks,
        )

    def _collecting(self, registry: CollectorRegistry) -> Collecting:
        shells = {name: AccountShells(cluster, self._open_shell) for name, cluster in self._clusters.items()}
        terms = Terms(
            interval_s=self._settings.retention_interval_s,
            delay_s=self._settings.retention_delay_s,
            grace_s=self._settings.sweep_grace_s,
        )
        press = Press(
            workers=self._settings.render_workers,
            timeout_s=self._settings.render_timeout_s,
            memory_bytes=self._settings.render_memory_bytes,
            max_bytes=self._settings.max_rendered_bytes,
        )
        return Collecting(
            collector=Collector(
                self._database,
                self._blobs,
                self._clusters,
                shells,
                renderer=RENDERER,
                pace=Pace(lease_s=self._settings.collection_lease_s),
                registry=registry,
            ),
            followers=following.Followers(
                self._database,
                self._blobs,
                self._clusters,
                shells,
                renderer=RENDERER,
                grace_s=self._settings.sweep_grace_s,
                pace=following.Pace(lease_s=self._settings.collection_lease_s),
            ),
            renderer=Renderer(Documents(self._database, RENDERER), self._blobs, press),
            keeper=Keeper(self._database, self._blobs, self._clusters, terms, registry),
            press=press,
            shells=shells,
        )

    def _quota_of(self, owner: str) -> int | None:
        return self._access_file.now().quotas.of(owner)

    def _hub(self, reading: Reading, registry: CollectorRegistry) -> Hub:
        settings = self._settings
        tempo = Tempo(
            spacing_s=settings.live_spacing_s,
            heartbeat_s=settings.live_heartbeat_s,
            max_waiting_bytes=settings.live_waiting_bytes,
        )
        return Hub(Updates(self._database), reading.clusters, Telling(self._bounds), tempo, LiveMetrics(registry))

    def _previewer(self) -> Previewer:
        settings = self._settings
        workers = Workers(
            count=settings.preview_workers,
            timeout_s=settings.preview_timeout_s,
            memory_bytes=settings.preview_memory_bytes,
        )
        return Previewer(self._blobs, workers, wait_s=settings.preview_wait_s)

    def _app(
        self,
        health: Health,
        cache: Cache,
        reading: Reading,
        hub: Hub,
        previewer: Previewer,
        registry: CollectorRegistry,
    ) -> App:
        settings = self._settings
        tokens_file = Path(settings.tokens_file)
        key = read_key(tokens_file.with_name(f"{tokens_file.name}.session-key"))
        tokens = Tokens(tokens_file)
        sessions = Sessions(key, days=settings.session_days, is_secure=settings.url.startswith("https://"))
        parts = Parts(
            reading=reading,
            creating=Creating(self._database, cache, self._clusters),
            pins=Pins(self._database, cache),
            opening=Opening(self._database, cache),
            share_links=ShareLinks(self._database, cache),
            blobs=self._blobs,
            previewer=previewer,
            clusters=frozenset(self._clusters),
            login_codes=LoginCodes(self._database),
            access=open_access(
                self._database,
                cache,
                tokens,
                sessions,
                self._access_file.now,
                Own(url=settings.url, token_max_days=settings.token_max_days, clusters=self._clusters),
            ),
            audit=Audit(self._database),
            administering=Administering(self._database),
            collections=Collections(self._database),
            holdings=Holdings(self._database),
            burials=self._burials,
            requests=Requests(registry),
            budgets={name: cluster.commands_per_minute for name, cluster in self._clusters.items()},
            noting=Noting(self._looks, has_own=settings.audit_own_reads),
            health=health,
            max_inline=MaxInline(size_bytes=settings.max_inline_html_bytes),
            bus_fault=lambda: self._bus.fault,
            bounds=self._bounds,
            hub=hub,
            archive_limits=Limits(
                at_once=settings.archives_at_once,
                each=settings.archives_each,
                wait_s=settings.archive_wait_s,
                stalled_after_s=settings.archive_stalled_s,
            ),
            stream_limits=StreamLimits(
                at_once=settings.streams_at_once,
                each=settings.streams_each,
                stalled_after_s=settings.stream_stalled_s,
            ),
        )
        return app.build(parts, _rules(settings))

    @property
    def _bounds(self) -> Bounds:
        settings = self._settings
        return Bounds(silent_after_s=settings.cluster_silent_after_s, unseen_after_s=settings.cluster_unseen_after_s)

    def _api_loops(self, served: App, cache: Cache, hub: Hub) -> list[Loop]:
        intake = Intake(self._bus, Applying(self._intake_database, self._clusters))
        listener = Listener(self._database, cache, hub)

        async def answer() -> None:
            await serve(served, self._settings.listen_host, self._settings.listen_port)

        return [
            Loop(name="outputs.http", step=answer, interval_s=1.0, is_server=True),
            Loop(name="outputs.intake", step=intake.step, interval_s=1.0, is_server=True),
            Loop(name="outputs.changes", step=listener.step, interval_s=1.0, is_server=True),
            Loop(name="outputs.live", step=hub.step, interval_s=1.0, is_server=True),
            Noted(hub, Watching(self._database)).loop,
            self._looks.loop,
            Audit(self._database).pruning(keep_days=self._settings.audit_keep_days),
            *Inbox(INBOX).loops(self._database),
        ]

    async def _count_dead(self) -> Mapping[str, int]:
        """RabbitMQ knows of both services' queues; without it, dead letters lie in our database."""
        if isinstance(self._bus, AmqpBus):
            return await self._bus.count_dead(QUEUES)
        return await Administering(self._database).count_buried()

    async def _check_database(self) -> str | None:
        return await migrating.fault(self._database, MIGRATIONS)

    async def _check_clusters(self) -> str | None:
        if await self._check_database():
            return None
        left = await Collections(self._database).unserved(self._clusters)
        if not left:
            return None
        named = ", ".join(f"{count} on '{name}'" for name, count in sorted(left.items()))
        return f"nobody collects the outputs of {named}: put the cluster back into the clusters file"


def _rules(settings: Settings) -> Rules:
    """Our names: those that are set, and the one by which people are told to reach us."""
    own = (name for name in (urlsplit(settings.url).hostname, *settings.allowed_hosts) if name)
    return Rules(
        allowed_hosts=frozenset(f"[{name}]" if ":" in name and name[0] != "[" else name.lower() for name in own),
        cors_origins=frozenset(origin.rstrip("/").encode() for origin in settings.cors_origins),
        addresses=Addresses(settings.trusted_proxies),
    )
