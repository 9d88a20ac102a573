"""The way to real Slurm is cut again and again: few connections, nobody misjudged, nothing run twice."""

import asyncio
import secrets
from pathlib import Path

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import ItemEvent, Outcome, RunRequested, Type
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.house import running, write_clusters
from tests.integration.poller.told import part_of_run, request
from tests.testbed.accounts import ALICE
from tests.testbed.cutting import CutPort
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

_CUT_EVERY_S = 0.7
_FLAPS_S = 12.0
_NEVER_S = 3600.0
_MOST_OPEN = 2


async def test_a_flapping_way_costs_two_connections_at_most_and_no_verdict(
    database: Database, database_uri: str, slurm: SlurmCluster, sshd: Sshd, tmp_path: Path
) -> None:
    way = CutPort(sshd.port)
    cluster = _over(way, slurm, sshd)
    before, meanwhile = (f"flapping-{secrets.token_hex(4)}" for _ in range(2))

    async with running(database_uri, write_clusters(tmp_path / "clusters.toml", cluster)) as house:
        async with way.cutting(every_s=_NEVER_S):
            await house.bus.publish(request(_part(before, cluster)))
            await house.until(lambda one: one.type is Type.ITEM_STARTED and one.subject == f"{before}/long")
        async with way.cutting(every_s=_CUT_EVERY_S):
            await house.bus.publish(request(_part(meanwhile, cluster)))
            await asyncio.sleep(_FLAPS_S)
        async with way.cutting(every_s=_NEVER_S):
            await house.until(lambda one: one.type is Type.RUN_COMPLETED and one.subject == before)
            await house.until(lambda one: one.type is Type.RUN_COMPLETED and one.subject == meanwhile)

        ends = [one.data for one in house.told if one.type is Type.ITEM_COMPLETED and isinstance(one.data, ItemEvent)]

    assert way.cuts >= _FLAPS_S / _CUT_EVERY_S / 4
    assert way.most_open <= _MOST_OPEN
    for run_id in (before, meanwhile):
        told = sorted((end.task_id, end.outcome, end.exit_code) for end in ends if end.run_id == run_id)
        assert told == [
            ("failing", Outcome.FAILED, 3),
            ("long", Outcome.SUCCEEDED, 0),
            ("short", Outcome.SUCCEEDED, 0),
        ]
        assert sorted(_notes(cluster, run_id).read_text().split()) == ["failing", "long", "short"]


def _part(run_id: str, cluster: Cluster) -> RunRequested:
    noting = f"echo $SCRIPTHUT_TASK_ID >> {_notes(cluster, run_id)}; sleep"
    wanted = [
        TaskSpec(id="short", command=f"{noting} 1"),
        TaskSpec(id="long", command=f"{noting} {1.5 * _FLAPS_S}"),
        TaskSpec(id="failing", command=f"{noting} {_FLAPS_S / 2}; exit 3"),
    ]
    return part_of_run(wanted, run_id=run_id, log_dir=cluster.log_dir)


def _notes(cluster: Cluster, run_id: str) -> Path:
    return Path(cluster.log_dir, f"{run_id}.ran")


def _over(way: CutPort, slurm: SlurmCluster, sshd: Sshd) -> Cluster:
    log_dir = str(slurm.directory_of(ALICE) / f"flapping{secrets.token_hex(4)}")
    slurm.run("mkdir", log_dir, user=ALICE)
    return Cluster(
        scheduler=SchedulerKind.SLURM,
        name="here",
        host=sshd.host,
        port=way.port,
        user=ALICE,
        key_file=str(sshd.key(ALICE)),
        check_host_key=False,
        log_dir=log_dir,
        poll_interval_s=1.0,
        connect_timeout_s=5.0,
        submission_timeout_s=5.0,
    )
