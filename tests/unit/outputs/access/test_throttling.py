"""Buckets let through what may be, tell others how long to wait, and stay small."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_outputs.access.throttling import Buckets, Rate

NOW = 1_000_000.0


def buckets(each: Rate = Rate(3, 10.0), all_: Rate = Rate(1000, 0.001), remembered: int = 100) -> Buckets:  # noqa: B008
    return Buckets(each, all_, remembered=remembered)


def test_so_many_are_let_through_at_once_and_then_one_after_each_wait() -> None:
    ours = buckets()

    assert [ours.take("a", NOW) for _ in range(4)] == [0, 0, 0, 10.0]
    assert ours.take("a", NOW + 9) == 1.0
    assert ours.take("a", NOW + 10) == 0
    assert ours.take("a", NOW + 10) == 10.0


def test_who_waited_long_has_all_again_and_no_more() -> None:
    ours = buckets()
    for _ in range(3):
        ours.take("a", NOW)

    assert [ours.take("a", NOW + 86400) > 0 for _ in range(4)] == [False, False, False, True]


def test_one_address_does_not_keep_another_waiting() -> None:
    ours = buckets()
    for _ in range(10):
        ours.take("10.0.0.1", NOW)

    assert ours.take("10.0.0.2", NOW) == 0


def test_many_addresses_wait_together() -> None:
    ours = buckets(all_=Rate(5, 2.0))

    assert [ours.take(f"10.0.0.{number}", NOW) > 0 for number in range(6)] == [False] * 5 + [True]
    assert ours.wait_s("10.0.1.1", NOW) == 2.0


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("", "a socket", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_what_one_sender_can_choose_among_is_one_address(one: str, other: str, is_same: bool) -> None:  # noqa: FBT001
    ours = buckets(Rate(1, 10.0))
    ours.take(one, NOW)

    assert (ours.take(other, NOW) > 0) is is_same


def test_addresses_beyond_those_remembered_are_forgotten_the_silent_ones_first() -> None:
    ours = buckets(Rate(1, 1e6), remembered=2)
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        ours.take(address, NOW)

    assert len(ours) == 2
    assert [ours.wait_s(f"10.0.0.{number}", NOW) > 0 for number in (1, 2, 3)] == [False, True, True]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100)), max_size=60))
def test_nobody_gets_more_than_the_rate_allows(asked: list[tuple[str, float]]) -> None:
    ours, taken, now = buckets(Rate(3, 10.0), Rate(5, 4.0)), list[float](), NOW
    for address, passes_s in asked:
        now += passes_s
        if not ours.take(f"10.0.0.{ord(address)}", now):
            taken.append(now)

    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= 5 + (taken[last] - taken[first]) / 4.0 + 1e-6
