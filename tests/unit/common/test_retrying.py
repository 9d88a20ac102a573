"""Delays double up to a limit, whatever the numbers."""

from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.retrying import COLLECTING, Backoff

BACKOFF = Backoff(first_s=0.5, longest_s=60)


def test_delays_double_up_to_the_longest() -> None:
    assert [BACKOFF.delay_s(failures) for failures in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(-5, 10**6), st.floats(0, 1))
def test_a_delay_is_never_longer_than_the_longest_nor_shorter_than_half_the_first(failures: int, jitter: float) -> None:
    assert 0.25 <= BACKOFF.delay_s(failures, jitter) <= 60


def test_attempts_are_spread_over_the_delays_between_them() -> None:
    assert [BACKOFF.spread_s(failures) for failures in (1, 2, 3, 4)] == [0, 0.5, 1.5, 3.5]
    # A day of attempts, as collecting gives up.
    assert 149 <= next(n for n in range(1, 1000) if COLLECTING.spread_s(n) >= 86_400) <= 151
