"""Slurm loses its state and counts its jobs from one again: another job with the same id says nothing of ours."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import ItemEvent, Outcome, Type
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.house import running, write_clusters
from tests.integration.poller.strange import SHORT
from tests.integration.poller.told import part_of_run, request
from tests.testbed.accounts import ALICE
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd
from tests.truth.scene import until

_OTHERS = "#!/bin/sh\nsleep 4\n"


@pytest.fixture
def own_slurm(slurm: SlurmCluster) -> Iterator[SlurmCluster]:
    """A cluster that counts from one, to be ruined; where the shared one cannot be had, this one cannot either."""
    with SlurmCluster() as cluster:
        yield cluster


async def test_another_job_with_the_same_id_is_not_taken_for_ours(
    database: Database, database_uri: str, own_slurm: SlurmCluster, tmp_path: Path
) -> None:
    with Sshd(own_slurm.environment) as login:
        cluster = Cluster(
            scheduler=SchedulerKind.SLURM,
            name="here",
            host=login.host,
            port=login.port,
            user=ALICE,
            key_file=str(login.key(ALICE)),
            known_hosts_file=str(login.known_hosts),
            log_dir=str(own_slurm.directory_of(ALICE) / "logs"),
            poll_interval_s=1.0,
            patience=SHORT,
        )
        async with running(database_uri, write_clusters(tmp_path / "clusters.toml", cluster)) as house:
            wanted = [TaskSpec(id="ours", command="sleep 600")]
            await house.bus.publish(request(part_of_run(wanted, log_dir=cluster.log_dir)))
            await house.until(lambda one: one.type is Type.ITEM_STARTED)
            job_id = house.items(Type.ITEM_STARTED)["ours"].job_id
            await asyncio.sleep(2)  # jobs are told apart by the second of their submission
            await asyncio.to_thread(_lose_state, own_slurm)
            theirs = await asyncio.to_thread(own_slurm.submit, _OTHERS, "--output=/dev/null")
            assert theirs == job_id
            await until(lambda: "COMPLETED" in _accounted(own_slurm, theirs), "the other job to end")
            await house.until(lambda one: one.type is Type.ITEM_COMPLETED)
            await asyncio.sleep(3)
            told = [one.data for one in house.told if isinstance(one.data, ItemEvent)]

    # Slurm writes that what it has lost was cancelled.
    assert {item.outcome for item in told} <= {None, Outcome.UNKNOWN, Outcome.CANCELLED}
    assert {item.attempt for item in told} == {1}


def _accounted(slurm: SlurmCluster, job_id: str) -> str:
    return slurm.run("sacct", "-X", "-D", "-n", "-P", "-j", job_id, "-o", "State")


def _lose_state(slurm: SlurmCluster) -> None:
    """End the jobs as a power cut does, and have slurmctld begin with nothing."""
    slurm.slurmctld.kill()
    for slurmd in slurm.slurmds.values():
        slurmd.kill()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLURM_CONF") == str(slurm.conf) and process.name() != "slurmdbd":
                process.kill()
    for folder in ("state", "spool"):
        shutil.rmtree(slurm.directory / folder)
        (slurm.directory / folder).mkdir()
    slurm.slurmctld.start()
    for slurmd in slurm.slurmds.values():
        slurmd.start()
    slurm.wait_idle()
