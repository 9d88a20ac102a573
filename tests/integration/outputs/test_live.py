"""A run's events on a real port: what they are called, what they say, and that nothing is lost or told twice."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripthut_common.events import ItemState
from tests.integration.outputs.house import House, ended, item
from tests.integration.outputs.running import Running
from tests.integration.outputs.streams import opened


@pytest.fixture
async def running(house: House, migrated_uri: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with Running(migrated_uri, tmp_path).up() as running:
        yield running


async def test_a_new_viewer_is_told_where_the_run_stands_and_what_changes_then(house: House, running: Running) -> None:
    await house.apply(item("t0"), item("t1", position=1))

    async with running.client() as client, opened(client) as stream:
        first = await stream.next()
        await house.apply(item("t1", sequence=2, state=ItemState.RUNNING))
        told = await stream.until("run")

    assert stream.answer.headers["content-type"] == "text/event-stream"
    assert stream.retry_ms == 3000
    assert (first.name, first.said["counts"], first.version) == ("run", {"submitted": 2}, first.said["version"])
    assert [event.name for event in told] == ["item", "run"]
    assert (told[0].said["task_id"], told[0].said["state"]) == ("t1", "running")
    assert told[1].version == first.said["version"] + 1


async def test_who_comes_back_is_told_what_changed_meanwhile_each_item_once(house: House, running: Running) -> None:
    await house.apply(item("t0"), item("t1", position=1), item("t2", position=2))
    async with running.client() as client:
        version = (await client.get("/runs/r1")).json()["version"]
        await house.apply(item("t1", sequence=2, state=ItemState.RUNNING), ended("t1"))

        async with opened(client, since=version) as stream:
            told = await stream.until("run")

    assert [event.name for event in told] == ["cluster", "item", "run"]
    assert told[1].said["outcome"] == "succeeded"
    assert told[-1].version == version + 2
