"""A scheduler is asked so many commands in any minute and no more."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from scripthut_poller.budget import Budget


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _spend(budget: Budget, cost: int) -> None:
    asyncio.run(budget.take(cost))


def test_what_fits_does_not_wait() -> None:
    budget = Budget(3, clock=Hand())
    _spend(budget, 3)
    assert budget.spent == 3


def test_what_does_not_fit_waits_until_the_oldest_is_a_minute_old() -> None:
    hand = Hand()
    budget = Budget(3, clock=hand)
    _spend(budget, 2)
    hand.now = 10.0
    _spend(budget, 1)

    assert budget.wait_s(1) == 50.0
    assert budget.wait_s(2) == 50.0
    assert budget.wait_s(3) == 60.0
    hand.now = 60.0
    assert budget.wait_s(2) == 0.0
    assert budget.wait_s(3) == 10.0


def test_what_never_began_is_given_back() -> None:
    budget = Budget(2, clock=Hand())
    _spend(budget, 2)
    budget.give_back(1)
    assert budget.wait_s(1) == 0.0
    assert budget.wait_s(2) == 60.0


def test_when_half_is_spent_the_rest_is_spread_over_the_minute() -> None:
    budget = Budget(60, clock=Hand())
    _spend(budget, 29)
    assert budget.spacing_s(2) == 0
    _spend(budget, 1)
    assert (budget.spacing_s(1), budget.spacing_s(2)) == (1, 2)


def test_more_than_the_whole_budget_waits_for_an_empty_minute_and_no_longer() -> None:
    hand = Hand()
    budget = Budget(4, clock=hand)
    assert budget.wait_s(5) == 0.0
    _spend(budget, 1)
    assert budget.wait_s(5) == 60.0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), max_size=60), st.integers(4, 20))
def test_no_minute_ever_holds_more_than_the_budget(wishes: list[tuple[int, int]], per_minute: int) -> None:
    hand = Hand()
    budget = Budget(per_minute, clock=hand)
    begun: list[float] = []
    for later_s, cost in wishes:
        hand.now += later_s
        hand.now += budget.wait_s(cost)
        _spend(budget, cost)
        begun += [hand.now] * cost

    assert all(sum(at - 60 < other <= at for other in begun) <= per_minute for at in begun)
