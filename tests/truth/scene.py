"""Where an ending happens: one real Slurm cluster, the poller that watches it, and a witness beside both."""

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common import layout
from scripthut_common.clusters import Cluster, Patience, SchedulerKind
from scripthut_common.events import CloudEvent, ItemEvent, Type
from tests.integration.poller.faulty import FaultyShell
from tests.integration.poller.house import House
from tests.testbed.accounts import ALICE
from tests.testbed.processes import ServerError
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_LOOK_EVERY_S = 0.3
_ALIVE = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"}


class Glance(msgspec.Struct, kw_only=True):
    """What squeue said of one job, ended jobs included: its last word, and since when it is not alive."""

    word: str
    gone_at: float | None


class Witness:
    """Asks squeue again and again, from beside the poller, with no part in what that concludes."""

    def __init__(self, slurm: SlurmCluster) -> None:
        self.seen: dict[str, Glance] = {}
        self._slurm = slurm

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                told = await asyncio.to_thread(self._slurm.run, "squeue", "-a", "-h", "-t", "all", "-o", "%i|%T")
            except ServerError:
                told = None
            if told is not None:
                self._note(dict(line.split("|") for line in told.splitlines()), time.time())
            await asyncio.sleep(_LOOK_EVERY_S)

    def _note(self, words: dict[str, str], now: float) -> None:
        for job_id, word in words.items():
            glance = self.seen.setdefault(job_id, Glance(word=word, gone_at=None))
            glance.word = word
            glance.gone_at = None if word in _ALIVE else glance.gone_at or now
        for job_id in self.seen.keys() - words.keys():
            self.seen[job_id].gone_at = self.seen[job_id].gone_at or now


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster of the table: its servers, and how the poller is told of it."""

    cluster: Cluster
    slurm: SlurmCluster
    witness: Witness
    partition: str | None = None

    @property
    def name(self) -> str:
        """What the poller calls it."""
        return self.cluster.name


@contextmanager
def site(
    name: str, slurm: SlurmCluster, patience: Patience, *, command_timeout_s: float, partition: str | None = None
) -> Iterator[Site]:
    """Put a login node before a running cluster; tasks that name no partition go to this one."""
    with Sshd(slurm.environment) as sshd:
        cluster = Cluster(
            scheduler=SchedulerKind.SLURM,
            name=name,
            host=sshd.host,
            port=sshd.port,
            user=ALICE,
            key_file=str(sshd.key(ALICE)),
            known_hosts_file=str(sshd.known_hosts),
            log_dir=str(slurm.directory_of(ALICE) / "logs"),
            poll_interval_s=1.0,
            command_timeout_s=command_timeout_s,
            patience=patience,
        )
        yield Site(cluster=cluster, slurm=slurm, witness=Witness(slurm), partition=partition)


class Scene:
    """One run on one site, with what may be done to its jobs from outside."""

    def __init__(self, house: House, site: Site, shell: FaultyShell) -> None:
        self.house = house
        self.site = site
        self.shell = shell
        self.run_id = f"{site.name}-{secrets.token_hex(4)}"

    @property
    def log_dir(self) -> Path:
        """Where its logs and records lie; root may look there."""
        return Path(self.site.cluster.log_dir)

    def told(self, task_id: str, *types: Type) -> list[CloudEvent]:
        """What the poller has said of an item."""
        subject = f"{self.run_id}/{task_id}"
        return [one for one in self.house.told if one.subject == subject and (not types or one.type in types)]

    async def job(self, task_id: str) -> str:
        """Return an item's job once it is submitted."""
        told = await self.house.until(lambda one: self._is(one, task_id, Type.ITEM_SUBMITTED))
        assert isinstance(told.data, ItemEvent)
        assert told.data.job_id is not None
        return told.data.job_id

    async def running(self, task_id: str) -> str:
        """Return an item's job once the poller has seen it running and its command has begun."""
        await self.house.until(lambda one: self._is(one, task_id, Type.ITEM_STARTED))
        claims = Path(layout.records_dir(str(self.log_dir), self.run_id), f"{task_id}.claim")
        await until(lambda: any(claims.glob("*/job")), f"{task_id} to begin")
        return await self.job(task_id)

    async def ended(self, task_id: str) -> None:
        """Wait until the poller has said how an item ended."""
        await self.house.until(lambda one: self._is(one, task_id, Type.ITEM_COMPLETED))

    async def run(self, *argv: str, user: str | None = None) -> str:
        """Run one of Slurm's commands as root or as a user."""
        return await asyncio.to_thread(self.site.slurm.run, *argv, user=user)

    async def update(self, job_id: str, *changes: str) -> None:
        """Change a job as root."""
        await self.run("scontrol", "update", f"JobId={job_id}", *changes)

    def open_gate(self, task_id: str) -> None:
        """Let a task go on that waits for its gate."""
        self.gate(task_id).touch()

    def gate(self, task_id: str) -> Path:
        """The file that a task waits for."""
        return self.log_dir / f"{self.run_id}.{task_id}.go"

    def record(self, task_id: str) -> Path:
        """Where the wrapper's exit record lies."""
        return Path(layout.records_dir(str(self.log_dir), self.run_id), f"{task_id}.manifest")

    def _is(self, told: CloudEvent, task_id: str, type_: Type) -> bool:
        return told.type is type_ and told.subject == f"{self.run_id}/{task_id}"


Act = Callable[[Scene, str], Coroutine[Any, Any, None]]


async def until(is_true: Callable[[], bool], what: str, within_s: float = 60) -> None:
    """Wait for something that sets no event.

    Raises:
        TimeoutError: it did not come; `what` is the sentence's object.
    """
    deadline = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s:g} s in vain for {what}")
        await asyncio.sleep(0.1)
