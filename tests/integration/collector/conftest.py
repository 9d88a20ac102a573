"""Scenes for every test of the collector."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.shell.local import LocalShell
from scripthut_common.shell.ssh import SshShell
from scripthut_outputs.migrations import MIGRATIONS
from tests.integration.collector.department import Department, opened
from tests.integration.collector.scene import CLUSTER, Scene
from tests.integration.collector.shells import Clock, Interrupted
from tests.testbed.accounts import ACCOUNTS, ALICE, SERVICE
from tests.testbed.databases import Databases, migrated, name_of
from tests.testbed.sshd import Sshd
from tests.testbed.sudoers import Installed, installed


@pytest.fixture(scope="session")
def database_template(databases: Databases) -> Iterator[str]:
    """Migrated once for all."""
    with migrated(databases, MIGRATIONS) as uri:
        yield name_of(uri)


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    """An empty catalog."""
    database = Database(database_uri)
    yield database
    await database.close()


@pytest.fixture
def shell() -> Interrupted:
    """This machine's shell, with something to happen between commands."""
    return Interrupted(LocalShell())


@pytest.fixture
async def scene(database: Database, tmp_path: Path, shell: Interrupted) -> AsyncIterator[Scene]:
    """Tasks on this machine."""
    scene = Scene(database, tmp_path, shell)
    yield scene
    scene.collector.close()


@pytest.fixture
def clock() -> Clock:
    """The far shell's seconds."""
    return Clock()


@pytest.fixture
async def far_scene(database: Database, own_sshd: Sshd, clock: Clock) -> AsyncIterator[Scene]:
    """Tasks of an unprivileged account behind a real sshd."""
    cluster = Cluster(
        name=CLUSTER,
        scheduler=SchedulerKind.SLURM,
        host=own_sshd.host,
        port=own_sshd.port,
        user=ALICE,
        key_file=str(own_sshd.key(ALICE)),
        known_hosts_file=str(own_sshd.known_hosts),
    )
    shell = SshShell(cluster, clock=clock)
    scene = Scene(database, own_sshd.directory / "scene", shell, owner=ALICE)
    yield scene
    scene.collector.close()
    await shell.close()


@pytest.fixture
def sudo(with_sudo: None) -> Iterator[Installed]:
    """Our program on this machine, for three owners."""
    with installed(SERVICE, ACCOUNTS) as found:
        yield found


@pytest.fixture(params=["sudo", "certificate"])
async def department(
    request: pytest.FixtureRequest, database: Database, own_sshd: Sshd, sudo: Installed
) -> AsyncIterator[Department]:
    """Three owners, read as themselves."""
    async with opened(request.param, database, own_sshd, sudo) as found:
        yield found


@pytest.fixture(params=["service", "sudo", "certificate"])
async def whichever(
    request: pytest.FixtureRequest, database: Database, own_sshd: Sshd, sudo: Installed
) -> AsyncIterator[Department]:
    """Three owners, read in each way."""
    async with opened(request.param, database, own_sshd, sudo) as found:
        yield found


@pytest.fixture
async def sudoing(database: Database, own_sshd: Sshd, sudo: Installed) -> AsyncIterator[Department]:
    """Three owners, read as themselves by sudo."""
    async with opened("sudo", database, own_sshd, sudo) as found:
        yield found


@pytest.fixture
async def shared(database: Database, own_sshd: Sshd, sudo: Installed) -> AsyncIterator[Department]:
    """Three owners whose runs one account reads."""
    async with opened("service", database, own_sshd, sudo) as found:
        yield found
