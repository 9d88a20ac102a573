"""What is kept of a provider: asked seldom, told soon, and good for a while when nobody answers."""

import asyncio

import pytest

from scripthut_common.errors import TransientError
from scripthut_outputs.access.oidc_kept import AGAIN_AFTER_S, FRESH_S, STALE_S, Kept


class Source:
    """Something that is read, and the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.value = frozenset({"one"})
        self.fault: str | None = None
        self.reads = 0
        self.kept = Kept("keys", self.read, lambda: self.now)

    async def read(self) -> frozenset[str]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.fault is not None:
            raise TransientError(self.fault)
        return self.value

    async def get(self, wanted: str = "one") -> frozenset[str]:
        return await self.kept.get(lambda value: wanted in value)


async def test_many_who_ask_at_once_make_one_question() -> None:
    source = Source()

    await asyncio.gather(*(source.get() for _ in range(50)))

    assert source.reads == 1


async def test_a_new_key_is_found_at_once_and_an_invented_one_asked_for_once_in_a_while() -> None:
    source = Source()
    await source.get()
    source.value = frozenset({"one", "two"})

    source.now += AGAIN_AFTER_S
    assert "two" in await source.get("two")
    for number in range(100):
        assert "one" in await source.get(f"invented-{number}")
    assert source.reads == 2
    source.now += AGAIN_AFTER_S
    await source.get("invented")
    await source.get("invented")
    assert source.reads == 3


async def test_a_key_that_was_taken_away_counts_for_an_hour_at_most() -> None:
    source = Source()
    await source.get()
    source.value = frozenset({"two"})

    source.now += FRESH_S
    assert await source.get() == {"two"}


async def test_what_is_known_goes_on_for_a_day_without_its_provider() -> None:
    source = Source()
    await source.get()
    source.fault = "it is away"

    source.now += FRESH_S
    assert await source.get() == {"one"}
    source.now += STALE_S - FRESH_S
    with pytest.raises(TransientError, match="it is away"):
        await source.get()


async def test_what_is_not_known_while_the_provider_is_away_is_no_refusal() -> None:
    source = Source()
    await source.get()
    source.fault = "it is away"

    source.now += AGAIN_AFTER_S
    with pytest.raises(TransientError, match="it is away"):
        await source.get("two")
    source.fault = None
    source.value = frozenset({"two"})
    source.now += AGAIN_AFTER_S
    assert await source.get("two") == {"two"}


async def test_a_first_question_that_failed_is_asked_again_soon_but_not_by_everybody() -> None:
    source = Source()
    source.fault = "it is away"

    for _ in range(20):
        with pytest.raises(TransientError, match="it is away"):
            await source.get()
    assert source.reads == 1
    source.fault = None
    source.now += 2
    assert await source.get() == {"one"}


async def test_who_needs_nothing_new_does_not_wait_for_who_does() -> None:
    source = Source()
    await source.get()
    source.now += AGAIN_AFTER_S
    answer = asyncio.Event()

    async def slow() -> frozenset[str]:
        await answer.wait()
        return source.value

    source.kept._read = slow
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(source.get("invented"))
        await asyncio.sleep(0)
        assert await source.get() == {"one"}
        assert not asking.done()
        answer.set()
