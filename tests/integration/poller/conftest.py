"""A migrated schema for every test of the poller, and a cluster on this machine."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_poller.migrations import MIGRATIONS
from tests.integration.poller.bench import Bench
from tests.integration.poller.slurm_bed import Bed, slurm_bed
from tests.integration.poller.trying_out import TryingOut
from tests.testbed.databases import Databases, migrated, name_of
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd


@pytest.fixture(scope="session")
def database_template(databases: Databases) -> Iterator[str]:
    """Migrated once for all."""
    with migrated(databases, MIGRATIONS) as uri:
        yield name_of(uri)


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    """An empty watchlist."""
    database = Database(database_uri)
    yield database
    await database.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Cluster]:
    """The cluster without a scheduler; what it started is gone when the test ends."""
    yield Cluster(
        scheduler=SchedulerKind.LOCALHOST,
        name="here",
        log_dir=str(tmp_path / "logs"),
        spool_dir=str(tmp_path / "spool"),
        poll_interval_s=1.0,
        commands_per_minute=240,
    )
    _end_processes_of(tmp_path)


@pytest.fixture
async def bench(database: Database, here: Cluster, tmp_path: Path) -> Bench:
    bench = Bench(database, here, tmp_path)
    await bench.lease.step()
    return bench


@pytest.fixture
async def tryout(tmp_path: Path) -> AsyncIterator[TryingOut]:
    """A cluster without a scheduler, asked directly."""
    tryout = TryingOut(tmp_path)
    yield tryout
    await tryout.close()


@pytest.fixture
async def bed(slurm: SlurmCluster, sshd: Sshd) -> AsyncIterator[Bed]:
    """Real Slurm over real sshd, asked directly."""
    async with slurm_bed(slurm, sshd) as opened:
        yield opened


def _end_processes_of(folder: Path) -> None:
    """End supervisors and jobs that name a test's own folder."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                for one in (*process.children(recursive=True), process):
                    one.kill()
