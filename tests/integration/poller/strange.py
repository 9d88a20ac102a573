"""A login node whose commands behave strangely on request: slow, deaf, killed, forgetful, with a clock of their own."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from scripthut_common.clusters import Cluster, Patience
from scripthut_common.events import CloudEvent, ItemEvent, Outcome, Type
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.house import House, running, write_clusters
from tests.integration.poller.told import part_of_run, request
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_REAL = "/usr/bin"
SHORT = Patience(young_s=1.0, unregistered_s=4.0, settling_s=4.0, correcting_s=60.0, asking_again_s=2.0)


class StrangeLogin(Sshd):
    """An SSH server before a Slurm cluster; what `becomes` puts in the place of a command stands first in PATH."""

    def __init__(self, slurm: SlurmCluster) -> None:
        """Start the server; everything is as usual at first."""
        self._bin = slurm.directory / f"strange-{secrets.token_hex(4)}"
        self._bin.mkdir(mode=0o755)
        super().__init__({**slurm.environment, "PATH": f"{self._bin}:{_REAL}:/bin"})

    def becomes(self, command: str, text: str) -> None:
        """Run this sh text in the place of a command from now on; `real` in it is the command itself."""
        script = self._bin / f"{command}.new"
        script.write_text(f'#!/bin/sh\nreal() {{ {_REAL}/{command} "$@"; }}\n{text}\n')
        script.chmod(0o755)
        script.rename(self._bin / command)

    def is_itself(self, command: str) -> None:
        """Have the command back."""
        (self._bin / command).unlink()


class Turnstile:
    """Counts how often a command is run, and whether it ever was while it still ran.

    Args:
        folder: a new one, which every account may write to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        folder.chmod(0o777)

    def around(self, text: str) -> str:
        """Put the counting around sh text; a command that was killed does not count as running."""
        return f"""
cd {self._folder} || exit
echo ran >> runs
for other in [0-9]*; do
    [ ! -e "$other" ] || ! kill -0 "$other" 2> /dev/null || echo "$other" >> overlaps
done
: > $$
{text}
status=$?
rm -f $$
exit $status"""

    @property
    def runs(self) -> int:
        """How often it ran."""
        return self._count("runs")

    @property
    def overlaps(self) -> int:
        """How often it ran while it ran."""
        return self._count("overlaps")

    @property
    def is_turning(self) -> bool:
        """Whether it runs now."""
        return any(self._folder.glob("[0-9]*"))

    def _count(self, name: str) -> int:
        path = self._folder / name
        return len(path.read_text().split()) if path.exists() else 0


class Watch:
    """One strange cluster, and a run on it."""

    def __init__(self, login: StrangeLogin, cluster: Cluster, database_uri: str, folder: Path) -> None:
        self.login = login
        self.cluster = cluster
        self.run_id = f"r{secrets.token_hex(4)}"
        self.house: House
        self._database_uri = database_uri
        self._folder = folder

    @asynccontextmanager
    async def poller(self, patience: Patience = SHORT, beside: Sequence[Cluster] = ()) -> AsyncIterator[House]:
        """Have a poller watch this cluster, and others beside it."""
        cluster = msgspec.structs.replace(self.cluster, patience=patience)
        clusters_file = write_clusters(self._folder / "clusters.toml", cluster, *beside)
        async with running(self._database_uri, clusters_file) as self.house:
            yield self.house

    def another(self) -> "Watch":
        """One more run on the same cluster, for the poller that watches it."""
        other = Watch(self.login, self.cluster, self._database_uri, self._folder)
        other.house = self.house
        return other

    async def ask(self, **commands: str) -> None:
        """Ask for a run with these tasks; each waits for its gate before its command."""
        wanted = [
            TaskSpec(id=id_, command=f"{self._notes(id_)}; until [ -e {self._gate(id_)} ]; do sleep 0.1; done; {then}")
            for id_, then in commands.items()
        ]
        part = part_of_run(wanted, run_id=self.run_id, log_dir=self.cluster.log_dir)
        await self.house.bus.publish(request(part))

    async def started(self, task_id: str = "t") -> None:
        await self.house.until(lambda one: self._is(one, task_id, Type.ITEM_STARTED))

    async def ended(self, task_id: str = "t", revision: int = 0, within_s: float = 60) -> ItemEvent:
        """Wait for a verdict of at least this revision."""

        def is_told(one: CloudEvent) -> bool:
            is_end = self._is(one, task_id, Type.ITEM_COMPLETED)
            return is_end and isinstance(one.data, ItemEvent) and one.data.revision >= revision

        told = await self.house.until(is_told, within_s=within_s)
        assert isinstance(told.data, ItemEvent)
        return told.data

    async def confirmed(self, task_id: str = "t", within_s: float = 60) -> ItemEvent:
        """Wait for a verdict that the scheduler has confirmed."""

        def is_told(one: CloudEvent) -> bool:
            is_of_it = one.subject == f"{self.run_id}/{task_id}"
            return is_of_it and isinstance(one.data, ItemEvent) and one.data.confirmed

        told = await self.house.until(is_told, within_s=within_s)
        assert isinstance(told.data, ItemEvent)
        return told.data

    def verdicts(self, task_id: str = "t") -> list[tuple[Outcome | None, int]]:
        return [
            (one.data.outcome, one.data.revision)
            for one in self.house.told
            if self._is(one, task_id, Type.ITEM_COMPLETED) and isinstance(one.data, ItemEvent)
        ]

    def open_gate(self, task_id: str = "t") -> None:
        self._gate(task_id).touch()

    def executions(self, task_id: str = "t") -> int:
        return len(Path(self.cluster.log_dir, f"{self.run_id}.{task_id}.ran").read_text().split())

    def has_record(self, task_id: str = "t") -> bool:
        return Path(self.cluster.log_dir, "outputs", self.run_id, "_run", f"{task_id}.manifest").exists()

    def _is(self, told: CloudEvent, task_id: str, type_: Type) -> bool:
        return told.type is type_ and told.subject == f"{self.run_id}/{task_id}"

    def _gate(self, task_id: str) -> Path:
        return Path(self.cluster.log_dir, f"{self.run_id}.{task_id}.go")

    def _notes(self, task_id: str) -> str:
        return f"echo ran >> {self.cluster.log_dir}/{self.run_id}.{task_id}.ran"
