"""Retention decides by age and by size; what several runs share counts once and goes with the last of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.clusters import Retention
from scripthut_outputs.catalog.views import RunBytes
from scripthut_outputs.ledger import Removal
from scripthut_outputs.retention import deciding

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
Held = dict[str, int]


def weigh(runs: list[Held], staying: list[Held]) -> list[RunBytes]:
    """Weigh runs by what they hold, oldest first, as the catalog does: bytes by blob."""
    kept = {blob for held in staying for blob in held}
    last = {blob: place for place, held in enumerate(runs, 1) for blob in held if blob not in kept}
    return [
        RunBytes(
            run_id=f"r{place}",
            place=place,
            freed_bytes=sum(size for blob, size in held.items() if last.get(blob) == place),
            frees_from=min((last[blob] for blob in held if blob in last), default=None),
        )
        for place, held in enumerate(runs, 1)
    ]


def total(runs: list[Held]) -> int:
    return sum({blob: size for held in runs for blob, size in held.items()}.values())


@pytest.mark.parametrize(
    ("runs", "staying", "limit", "gone"),
    [
        ([{"a": 10}, {"b": 10}], [], 20, []),
        ([{"a": 10}, {"b": 10}], [], 19, ["r1"]),
        ([{"a": 10}, {"b": 10}], [], 9, ["r1", "r2"]),
        ([{"a": 10}, {"a": 10}, {"b": 10}], [], 15, ["r1", "r2"]),
        ([{"a": 10}, {"b": 10}, {"a": 10}], [], 5, ["r1", "r2", "r3"]),
        ([{"a": 10}, {"b": 10}, {"a": 10}], [], 15, ["r2"]),
        ([{"a": 10}, {"b": 10}], [{"a": 10}], 15, ["r2"]),
        ([{"a": 10}], [{"a": 10}], 5, []),
        ([], [{"a": 10}], 5, []),
        ([{"a": 0}, {"b": 10}], [], 5, ["r1", "r2"]),
    ],
    ids=[
        "at the limit nothing goes",
        "the oldest goes first",
        "all go when all must",
        "what two share goes with the second",
        "what the newest shares goes with the newest",
        "a run that frees nothing stays though it is older",
        "what a pinned run shares is never freed",
        "nothing goes where nothing helps",
        "nothing is there to go",
        "empty files go with their run",
    ],
)
def test_the_oldest_runs_go_until_the_rest_fits(
    runs: list[Held], staying: list[Held], limit: int, gone: list[str]
) -> None:
    chosen = deciding.choose(weigh(runs, staying), total_bytes=total([*runs, *staying]), max_total_bytes=limit)

    assert chosen == gone


_RUNS = st.lists(st.sets(st.sampled_from("abcdef")).map(lambda blobs: {blob: ord(blob) for blob in blobs}), max_size=6)


@given(runs=_RUNS, staying=_RUNS, limit=st.integers(0, 700))
def test_what_goes_is_enough_and_none_of_it_in_vain(runs: list[Held], staying: list[Held], limit: int) -> None:
    weights = weigh(runs, staying)

    gone = set(deciding.choose(weights, total_bytes=total([*runs, *staying]), max_total_bytes=limit))

    left = [held for run, held in zip(weights, runs, strict=True) if run.run_id not in gone]
    assert total([*left, *staying]) <= max(limit, total(staying))
    freed = {blob for held in runs for blob in held} - {blob for held in [*left, *staying] for blob in held}
    assert all(freed & held.keys() for run, held in zip(weights, runs, strict=True) if run.run_id in gone)


@pytest.mark.parametrize(
    ("days", "before"),
    [(None, None), (90, NOW - timedelta(days=90)), (0.5, NOW - timedelta(hours=12)), (1e9, None)],
)
def test_files_are_old_by_the_end_of_their_task(days: float | None, before: datetime | None) -> None:
    assert deciding.before(Retention(max_age_days=days), NOW) == before


@pytest.mark.parametrize(
    ("removal", "retention", "said"),
    [
        (Removal.AGE, Retention(max_age_days=90), "removed on 2026-11-26: older than 90 days"),
        (Removal.AGE, Retention(max_age_days=1), "removed on 2026-11-26: older than 1 day"),
        (Removal.AGE, Retention(max_age_days=0.5), "removed on 2026-11-26: older than 0.5 days"),
        (
            Removal.TOTAL_SIZE,
            Retention(max_total_bytes=3 * 2**39),
            "removed on 2026-11-26: the files of this cluster took more than 1.5 TiB, and the oldest runs went",
        ),
    ],
)
def test_a_reason_is_a_sentence_with_a_date(removal: Removal, retention: Retention, said: str) -> None:
    assert deciding.reason(removal, retention, NOW) == said


@pytest.mark.parametrize(
    ("size_bytes", "said"), [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2**60, "1024 PiB")]
)
def test_sizes_are_said_in_their_unit(size_bytes: int, said: str) -> None:
    assert deciding.size(size_bytes) == said
