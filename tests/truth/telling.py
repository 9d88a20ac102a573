"""Have everything end at once on several real clusters, and put together what Slurm says and what we say."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from scripthut_common import migrating
from scripthut_common.bus import message_of
from scripthut_common.clusters import Cluster, Patience
from scripthut_common.database import Database
from scripthut_common.events import CloudEvent, ItemEvent, ItemState, RunRequested, Type, event
from scripthut_common.shell.ssh import SshShell
from scripthut_poller.migrations import MIGRATIONS
from tests.integration.poller.faulty import FaultyShell
from tests.integration.poller.house import House, running, write_clusters
from tests.testbed.accounts import ALICE
from tests.testbed.slurm import SlurmCluster
from tests.truth import endings, outages
from tests.truth.endings import Ending
from tests.truth.outages import Script
from tests.truth.scene import Scene, Site, site

_WITHIN_S = 150.0
_STARTING_AT_ONCE = 3
_SHORT = Patience(settling_s=15.0, unregistered_s=15.0, young_s=5.0)
_HIERARCHIES = tuple(Path("/sys/fs/cgroup", name) for name in ("memory", "freezer"))
_CGROUP = "CgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\nConstrainSwapSpace=yes\nAllowedSwapSpace=0\n"
_BY_CGROUP = "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\n"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict of ours, and how long after the job's end it came; `None` where the end was not seen."""

    item: ItemEvent
    after_s: float | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One way to end: what Slurm says of it, and all verdicts that we published, the last one last."""

    ending: Ending
    queue: str
    accounting: str
    said: tuple[Said, ...]

    @property
    def last(self) -> ItemEvent | None:
        """How the item stands in the end."""
        return self.said[-1].item if self.said else None


def lacking_for_memory() -> str:
    """Say why no job can be ended for want of memory here; empty when one can."""
    if all(path.is_dir() and os.access(path, os.W_OK) for path in _HIERARCHIES):
        return ""
    return "Slurm 22.05 bounds memory by cgroup v1 (memory, freezer), which is not mounted or not writable here"


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster of the table: how to start it, what ends there, and what happens to it."""

    name: str
    start: Callable[[], SlurmCluster]
    endings: Sequence[Ending]
    script: Script = outages.nothing
    patience: Patience = Patience()
    command_timeout_s: float = 60.0
    partition: str | None = None


def _plans() -> list[_Plan]:
    named = f"m{secrets.token_hex(3)}x"
    plans = [
        _Plan(
            name="calm",
            start=lambda: SlurmCluster(nodes=endings.NODES, extra=endings.PARTITIONS),
            endings=endings.CALM,
            patience=_SHORT,
            partition="calm",
        ),
        _Plan(
            name="accounting",
            start=SlurmCluster,
            endings=outages.ACCOUNTING,
            script=outages.accounting_goes_away,
            patience=_SHORT,
        ),
        _Plan(name="controller", start=SlurmCluster, endings=outages.CONTROLLER, script=outages.controller_goes_away),
        _Plan(name="hung", start=SlurmCluster, endings=outages.HUNG, script=outages.controller_hangs),
        _Plan(
            name="accounting-hung",
            start=SlurmCluster,
            endings=outages.ACCOUNTING_HUNG,
            script=outages.accounting_hangs,
            patience=_SHORT,
            command_timeout_s=4.0,
        ),
        _Plan(
            name="bare",
            start=lambda: SlurmCluster(keeps_accounts=False),
            endings=outages.BARE,
            script=outages.bare,
            patience=_SHORT,
        ),
    ]
    if not lacking_for_memory():
        start = lambda: SlurmCluster(nodes=1, named=named, extra=_BY_CGROUP, cgroup=_CGROUP)  # noqa: E731
        plans.append(_Plan(name="memory", start=start, endings=endings.MEMORY))
    return plans


async def tell(database_uri: str, folder: Path) -> list[Row]:
    """Run the whole table and return its rows.

    Args:
        database_uri: of an empty database.
        folder: for the clusters file.
    """
    database = Database(database_uri)
    await migrating.upgrade(database, MIGRATIONS)
    await database.close()
    plans = _plans()
    with _started(plans) as sites:
        clusters_file = write_clusters(folder / "clusters.toml", *(one.cluster for one in sites))
        shells: dict[str, FaultyShell] = {}

        def open_shell(cluster: Cluster) -> FaultyShell:
            shells[cluster.name] = FaultyShell(SshShell(cluster))
            return shells[cluster.name]

        async with running(database_uri, clusters_file, open_shell) as house, _witnessed(sites):
            told = await asyncio.gather(
                *(_play(house, plan, one, shells[one.name]) for plan, one in zip(plans, sites, strict=True))
            )
    return [row for rows in told for row in rows]


@contextmanager
def _started(plans: Sequence[_Plan]) -> Iterator[list[Site]]:
    """Start all clusters, some at a time; end and clean up behind all of them."""
    with ExitStack() as stack:
        with ThreadPoolExecutor(_STARTING_AT_ONCE) as pool:
            starting = [pool.submit(plan.start) for plan in plans]
        for one in starting:
            if one.exception() is None:
                stack.enter_context(one.result())
        clusters = [one.result() for one in starting]
        yield [
            stack.enter_context(
                site(
                    plan.name,
                    slurm,
                    plan.patience,
                    command_timeout_s=plan.command_timeout_s,
                    partition=plan.partition,
                )
            )
            for plan, slurm in zip(plans, clusters, strict=True)
        ]


@asynccontextmanager
async def _witnessed(sites: Sequence[Site]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(one.witness.watch()) for one in sites]
        yield
        for watch in watches:
            watch.cancel()


async def _play(house: House, plan: _Plan, where: Site, shell: FaultyShell) -> list[Row]:
    """Ask for the runs of one site, do what is to be done to their jobs, and read how they ended."""
    together = [ending for ending in plan.endings if not ending.is_alone]
    casts = [together, *([ending] for ending in plan.endings if ending.is_alone)]
    scenes = [(Scene(house, where, shell), cast) for cast in casts]
    async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
        for scene, cast in scenes:
            await _ask(scene, cast)
            for ending in cast:
                if ending.act is not None:
                    group.create_task(ending.act(scene, ending.id))
        group.create_task(plan.script(scenes[0][0]))
        for scene, cast in scenes:
            for ending in cast:
                group.create_task(_settled(scene, ending))
    return [await _row(scene, ending) for scene, cast in scenes for ending in cast]


async def _ask(scene: Scene, cast: Sequence[Ending]) -> None:
    await scene.run("mkdir", "-p", str(scene.log_dir), user=ALICE)
    for ending in cast:
        if ending.prepare is not None:
            await ending.prepare(scene, ending.id)
    wanted = RunRequested(
        run_id=scene.run_id,
        part=0,
        parts=1,
        document_sha256="0" * 64,
        owner="ada",
        run_name="the truth",
        cluster=scene.site.name,
        log_dir=str(scene.log_dir),
        first_position=0,
        tasks=tuple(ending.task(scene) for ending in cast),
    )
    told = event(Type.RUN_REQUESTED, wanted, source="/test", at=datetime.now(UTC))
    await scene.house.bus.publish(message_of(told))


async def _settled(scene: Scene, ending: Ending) -> None:
    """Wait until the last word is as sure as it should become; a wrong one is for the table to show."""
    subject = f"{scene.run_id}/{ending.id}"

    def is_settled(told: CloudEvent) -> bool:
        if told.subject != subject or not isinstance(told.data, ItemEvent):
            return False
        return told.data.state is ItemState.FINAL and (told.data.confirmed or not ending.expected.confirmed)

    with suppress(TimeoutError):
        await scene.house.until(is_settled, within_s=_WITHIN_S - 30)


async def _row(scene: Scene, ending: Ending) -> Row:
    verdicts = [
        one
        for one in scene.told(ending.id, Type.ITEM_COMPLETED, Type.ITEM_CHANGED)
        if isinstance(one.data, ItemEvent) and one.data.state is ItemState.FINAL
    ]
    job_id = next((one.data.job_id for one in verdicts if isinstance(one.data, ItemEvent)), None)
    glance = scene.site.witness.seen.get(job_id or "")
    ended_at = _ended_at(scene, ending, glance.gone_at if glance else None)
    said = [
        Said(item=one.data, after_s=None if ended_at is None else one.time.timestamp() - ended_at)
        for one in verdicts
        if isinstance(one.data, ItemEvent)
    ]
    return Row(
        ending=ending,
        queue="" if glance is None else glance.word,
        accounting=await _accounting(scene, job_id),
        said=tuple(said),
    )


def _ended_at(scene: Scene, ending: Ending, gone_at: float | None) -> float | None:
    """When it ended: its exit record tells to the millisecond, else squeue has shown it."""
    try:
        return scene.record(ending.id).stat().st_mtime
    except OSError:
        return gone_at


async def _accounting(scene: Scene, job_id: str | None) -> str:
    if job_id is None:
        return ""
    if not scene.site.slurm.keeps_accounts:
        return "(off)"
    told = await scene.run("sacct", "-n", "-X", "-P", "-D", "-j", job_id, "-o", "State,ExitCode")
    return ", ".join(" ".join(line.split("|")) for line in told.splitlines())
