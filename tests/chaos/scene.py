"""Where a storm takes place: two clusters, the services, ways that can be cut, a disk that fills."""

import os
import pwd
import random
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import psycopg

from tests.chaos import breaking, leaks, work
from tests.chaos.breaking import Act, Word
from tests.chaos.leaks import Held
from tests.chaos.tapping import Tap
from tests.chaos.work import LOCAL, SLURM, Folders, Work
from tests.testbed import disks, warden
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.delay import DelayedPort
from tests.testbed.disks import FolderDisk, SmallDisk
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import Daemon, ServerError
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair, slurm_over
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_ENVIRONMENT_SCRIPT = Path(__file__).parents[2] / "deploy" / "scripthut-env.sh"
_DISK_BYTES = 256 * disks.MIB
_LONGER_THAN_LEASES_S = 32.0
_PATIENCE = {"young_s": 5}
_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Servers(msgspec.Struct, frozen=True, kw_only=True):
    """The servers that a storm breaks; an empty database and an empty virtual host of them."""

    slurm: SlurmCluster
    sshd: Sshd
    rabbitmq: RabbitMq
    postgres: PostgresServer
    database_uri: str
    amqp_uri: str


class Scene:
    """The services at work.

    Attributes:
        servers: below them.
        works: the runs that are to be done.
        pair: the services.
        tap: hears everything from the first moment.
        blobs_dir: on the disk that fills.
        environment_script: what scripts by hand source, where every account can read it.
    """

    def __init__(self, servers: Servers, dice: random.Random, items: int) -> None:
        self.servers = servers
        self._name = f"chaos-{secrets.token_hex(4)}"
        self._stack = ExitStack()
        try:
            self._start(dice, items)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        """Give the running scene."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the services and remove what was written."""
        self._stack.close()

    def more_work(self, word: str, dice: random.Random) -> list[Work]:
        """Plan one small run on each cluster."""
        return work.small(dice, f"{self._name}-{word}", self._folders)

    def daemons(self) -> dict[str, Daemon]:
        """What must answer when nothing is broken, by name."""
        ways = {name: way.daemon for name, way in self._ways.items()}
        return {"RabbitMQ": self.servers.rabbitmq.daemon, **self._whole, **ways, **self.pair.daemons}

    def acts(self) -> list[Act]:
        """Give everything that can be done to it."""
        rabbitmq = self.servers.rabbitmq
        killing = msgspec.structs.replace(
            breaking.killing_all_of("RabbitMQ", rabbitmq.daemon), begin=rabbitmq.kill, needs_answer=True
        )
        return [
            killing,
            *(breaking.killing_all_of(name, daemon) for name, daemon in self._whole.items()),
            *(breaking.killing(name, daemon) for name, daemon in self.pair.daemons.items()),
            breaking.pausing("RabbitMQ", rabbitmq.daemon),
            *(breaking.pausing(name, daemon) for name, daemon in (self._whole | self.pair.daemons).items()),
            *self.cuts(),
            Act(part="the disk for blobs", word=Word.FILL, begin=self._disk.fill, end=self._disk.free),
        ]

    def long_pauses(self) -> list[Act]:
        """Give what makes a collector hang until its leases are over and the other one has taken its work."""
        collectors = self.pair.collectors.items()
        return [breaking.pausing(name, daemon, _LONGER_THAN_LEASES_S) for name, daemon in collectors]

    def cuts(self) -> list[Act]:
        """Give the ways to cut what is connected."""
        ways = [breaking.cutting(name, way.daemon) for name, way in self._ways.items()]
        return [*ways, Act(part="PostgreSQL", word=Word.CUT, begin=self._cut_database, end=lambda: None)]

    def held(self) -> Held:
        """Count what the services hold open."""
        return leaks.look(self.pair, self.servers.database_uri, self.servers.rabbitmq, self._vhost, self.servers.sshd)

    def strays(self) -> set[leaks.Process]:
        """Find processes that nobody cares for, ours and those on the cluster."""
        return leaks.strays_of(self.pair) | leaks.strays_on(self.servers.slurm)

    def _start(self, dice: random.Random, items: int) -> None:
        servers, enter = self.servers, self._stack.enter_context
        self._whole = {"PostgreSQL": servers.postgres.daemon, "sshd": servers.sshd.daemon}
        self._ways = {
            "the way to sshd": enter(DelayedPort(servers.sshd.port, 0)),
            "the way to RabbitMQ": enter(DelayedPort(servers.rabbitmq.port, 0)),
        }
        room = Path(enter(tempfile.TemporaryDirectory(prefix=f"{self._name}-", dir="/tmp")))
        room.chmod(0o755)
        self._stack.callback(_end_all_that_names, room)
        self.environment_script = Path(shutil.copy(_ENVIRONMENT_SCRIPT, room))
        bobs = enter(_folders_of_bob(self._name))
        at_alice = servers.slurm.directory_of(ALICE) / self._name
        self._folders = {SLURM: _folders(at_alice, ALICE), LOCAL: _folders(room / LOCAL)}
        self.works = work.plan(dice, items, self._name, self._folders, bobs)
        self._disk = enter(_disk(room))
        self.blobs_dir = self._disk.path / "blobs"
        self._vhost = servers.amqp_uri.rpartition("/")[2]
        self.pair = enter(self._pair(room, bobs.log_dir))
        for user in (ALICE, BOB):
            self._stack.callback(servers.slurm.run, "scancel", f"--user={user}")
        self.tap = Tap(servers.rabbitmq.vhosts, servers.amqp_uri)

    def _pair(self, room: Path, adopt_log_dir: Path) -> Pair:
        port = self._ways["the way to RabbitMQ"].port
        return Pair(
            database_uri=self.servers.database_uri,
            amqp_uri=self.servers.amqp_uri.replace(f":{self.servers.rabbitmq.port}/", f":{port}/"),
            clusters={SLURM: self._slurm(room, adopt_log_dir), LOCAL: self._local()},
            blobs_dir=self.blobs_dir,
            collectors=2,
        )

    def _slurm(self, room: Path, adopt_log_dir: Path) -> dict[str, Any]:
        sshd, port = self.servers.sshd, self._ways["the way to sshd"].port
        known_hosts = room / "known_hosts"
        known_hosts.write_text(sshd.known_hosts.read_text().replace(f":{sshd.port} ", f":{port} "))
        return slurm_over(
            sshd,
            self.servers.slurm,
            port=port,
            known_hosts_file=str(known_hosts),
            log_dir=str(self._folders[SLURM].log_dir),
            connect_timeout_s=5,
            command_timeout_s=30,
            submission_timeout_s=20,
            transfer_timeout_s=60,
            commands_per_minute=600,
            adopt=[BOB],
            adopt_log_dir=str(adopt_log_dir),
            adopt_interval_s=3,
            patience=_PATIENCE,
        )

    def _local(self) -> dict[str, Any]:
        log_dir = str(self._folders[LOCAL].log_dir)
        pace = {"poll_interval_s": 1, "commands_per_minute": 600, "patience": _PATIENCE}
        return {"scheduler": "localhost", "log_dir": log_dir} | pace

    def _cut_database(self) -> None:
        with psycopg.connect(self.servers.database_uri) as connection:
            connection.execute(_CUT)


def _folders(folder: Path, owner: str | None = None) -> Folders:
    """Make the folder of one cluster."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    for made in (folder, notes):
        if owner is not None:
            os.chown(made, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)
    return Folders(notes=notes, log_dir=folder / "scripthut")


def _end_all_that_names(room: Path) -> None:
    """End whatever was started for this folder and outlives the services, as the cluster on this machine does."""
    named = {
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if os.fsencode(room) in leaks.command_of(int(entry.parent.name))
    }
    warden.kill_all(named | warden.descendants(named))


@contextmanager
def _folders_of_bob(name: str) -> Iterator[Folders]:
    """Make folders in Bob's home, which others may look into, and remove them."""
    folder = Path(pwd.getpwnam(BOB).pw_dir) / name
    folder.parent.chmod(0o755)
    try:
        yield _folders(folder, BOB)
    finally:
        shutil.rmtree(folder)


@contextmanager
def _disk(room: Path) -> Iterator[SmallDisk | FolderDisk]:
    try:
        disk = SmallDisk(_DISK_BYTES)
    except ServerError:
        yield FolderDisk(room / "disk")
        return
    with disk:
        yield disk
