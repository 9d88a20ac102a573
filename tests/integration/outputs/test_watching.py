"""Which runs are open is known to other processes, for a while, and heard by them at once."""

import asyncio

import pytest

from scripthut_common.database import Database
from scripthut_outputs.catalog.watching import CHANNEL, Watching
from scripthut_outputs.live import Noting
from tests.integration.outputs.house import House, ended, item


@pytest.fixture
def watching(database: Database) -> Watching:
    return Watching(database)


async def remaining_s(house: House) -> dict[str, float]:
    """For how long each run counts as open, in seconds."""
    rows = await house.rows("SELECT run_id, extract(epoch FROM until - now()) FROM outputs.watched")
    return {run_id: float(seconds) for run_id, seconds in rows}


async def test_it_is_said_again_and_never_taken_back(house: House, watching: Watching) -> None:
    await house.apply(item(), item(run_id="r2"))

    await watching.note(["r1", "r2"], for_s=100)
    await watching.note(["r1"], for_s=1000)
    await watching.note(["r2"], for_s=1)

    left = await remaining_s(house)
    assert 900 < left["r1"] <= 1000
    assert 50 < left["r2"] <= 100


async def test_a_run_that_is_gone_is_not_noted(house: House, watching: Watching) -> None:
    await house.apply(item())

    await watching.note(["r1", "gone"], for_s=100, new=["gone"])

    assert set(await remaining_s(house)) == {"r1"}


async def test_what_nobody_said_for_long_is_forgotten(house: House, watching: Watching) -> None:
    await house.apply(item(), item(run_id="r2"))
    await watching.note(["r1"], for_s=100)
    await watching.note(["r2"], for_s=-7200)

    await watching.forget()

    assert set(await remaining_s(house)) == {"r1"}


async def test_collectors_hear_of_a_run_that_is_opened_and_is_not_over(house: House, watching: Watching) -> None:
    await house.apply(item(), ended(run_id="r2"))
    noting = Noting(house.hub, watching)
    heard: asyncio.Queue[str] = asyncio.Queue()
    ready = asyncio.Event()

    async def connected() -> None:
        ready.set()

    async with asyncio.TaskGroup() as group:
        listening = group.create_task(house.database.listen(CHANNEL, connected, heard.put))
        await ready.wait()
        alive, over = house.hub.view("r1", None), house.hub.view("r2", None)
        await anext(alive)
        await anext(over)

        assert house.hub.opened.is_set()
        await noting.step()
        await noting.step()
        async with asyncio.timeout(30):
            assert await heard.get() == "r1"

        assert set(await remaining_s(house)) == {"r1"}
        await alive.aclose()
        await over.aclose()
        assert house.hub.open_runs() == []
        assert heard.empty()
        listening.cancel()
