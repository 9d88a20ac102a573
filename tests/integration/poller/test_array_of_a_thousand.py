"""An array of 1,000 elements that another program submitted and announced, on real Slurm: every element is an item."""

import asyncio
import secrets
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripthut_common import layout
from scripthut_common.bus import message_of
from scripthut_common.clusters import Cluster, Patience, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import ItemEvent, ItemState, Outcome, Type, event
from tests.integration.poller.house import House, running, write_clusters
from tests.testbed.accounts import ALICE
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd
from tests.truth.scene import until

pytestmark = pytest.mark.timeout(300)
_ELEMENTS = 1000
_CANCELLED = range(990, 1000)
_SCRIPT = "#!/bin/sh\n[ $((SLURM_ARRAY_TASK_ID % 100)) != 7 ] || exit 3\n"
_PATIENCE = Patience(young_s=5.0, settling_s=30.0, unregistered_s=30.0)
_WITHIN_S = 240.0


async def test_every_element_of_an_array_has_its_own_verdict(
    database: Database, database_uri: str, slurm: SlurmCluster, sshd: Sshd, tmp_path: Path
) -> None:
    cluster = Cluster(
        scheduler=SchedulerKind.SLURM,
        name="here",
        host=sshd.host,
        port=sshd.port,
        user=ALICE,
        key_file=str(sshd.key(ALICE)),
        known_hosts_file=str(sshd.known_hosts),
        log_dir=str(slurm.directory_of(ALICE) / "array"),
        poll_interval_s=1.0,
        patience=_PATIENCE,
    )
    options = (f"--array=0-{_ELEMENTS - 1}", "--hold", "--output=/dev/null", "--mem=10", "--job-name=array")
    array = await asyncio.to_thread(slurm.submit, _SCRIPT, *options)

    async with running(database_uri, write_clusters(tmp_path / "clusters.toml", cluster)) as house:
        for item in _announced(array, cluster):
            await house.bus.publish(message_of(event(Type.ITEM_SUBMITTED, item, source="/theirs", at=_now())))
        await until(lambda: _how_many(house, ItemState.QUEUED) == _ELEMENTS, "all elements to be seen")
        await asyncio.to_thread(slurm.run, "scancel", f"{array}_[{_CANCELLED[0]}-{_CANCELLED[-1]}]", user=ALICE)
        await asyncio.to_thread(slurm.run, "scontrol", "release", array, user=ALICE)
        await until(lambda: _how_many(house, ItemState.FINAL) == _ELEMENTS, "all elements to end", _WITHIN_S)
        ends = house.items(Type.ITEM_COMPLETED)
        told = Counter(one.subject for one in house.told if one.type is Type.ITEM_COMPLETED)

    cancelled = {f"a.{number}" for number in _CANCELLED}
    failing = {f"a.{number}" for number in range(7, _ELEMENTS, 100)}
    for task_id, end in ends.items():
        if task_id in failing:
            # Slurm 22.05 writes 131 as 3 too, so that its 3 is no certain exit code.
            assert (end.outcome, end.confirmed) == (Outcome.FAILED, True), end
            assert end.exit_code in {None, 3}, end
        elif task_id not in cancelled:
            assert (end.outcome, end.exit_code, end.confirmed) == (Outcome.SUCCEEDED, 0, True), end
    # Slurm keeps no record anywhere of elements that were cancelled before they began.
    assert {ends[task_id].outcome for task_id in cancelled} <= {Outcome.UNKNOWN, Outcome.CANCELLED}
    assert all(ends[task_id].outcome is Outcome.CANCELLED for task_id in cancelled if ends[task_id].confirmed)
    assert set(told.values()) == {1}


def _announced(array: str, cluster: Cluster) -> list[ItemEvent]:
    run_id = f"array-{secrets.token_hex(4)}"
    return [
        ItemEvent(
            run_id=run_id,
            run_name="theirs",
            task_id=f"a.{number}",
            task_name=f"a.{number}",
            position=number,
            cluster="here",
            owner="ada",
            attempt=1,
            revision=0,
            sequence=1,
            state=ItemState.SUBMITTED,
            output_dir=layout.output_dir(cluster.log_dir, run_id, f"a.{number}"),
            run_summary_path=layout.run_summary_path(cluster.log_dir, run_id, f"a.{number}"),
            job_id=f"{array}_{number}",
            submitted_at=_now(),
        )
        for number in range(_ELEMENTS)
    ]


def _how_many(house: House, state: ItemState) -> int:
    """Count the items that are in a state by what was said of them last."""
    last = {one.data.task_id: one.data.state for one in house.told if isinstance(one.data, ItemEvent)}
    return sum(one is state for one in last.values())


def _now() -> datetime:
    return datetime.now(UTC)
