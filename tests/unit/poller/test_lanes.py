"""Accounts are served each by itself: what one refuses holds up no other."""

import pytest

from scripthut_common.errors import (
    AccessRefused,
    AccountRefused,
    BadOutput,
    DatabaseUnavailable,
    Error,
    LeaseLost,
    NoConnection,
    TimedOut,
    Unreachable,
)
from scripthut_poller.sites import is_of
from scripthut_poller.submitting.lanes import Lane, Lanes


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def refused_of_bob(lane: Lane) -> str | None:
    if lane.account == "bob":
        raise AccountRefused("bob is refused")
    lane.went_well()
    return lane.account


async def test_one_account_that_is_refused_rests_and_the_others_are_served() -> None:
    clock = Clock()
    lanes = Lanes(clock)

    assert await lanes.each(["ada", "bob", "cleo"], refused_of_bob) == ["ada", "cleo"]
    assert lanes.resting == {"bob"}
    assert lanes.fault == "bob is refused"

    clock.now_s += 60
    assert lanes.resting == frozenset()


async def test_an_account_rests_longer_each_time_and_is_well_again_at_once() -> None:
    clock = Clock()
    lanes = Lanes(clock)
    rests = []
    for _ in range(8):
        await lanes.each(["bob"], refused_of_bob)
        rests.append(lanes.of("bob").rests_until - clock.now_s)
        clock.now_s += rests[-1]

    lanes.of("bob").went_well()

    assert rests == sorted(rests)
    assert rests[-1] == 60.0
    assert lanes.fault is None


async def test_an_account_with_nothing_to_do_is_forgotten_with_its_fault_once_it_has_rested() -> None:
    clock = Clock()
    lanes = Lanes(clock)
    await lanes.each(["bob"], refused_of_bob)

    lanes.keep([])
    assert lanes.fault == "bob is refused"
    clock.now_s += 60
    lanes.keep([])
    assert lanes.fault is None


@pytest.mark.parametrize(
    "fault", [NoConnection("away"), AccessRefused("our key"), DatabaseUnavailable("away"), LeaseLost("lost")]
)
async def test_what_is_no_account_s_fault_alone_is_raised(fault: Error) -> None:
    async def fail(lane: Lane) -> None:
        if lane.account == "bob":
            raise fault

    with pytest.raises(type(fault)):
        await Lanes().each(["ada", "bob"], fail)


def test_whose_fault_it_is() -> None:
    theirs = [AccountRefused(""), Unreachable(""), TimedOut(""), BadOutput("")]

    assert [is_of("ada", fault) for fault in theirs] == [True] * 4
    assert [is_of(None, fault) for fault in theirs] == [False] * 4
    assert not is_of("ada", NoConnection(""))
    assert not is_of("ada", AccessRefused(""))
