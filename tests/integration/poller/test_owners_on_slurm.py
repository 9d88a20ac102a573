"""Jobs that run as their owners: the whole poller on real Slurm, through real sshd, by real sudo."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripthut_common.clusters import AsWhom, Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import CloudEvent, ItemEvent, RunCompleted, Type
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.house import House, running, write_clusters
from tests.integration.poller.told import part_of_run, request
from tests.testbed import sudoers
from tests.testbed.accounts import ALICE, BOB, SERVICE
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd
from tests.testbed.sudoers import Installed

pytestmark = pytest.mark.usefixtures("with_sudo")


@pytest.fixture
def installed(slurm: SlurmCluster) -> Iterator[Installed]:
    """Our program, which the service may run as Alice and Bob, and not as Carol."""
    with sudoers.installed(SERVICE, [ALICE, BOB]) as there:
        there.set_environment(**slurm.environment)
        yield there


@pytest.fixture
def there(sshd: Sshd, installed: Installed, tmp_path: Path) -> Cluster:
    return Cluster(
        scheduler=SchedulerKind.SLURM,
        name="here",
        host=sshd.host,
        port=sshd.port,
        user=SERVICE,
        key_file=str(sshd.key(SERVICE)),
        known_hosts_file=str(sshd.known_hosts),
        log_dir=f"~/{tmp_path.name}",
        poll_interval_s=1.0,
        commands_per_minute=240,
        connect_timeout_s=5.0,
        as_whom=AsWhom.SUDO,
        sudo_program=str(installed.program),
    )


@pytest.fixture
def clusters_file(there: Cluster, tmp_path: Path) -> Path:
    return write_clusters(tmp_path / "clusters.toml", there)


@pytest.fixture
def run_id() -> str:
    return f"r{os.urandom(5).hex()}"


async def ask(house: House, run_id: str, account: str | None, *wanted: TaskSpec, **more: Any) -> None:
    part = part_of_run(wanted, run_id=run_id, account=account, log_dir=None, **more)
    await house.bus.publish(request(part))


def home_of(account: str) -> Path:
    return Path(pwd.getpwnam(account).pw_dir)


def seen_of(path: Path) -> tuple[str, str, str]:
    """Give what a file says, whose it is, and whose its directory is."""
    return path.read_text(), path.owner(), path.parent.owner()


def end_of(run_id: str) -> Any:
    return lambda told: told.type is Type.RUN_COMPLETED and told.data.run_id == run_id


def ends(house: House, run_id: str) -> dict[str, ItemEvent]:
    told = [one.data for one in house.told if one.type is Type.ITEM_COMPLETED]
    return {one.task_id: one for one in told if isinstance(one, ItemEvent) and one.run_id == run_id}


def is_end(told: CloudEvent) -> bool:
    return isinstance(told.data, RunCompleted)


async def test_each_owners_job_runs_as_them_in_a_home_that_nobody_else_enters(
    database: Database, database_uri: str, clusters_file: Path, run_id: str
) -> None:
    owners = {f"{run_id}a": ALICE, f"{run_id}b": BOB}
    for account in owners.values():
        home_of(account).chmod(0o700)

    async with running(database_uri, clusters_file) as house:
        for run, account in owners.items():
            await ask(house, run, account, TaskSpec(id="t", command='id -un > "$SCRIPTHUT_OUTPUT_DIR/who"; exit 3'))
        for run in owners:
            await house.until(end_of(run))

        for run, account in owners.items():
            end = ends(house, run)["t"]
            assert seen_of(Path(end.output_dir, "who")) == (f"{account}\n", account, account)
            assert end.output_dir.startswith(f"{home_of(account)}/")
        assert await house.faults() == {}
