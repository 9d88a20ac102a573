"""The whole poller on a bus in this process and the cluster on this machine: a run goes in, verdicts come out."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripthut_common.clusters import Cluster
from scripthut_common.database import Database
from scripthut_common.events import CloudEvent, ItemState, Outcome, RunCompleted, Type
from scripthut_common.tasks import TaskSpec
from tests.integration.poller.house import House, running, write_clusters
from tests.integration.poller.told import cancellation, part_of_run, request


@pytest.fixture
async def house(database: Database, database_uri: str, here: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    async with running(database_uri, write_clusters(tmp_path / "clusters.toml", here)) as house:
        yield house


def _is_end(told: CloudEvent) -> bool:
    return told.type is Type.RUN_COMPLETED


async def test_a_run_goes_in_and_every_verdict_comes_out(house: House, here: Cluster) -> None:
    wanted = [
        TaskSpec(id="good", command='echo "# done" > "$SCRIPTHUT_TASK_SUMMARY"'),
        TaskSpec(id="bad", command="sleep 3; echo trouble >&2; exit 3"),
        TaskSpec(id="after-good", command="true", deps=("good",)),
        TaskSpec(id="after-bad", command="true", deps=("bad",)),
    ]

    await house.bus.publish(request(part_of_run(wanted, log_dir=here.log_dir)))
    ended = await house.until(_is_end)

    outcomes = {task_id: one.outcome for task_id, one in house.items(Type.ITEM_COMPLETED).items()}
    assert outcomes == {
        "good": Outcome.SUCCEEDED,
        "bad": Outcome.FAILED,
        "after-good": Outcome.SUCCEEDED,
        "after-bad": Outcome.DEPENDENCY_FAILED,
    }
    bad = house.items(Type.ITEM_COMPLETED)["bad"]
    assert (bad.exit_code, bad.confirmed, bad.state) == (3, True, ItemState.FINAL)
    assert (Path(house.items(Type.ITEM_COMPLETED)["good"].output_dir) / "task-summary.md").read_text() == "# done\n"
    assert isinstance(ended.data, RunCompleted)
    assert ended.data.state == "failed"


async def test_a_running_item_is_told_and_cancelled(house: House, here: Cluster) -> None:
    await house.bus.publish(request(part_of_run([TaskSpec(id="a", command="sleep 600")], log_dir=here.log_dir)))
    await house.until(lambda one: one.type is Type.ITEM_STARTED)

    await house.bus.publish(cancellation())
    await house.until(_is_end)

    assert house.items(Type.ITEM_COMPLETED)["a"].outcome is Outcome.CANCELLED


async def test_an_item_that_was_cancelled_while_it_waited_is_told_as_cancelled(house: House, here: Cluster) -> None:
    wanted = [TaskSpec(id="a", command="sleep 600"), TaskSpec(id="b", command="true", deps=("a",))]
    await house.bus.publish(request(part_of_run(wanted, log_dir=here.log_dir)))
    await house.until(lambda one: one.type is Type.ITEM_STARTED)

    await house.bus.publish(cancellation())
    await house.until(_is_end)

    outcomes = {task_id: one.outcome for task_id, one in house.items(Type.ITEM_COMPLETED).items()}
    assert outcomes == {"a": Outcome.CANCELLED, "b": Outcome.CANCELLED}


async def test_the_service_says_what_it_can_do(house: House, here: Cluster) -> None:
    await house.bus.publish(request(part_of_run([TaskSpec(id="a", command="true")], log_dir=here.log_dir)))
    await house.until(_is_end)

    assert await house.faults() == {}
