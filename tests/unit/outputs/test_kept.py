"""What is kept by content: made once for all who ask, bounded, and never a failure."""

import asyncio

import pytest

from scripthut_common.errors import StoreUnavailable
from scripthut_outputs.controllers.kept import Kept


class Maker:
    """Makes so many bytes, and counts how often."""

    def __init__(self, size_bytes: int = 1) -> None:
        self.size_bytes = size_bytes
        self.made = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> bytes:
        self.made += 1
        await self.may_end.wait()
        return bytes(self.size_bytes)


async def test_many_who_ask_at_once_have_it_made_once() -> None:
    kept, make = Kept(), Maker()
    make.may_end.clear()

    asking = [asyncio.create_task(kept.get("a", make)) for _ in range(20)]
    await asyncio.sleep(0)
    make.may_end.set()

    assert set(await asyncio.gather(*asking)) == {b"\0"}
    assert make.made == 1
    assert await kept.get("a", make) == b"\0"
    assert make.made == 1


async def test_what_was_asked_for_last_stays_when_there_is_no_more_room() -> None:
    kept = Kept(max_bytes=10_000)
    makers = {name: Maker(4_000) for name in "abc"}
    for name in ("a", "b", "a", "c"):
        await kept.get(name, makers[name])

    for name in ("a", "c", "b"):
        await kept.get(name, makers[name])

    assert {name: maker.made for name, maker in makers.items()} == {"a": 1, "b": 2, "c": 1}


async def test_what_is_larger_than_all_room_is_given_and_not_kept() -> None:
    kept, make = Kept(max_bytes=100), Maker(1_000)

    assert len(await kept.get("a", make)) == 1_000
    assert len(await kept.get("a", make)) == 1_000
    assert make.made == 2


async def test_a_failure_is_for_the_one_who_met_it() -> None:
    kept, make = Kept(), Maker()

    async def fail() -> bytes:
        raise StoreUnavailable("not just now")

    with pytest.raises(StoreUnavailable):
        await kept.get("a", fail)

    assert await kept.get("a", make) == b"\0"


async def test_who_hangs_up_does_not_take_it_from_the_others() -> None:
    kept, make = Kept(), Maker()
    make.may_end.clear()

    first, second = (asyncio.create_task(kept.get("a", make)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    make.may_end.set()

    assert await second == b"\0"
    assert await kept.get("a", make) == b"\0"
    assert make.made == 2
