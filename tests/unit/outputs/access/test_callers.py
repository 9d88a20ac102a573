"""Who asks is remembered by what they showed, and forgotten as soon as anything changes that it rests on."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from scripthut_common.errors import NotAuthenticated
from scripthut_outputs.access import Actor, Role
from scripthut_outputs.access.callers import Callers, Found, Memory, Presented

TOKEN = {b"authorization": b"Bearer secret-of-ada"}
COOKIE = {b"cookie": b"session=ada"}
SHOWN = pytest.mark.parametrize("headers", [TOKEN, COOKIE], ids=["token", "cookie"])


class Looking:
    """Finds everybody, in a way of its own each time, and counts; calls `meanwhile` before it answers."""

    def __init__(self, until: float = math.inf, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.looked = 0
        self.until = until
        self.meanwhile = meanwhile

    async def bearer(self, token: bytes, now: float, sender: str) -> Found:  # noqa: ARG002  everybody comes in
        return self._found("token")

    async def find(self, presented: Presented) -> Found | None:
        return self._found("cookie") if b"cookie" in presented.headers else None

    def _found(self, name: str) -> Found:
        self.looked += 1
        self.meanwhile()
        return Found(Actor(name=f"{name}-{self.looked}", role=Role.USER), until=self.until)


class World:
    """What rights rest on."""

    def __init__(self) -> None:
        self.file, self.catalog = ["file"], ["catalog"]
        self.memory = Memory(lambda: self.file, lambda: self.catalog)


def presented(headers: dict[bytes, bytes], now: float = 100.0) -> Presented:
    return Presented(headers=headers, address="192.0.2.1", sender="192.0.2.1", now=now)


def callers(way: Looking, world: World, **more: Any) -> Callers:
    return Callers([way], [way], memory=world.memory, **more)


async def asked(ours: Callers, *requests: Presented) -> list[str | None]:
    found = [await ours.find(one) for one in requests]
    return [None if actor is None else actor.name for actor in found]


@SHOWN
async def test_who_shows_the_same_again_is_not_looked_for_again(headers: dict[bytes, bytes]) -> None:
    way = Looking()

    first, second = await asked(callers(way, World()), presented(headers), presented(headers))

    assert first == second
    assert way.looked == 1


@SHOWN
@pytest.mark.parametrize("part", ["file", "catalog"])
async def test_whatever_changes_everybody_is_looked_for_anew(headers: dict[bytes, bytes], part: str) -> None:
    way, world = Looking(), World()
    ours = callers(way, world)
    before = await asked(ours, presented(headers), presented(headers))

    setattr(world, part, ["something else"])
    after = await asked(ours, presented(headers), presented(headers))

    assert way.looked == 2
    assert before[0] != after[0] == after[1]


@SHOWN
async def test_what_was_looked_for_while_something_changed_is_not_remembered(headers: dict[bytes, bytes]) -> None:
    world, numbers = World(), itertools.count()
    way = Looking(meanwhile=lambda: setattr(world, "catalog", [next(numbers)]))

    await asked(callers(way, world), *(presented(headers) for _ in range(3)))

    assert way.looked == 3


@SHOWN
async def test_at_its_end_a_credential_is_looked_at_again(headers: dict[bytes, bytes]) -> None:
    way = Looking(until=200.0)
    ours = callers(way, World())

    await asked(ours, *(presented(headers, now) for now in (100.0, 199.9, 200.0)))

    assert way.looked == 2


@SHOWN
async def test_where_more_counts_than_what_was_shown_nothing_is_remembered(headers: dict[bytes, bytes]) -> None:
    way = Looking(until=0.0)

    await asked(callers(way, World()), presented(headers), presented(headers))

    assert way.looked == 2


@SHOWN
async def test_by_itself_nothing_is_remembered(headers: dict[bytes, bytes]) -> None:
    way = Looking()

    await asked(Callers([way], [way]), presented(headers), presented(headers))

    assert way.looked == 2


async def test_the_same_bytes_as_token_and_as_cookie_are_two_things() -> None:
    way = Looking()
    ours = callers(way, World())
    bytes_of_both = TOKEN[b"authorization"]

    named = await asked(ours, presented({b"cookie": bytes_of_both}), presented({b"authorization": bytes_of_both}))

    assert named == ["cookie-1", "token-2"]


async def test_a_token_beside_a_known_cookie_counts_by_itself() -> None:
    class Refusing(Looking):
        async def bearer(self, token: bytes, now: float, sender: str) -> Found:  # noqa: ARG002  nobody comes in
            self.looked += 1
            raise NotAuthenticated("wrong")

    way = Refusing()
    ours = callers(way, World())
    await asked(ours, presented(COOKIE))

    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            await asked(ours, presented(COOKIE | TOKEN))

    assert way.looked == 3


async def test_where_a_proxy_says_who_asks_a_cookie_is_not_enough() -> None:
    way = Looking()
    ours = callers(way, World(), is_proxied=lambda one: b"x-user" in one.headers)
    await asked(ours, presented(COOKIE))

    named = await asked(ours, presented(COOKIE | {b"x-user": b"grace"}), presented(COOKIE | {b"x-user": b"hugo"}))

    assert named == ["cookie-2", "cookie-3"]


async def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripthut_outputs.access.callers._REMEMBERED", 3)
    way, world = Looking(), World()

    tokens = [presented({b"authorization": b"Bearer %d" % number}) for number in range(10)]
    await asked(callers(way, world), *tokens)

    assert 0 < len(world.memory.now()) <= 3


async def test_what_was_shown_is_not_kept() -> None:
    world = World()

    await asked(callers(Looking(), world), presented(TOKEN), presented(COOKIE))

    assert len(world.memory.now()) == 2
    assert not any(b"ada" in kept for kept in world.memory.now())
