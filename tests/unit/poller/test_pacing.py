"""Rounds come fast while things are about to change, slowly while nothing does, and retreat from a silent cluster."""

from hypothesis import given
from hypothesis import strategies as st

from scripthut_poller.pacing import rest_s, retreat_s


def test_while_there_is_news_rounds_come_at_the_usual_interval() -> None:
    assert rest_s(10, 30, quiet_s=0) == 10
    assert rest_s(10, 30, quiet_s=200) == 10


def test_the_longer_nothing_changes_the_longer_is_the_rest() -> None:
    assert rest_s(10, 30, quiet_s=400) == 20
    assert rest_s(10, 30, quiet_s=100_000) == 30


def test_a_job_that_has_just_left_the_queue_is_looked_after_soon() -> None:
    assert rest_s(10, 30, quiet_s=0, is_settling=True) == 2
    assert rest_s(1, 30, quiet_s=0, is_settling=True) == 1


def test_an_interval_longer_than_the_slowest_is_kept() -> None:
    assert rest_s(60, 30, quiet_s=100_000) == 60


def test_a_silent_cluster_is_asked_ever_more_seldom() -> None:
    assert [retreat_s(10, 60, failures, 0) for failures in (1, 2, 3, 9)] == [20, 40, 60, 60]


@given(st.floats(1, 100), st.floats(1, 600), st.integers(1, 10_000), st.floats(0, 1))
def test_a_retreat_is_never_shorter_than_the_usual_rest(
    usual: float, slowest: float, times: int, jitter: float
) -> None:
    assert usual <= retreat_s(usual, slowest, times, jitter) <= max(slowest, 2 * usual)
