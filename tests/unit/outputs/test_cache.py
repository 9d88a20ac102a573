"""Nothing is shown that was true before a change; nothing is kept while changes cannot be heard."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_outputs.catalog.changes import Cache


def loading(*values: object) -> Callable[[], Awaitable[object]]:
    given_out = iter(values)

    async def load() -> object:
        return next(given_out)

    return load


@pytest.fixture
def cache() -> Cache:
    made = Cache()
    made.is_listening = True
    return made


async def test_what_was_read_is_kept_until_the_run_changes(cache: Cache) -> None:
    load = loading(1, 2)
    assert [await cache.get("r1", "k", load) for _ in range(3)] == [1, 1, 1]

    cache.drop("r1")

    assert await cache.get("r1", "k", load) == 2


async def test_a_change_of_one_run_leaves_others(cache: Cache) -> None:
    load = loading(1, 2)
    await cache.get("r1", "k", load)

    cache.drop("r2")

    assert await cache.get("r1", "k", load) == 1


async def test_what_changed_while_it_was_read_is_not_kept(cache: Cache) -> None:
    async def load() -> int:
        cache.drop("r1")
        return 1

    assert await cache.get("r1", "k", load) == 1
    assert await cache.get("r1", "k", loading(2)) == 2


async def test_nothing_is_kept_while_nobody_listens(cache: Cache) -> None:
    cache.is_listening = False

    assert await cache.get("r1", "k", loading(1)) == 1
    cache.is_listening = True
    assert await cache.get("r1", "k", loading(2)) == 2


async def test_what_was_being_read_when_listening_ended_is_not_kept(cache: Cache) -> None:
    async def load() -> int:
        cache.is_listening = False
        cache.clear()
        cache.is_listening = True
        return 1

    await cache.get("r1", "k", load)

    assert await cache.get("r1", "k", loading(2)) == 2


async def test_a_read_that_fails_keeps_nothing(cache: Cache) -> None:
    async def fail() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        await cache.get("r1", "k", fail)
    assert await cache.get("r1", "k", loading(1)) == 1


async def test_the_run_read_longest_ago_goes_first_when_there_is_no_room() -> None:
    cache = Cache(max_bytes=50_000)
    cache.is_listening = True
    for run_id in ("r1", "r2", "r3", "r1", "r4"):
        await cache.get(run_id, "k", loading(b"x" * 12_000))

    assert await cache.get("r1", "k", loading(b"new")) == b"x" * 12_000
    assert await cache.get("r2", "k", loading(b"new")) == b"new"


@given(st.lists(st.sampled_from(["read", "write"]), max_size=40), st.integers(0, 2**32))
def test_no_order_of_reads_and_changes_leaves_an_old_value_behind(steps: list[str], seed: int) -> None:
    async def play() -> None:
        cache = Cache()
        cache.is_listening = True
        truth = 0

        async def load() -> int:
            seen = truth
            for _ in range(seed % 3):
                await asyncio.sleep(0)
            return seen

        async with asyncio.TaskGroup() as group:
            for step in steps:
                if step == "read":
                    group.create_task(cache.get("r1", "k", load))
                else:
                    truth += 1
                    cache.drop("r1")
                await asyncio.sleep(0)

        assert await cache.get("r1", "k", load) == truth

    asyncio.run(play())


async def test_guesses_take_no_room_from_what_is_there() -> None:
    cache = Cache(max_bytes=16 * 1024)
    cache.is_listening = True
    await cache.get("r1", "k", loading(1))

    async def fail() -> int:
        raise LookupError

    for number in range(1000):
        with pytest.raises(LookupError):
            await cache.get(f"guess-{number}", "k", fail)
        with pytest.raises(LookupError):
            await cache.get("r1", f"guess-{number}", fail)
    await cache.get("r2", "k", loading(2))

    assert (cache.held("r1", "k"), cache.held("r2", "k")) == (1, 2)
