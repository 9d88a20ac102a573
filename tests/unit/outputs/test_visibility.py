"""When a look at the cluster has shown everything, and when to look again."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common import manifest
from scripthut_common.clusters import Visibility
from scripthut_outputs import listing
from scripthut_outputs.ledger import FileState, Held, Kind, LedgerRow, Place
from scripthut_outputs.listing import Entry, Item, Listing
from scripthut_outputs.visibility import Past, Verdict, decide, decide_fetched, fingerprint

NOW = datetime(2026, 11, 3, 17, 5, 9, tzinfo=UTC)
PATIENCE = Visibility(again_s=2, deadline_s=100, agreeing_s=5)
ITEM = msgspec.structs.replace(
    listing.locate(
        "r1",
        "t1",
        output_dir="/logs/outputs/r1/t1",
        run_summary_path="/logs/outputs/r1/_run/t1.md",
        stdout_path=None,
        stderr_path=None,
        attempt=2,
    ),
    job_id="42",
)
FIRST = Past(now=NOW)


def record(
    seen: Mapping[bytes, int] = {}, *, attempt: bytes = b"2", job_id: bytes = b"42", flags: bytes = b""
) -> bytes:
    head = [manifest.MAGIC, b"0", attempt, job_id, b"nonce", b"node", b"1", b"2", flags]
    fields = [field for path, size_bytes in seen.items() for field in (b"%d" % size_bytes, b"1.5", path)]
    return b"\0".join([*head, *fields, b""])


def entry(path: bytes, size_bytes: int = 1, state: FileState | None = None, place: Place = Place.OUTPUT) -> Entry:
    return Entry(place=place, path=path, state=state, size_bytes=size_bytes, modified_at=1.5)


def look(found: Listing, past: Past = FIRST, held: Mapping[tuple[Place, bytes], Held] = {}) -> Verdict:
    return decide(ITEM, found, held, past, PATIENCE)


def lacks(promised: Mapping[bytes, int], entries: Iterable[Entry], **listed: object) -> set[bytes]:
    found = msgspec.structs.replace(Listing(entries=list(entries), manifest=record(promised)), **listed)
    return set(look(found).lacking)


def later(verdict: Verdict, past: Past, after_s: float) -> Past:
    """What is known `after_s` after a look, as the catalog keeps it."""
    is_same = verdict.listing_sha256 is not None and verdict.listing_sha256 == past.listing_sha256
    return Past(
        looks=past.looks + 1,
        first_looked_at=past.first_looked_at or past.now,
        listing_sha256=verdict.listing_sha256,
        listed_at=past.listed_at if is_same else past.now,
        now=past.now + timedelta(seconds=after_s),
    )


def test_all_that_was_promised_is_all_there_is_to_wait_for() -> None:
    found = Listing(entries=[entry(b"a", 10), entry(b"more", 5)], manifest=record({b"a": 10}))

    assert look(found) == Verdict(is_complete=True, promised=frozenset({b"a"}))


def test_what_is_missing_or_short_is_waited_for() -> None:
    found = Listing(entries=[entry(b"a", 10), entry(b"b", 9)], manifest=record({b"a": 10, b"b": 10, b"c/d": 1}))

    verdict = look(found)

    assert (set(verdict.lacking), verdict.again_s, verdict.is_complete) == ({b"b", b"c/d"}, 2, False)
    assert verdict.note == "2 of 3 files not yet visible, will look again at 17:05:11 UTC"


@pytest.mark.parametrize(
    ("promised", "shown"),
    [
        (b"larger", entry(b"larger", 99)),
        (b"link", entry(b"link", 0, FileState.NOT_REGULAR)),
        (b"theirs", entry(b"theirs", 0, FileState.NOT_OWNED)),
        (b"1/2/3/4", entry(b"1/2/3/4", 0, FileState.TOO_DEEP)),
        (b"1/2/3/4/5", entry(b"1/2/3/4", 0, FileState.TOO_DEEP)),
    ],
)
def test_what_is_accounted_for_otherwise_is_not_waited_for(promised: bytes, shown: Entry) -> None:
    assert lacks({promised: 10}, [shown]) == set()


@pytest.mark.parametrize(
    ("promised", "shown"),
    [
        (b"failing", entry(b"failing", 0, FileState.UNREADABLE)),
        (b"closed/a/b", entry(b"closed", 0, FileState.UNREADABLE)),
        (b"failing/a", entry(b"failing/", 0, FileState.UNREADABLE)),
        (b"swapped/a", entry(b"swapped", 0, FileState.NOT_REGULAR)),
        (b"anything", entry(b".", 0, FileState.UNREADABLE)),
    ],
)
def test_what_lies_where_nobody_could_look_is_waited_for(promised: bytes, shown: Entry) -> None:
    assert lacks({promised: 10}, [shown]) == {promised}


@pytest.mark.parametrize(
    "path", [b"../escape", b"/etc/passwd", b"", b"a//b", b"./a", b"a/..", b"/", b"d/" * 800 + b"x"]
)
def test_a_path_that_no_listing_could_name_is_not_waited_for(path: bytes) -> None:
    assert look(Listing(manifest=record({path: 10}))).is_complete


def test_the_same_name_elsewhere_is_another_file() -> None:
    assert lacks({b"t1.md": 1}, [entry(b"t1.md", place=Place.RUN_SUMMARY)]) == {b"t1.md"}


def test_among_too_many_to_name_only_what_would_have_been_named_is_missed() -> None:
    named = [entry(b"task-summary.md"), entry(b"b"), entry(b"d")]
    promised = {b"a": 1, b"b": 1, b"c": 1, b"e": 1, b"task-summary.md": 1}

    assert lacks(promised, named, unnamed={FileState.OVER_COUNT: 5}) == {b"a", b"c"}
    assert lacks(promised, named, unnamed={FileState.TOO_DEEP: 5}) == set()
    assert lacks(promised, named, is_whole=False) == set()
    assert lacks(promised, named[1:], is_whole=False) == {b"task-summary.md"}


def test_what_we_hold_of_this_attempt_is_not_missed() -> None:
    held = Held(size_bytes=10, modified_at=1.5, stored_bytes=10, attempt=2, is_noted=True)
    files = {(Place.OUTPUT, b"a"): held, (Place.OUTPUT, b"b"): msgspec.structs.replace(held, attempt=1)}

    verdict = look(Listing(manifest=record({b"a": 10, b"b": 10})), held=files)

    assert set(verdict.lacking) == set(verdict.promised) == {b"b"}


def test_what_we_had_of_this_attempt_and_removed_is_not_missed() -> None:
    held = Held(size_bytes=10, modified_at=1.5, stored_bytes=10, attempt=2, is_noted=True, is_removed=True)

    assert look(Listing(manifest=record({b"a": 10})), held={(Place.OUTPUT, b"a"): held}).is_complete


def row(path: bytes, state: FileState, place: Place = Place.OUTPUT) -> LedgerRow:
    return LedgerRow(place=place, path=path, kind=Kind.OTHER, state=state, attempt=2)


@pytest.mark.parametrize("state", [FileState.CHANGED_WHILE_READING, FileState.PURGED, FileState.UNREADABLE])
def test_what_was_promised_and_could_not_be_read_whole_is_waited_for(state: FileState) -> None:
    verdict = look(Listing(entries=[entry(b"a"), entry(b"b")], manifest=record({b"a": 1, b"b": 1})))
    rows = [row(b"a", state), row(b"b", FileState.STORED)]
    over = Past(looks=9, first_looked_at=NOW - timedelta(seconds=100), now=NOW)

    again = decide_fetched(verdict, rows, FIRST, PATIENCE)
    rests = decide_fetched(verdict, rows, over, PATIENCE)

    assert (again.again_s, again.is_complete) == (2, False)
    assert again.note == "1 of the promised files could not be read whole, will look again at 17:05:11 UTC"
    assert (rests.again_s, rests.is_complete) == (None, False)
    assert rests.note == "1 of the promised files could not be read whole within 100 s"


@pytest.mark.parametrize(
    "came",
    [
        row(b"a", FileState.STORED),
        row(b"a", FileState.NOT_OWNED),
        row(b"more", FileState.PURGED),
        row(b"a", FileState.PURGED, Place.STDOUT),
    ],
)
def test_nothing_else_that_fetching_brings_is_waited_for(came: LedgerRow) -> None:
    verdict = look(Listing(entries=[entry(b"a"), entry(b"more")], manifest=record({b"a": 1})))

    assert decide_fetched(verdict, [came], FIRST, PATIENCE) == verdict


def test_a_look_that_hung_agrees_with_none() -> None:
    silent = msgspec.structs.replace(entry(b"dead", 0, FileState.UNREADABLE), reason="no answer")
    found = Listing(entries=[entry(b"a"), silent])
    first = look(found)

    second = look(found, later(first, FIRST, 5))
    last = look(found, Past(looks=9, first_looked_at=NOW - timedelta(seconds=100), now=NOW))

    assert (second.is_complete, second.again_s is None, second.is_all_named) == (False, False, False)
    assert (last.is_complete, last.again_s) == (False, None)
    assert last.note == "no exit record, and the file system did not answer 100 s after the first look"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Listing(), "no exit record"),
        (Listing(manifest=record(attempt=b"1")), "no exit record of attempt 2"),
        (Listing(manifest=record(job_id=b"43")), "no exit record of job 42"),
        (Listing(manifest=record(flags=b"terminated,unlisted")), "the exit record lists no files"),
        (Listing(manifest=b"#!/bin/sh"), "exit record cannot be read: it is cut or not one of ours"),
        (Listing(manifest=record({b"%d" % n: 1 for n in range(10_001)})), "it is of more than 10000 files"),
        (Listing(manifest_fault=FileState.TOO_LARGE), "exit record cannot be read: it is larger than 16777216 bytes"),
        (Listing(manifest_fault=FileState.UNREADABLE), "the account that collects could not open it"),
    ],
)
def test_where_no_record_vouches_two_looks_must_agree(found: Listing, why: str) -> None:
    first = look(found)

    assert first.note is not None
    assert first.note.endswith(f"{why}: looked once, will look again at 17:05:14 UTC")
    assert (first.again_s, first.is_complete) == (5, False)
    second = look(found, later(first, FIRST, 5))
    assert (second.is_complete, second.again_s) == (True, None)


def test_a_record_that_cannot_be_read_stays_told_and_one_that_never_was_does_not() -> None:
    for found, note in (
        (Listing(), None),
        (Listing(manifest=b"x"), "exit record cannot be read: it is cut or not one of ours"),
    ):
        assert look(found, later(look(found), FIRST, 5)).note == note


def test_a_garbled_record_is_told_in_few_words() -> None:
    verdict = look(Listing(manifest=record(attempt=b"x" * 10_000)))

    assert verdict.note is not None
    assert len(verdict.note) < 400


def test_looks_that_differ_start_over_and_looks_too_close_do_not_count() -> None:
    few, more = Listing(entries=[entry(b"a")]), Listing(entries=[entry(b"a"), entry(b"b")])
    first = look(few)
    past = later(first, FIRST, 5)

    differing = look(more, past)
    assert differing.again_s == 5
    assert differing.note == "no exit record: looked 2 times, will look again at 17:05:19 UTC"
    past = later(differing, past, 3)
    too_close = look(more, past)
    assert too_close.again_s is not None
    past = later(too_close, past, too_close.again_s)
    assert look(more, past).is_complete


def test_a_record_that_arrives_late_is_checked() -> None:
    past = later(look(Listing(entries=[entry(b"a")])), FIRST, 5)

    verdict = look(Listing(entries=[entry(b"a")], manifest=record({b"a": 1, b"b": 1})), past)

    assert (set(verdict.lacking), verdict.again_s) == ({b"b"}, 4)


def test_at_the_deadline_what_is_missing_is_given_up() -> None:
    past = Past(looks=9, first_looked_at=NOW - timedelta(seconds=100), now=NOW)

    missing = look(Listing(manifest=record({b"a": 1, b"b": 1})), past)
    unsettled = look(Listing(), past)

    assert (missing.again_s, missing.is_complete, set(missing.lacking)) == (None, False, {b"a", b"b"})
    assert missing.note == "2 of 2 files did not become visible within 100 s"
    assert (unsettled.again_s, unsettled.is_complete) == (None, False)
    assert unsettled.note == "no exit record, and files still changed 100 s after the first look"


@pytest.mark.parametrize(
    "changed",
    [
        Listing(entries=[entry(b"a", 2)]),
        Listing(entries=[entry(b"a", state=FileState.UNREADABLE)]),
        Listing(entries=[msgspec.structs.replace(entry(b"a"), modified_at=2.5)]),
        Listing(entries=[entry(b"a", place=Place.STDERR)]),
        Listing(entries=[entry(b"a")], unnamed={FileState.TOO_DEEP: 1}),
        Listing(entries=[entry(b"a")], is_whole=False),
        Listing(),
    ],
)
def test_whatever_changes_in_a_listing_tells_it_apart(changed: Listing) -> None:
    assert fingerprint(changed) != fingerprint(Listing(entries=[entry(b"a")]))


def test_the_order_of_a_listing_means_nothing() -> None:
    one, other = [entry(b"a"), entry(b"b")], [entry(b"b"), entry(b"a")]

    assert fingerprint(Listing(entries=one)) == fingerprint(Listing(entries=other))


_PATHS = st.sampled_from([b"a", b"b", b"c", b"d/e", b"d/f"])
_SHOWN = st.dictionaries(_PATHS, st.integers(0, 3))


@given(
    promised=st.none() | st.dictionaries(_PATHS, st.integers(0, 3)),
    shown=st.lists(_SHOWN, min_size=1, max_size=8),
    patience=st.builds(
        Visibility,
        again_s=st.floats(0.01, 50),
        deadline_s=st.floats(0.01, 600),
        agreeing_s=st.floats(0.01, 60),
    ),
    late_s=st.floats(0, 30),
)
def test_a_wait_ends_by_its_deadline_and_never_well_while_something_is_missing(
    promised: dict[bytes, int] | None, shown: list[dict[bytes, int]], patience: Visibility, late_s: float
) -> None:
    past, delays, number = FIRST, list[float](), 0
    while True:
        files = shown[min(number, len(shown) - 1)]
        found = Listing(
            entries=[entry(path, size_bytes) for path, size_bytes in files.items()],
            manifest=None if promised is None else record(promised),
        )
        verdict = decide(ITEM, found, {}, past, patience)
        if verdict.again_s is None:
            break
        assert not verdict.is_complete
        assert 0 < verdict.again_s <= patience.deadline_s
        delays.append(verdict.again_s)
        past, number = later(verdict, past, verdict.again_s + late_s), number + 1

    missing = {path for path, size_bytes in (promised or {}).items() if files.get(path, -1) < size_bytes}
    assert set(verdict.lacking) == missing
    if promised is not None:
        assert verdict.is_complete == (not missing)
    elif verdict.is_complete:
        assert number > 0
        assert shown[min(number, len(shown) - 1)] == shown[min(number - 1, len(shown) - 1)]
    # The last delay is what was left of the time; until then each is at least as long as the one before.
    assert delays[:-1] == sorted(delays[:-1]) or promised is None
    begun_s = (past.now - NOW).total_seconds()
    assert begun_s <= patience.deadline_s + late_s + 1e-3


def test_delays_double() -> None:
    found, past, delays = Listing(manifest=record({b"a": 1})), FIRST, []
    while (again_s := look(found, past).again_s) is not None:
        delays.append(again_s)
        past = later(look(found, past), past, again_s)

    assert delays == [2, 4, 8, 16, 32, 38]


def test_an_item_without_a_job_takes_the_record_of_any() -> None:
    item: Item = msgspec.structs.replace(ITEM, job_id=None)

    assert decide(item, Listing(manifest=record(job_id=b"43")), {}, FIRST, PATIENCE).is_complete
