"""What is kept of a listing, and what the ledger says of the rest."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common import manifest
from scripthut_common.clusters import CollectionLimits
from scripthut_outputs import choosing, listing, reader
from scripthut_outputs.choosing import choose
from scripthut_outputs.ledger import FileState, Held, OutputsState, Place
from scripthut_outputs.listing import Entry, Listing

ITEM = listing.locate(
    "r1",
    "t1",
    output_dir="/logs/outputs/r1/t1",
    run_summary_path="/logs/outputs/r1/_run/t1.md",
    stdout_path="/logs/scripthut_r1_t1.out",
    stderr_path="/elsewhere/t1.err",
    attempt=2,
)
LIMITS = CollectionLimits(max_files=3, max_file_bytes=100, max_total_bytes=250)


def entry(path: bytes, size_bytes: int = 1, *, place: Place = Place.OUTPUT, state: FileState | None = None) -> Entry:
    return Entry(place=place, path=path, state=state, size_bytes=size_bytes, modified_at=1.5)


def decided(entries: list[Entry], limits: CollectionLimits = LIMITS) -> tuple[list[bytes], dict[bytes, str]]:
    choice = choose(ITEM, Listing(entries=entries), limits)
    return [kept.path for kept in choice.take], {row.path: str(row.state) for row in choice.left_out}


def test_a_log_directory_may_hold_links_and_nothing_below_it() -> None:
    assert (ITEM.output.base, ITEM.output.path) == (b"/logs", b"outputs/r1/t1")
    assert (ITEM.run_summary.base, ITEM.run_summary.path) == (b"/logs", b"outputs/r1/_run/t1.md")
    assert (ITEM.stdout.base, ITEM.stdout.path) == (b"/logs", b"scripthut_r1_t1.out")
    assert (ITEM.stderr.base, ITEM.stderr.path) == (b"/elsewhere", b"t1.err")
    assert (ITEM.manifest.base, ITEM.manifest.path) == (b"/logs", b"outputs/r1/_run/t1.manifest")


def test_the_summary_comes_first_then_paths_by_their_bytes() -> None:
    entries = [entry(b"b"), entry(b"a/z"), entry(b"task-summary.md"), entry(b"B")]

    assert decided(entries) == ([b"task-summary.md", b"B", b"a/z", b"b"], {})


def test_summaries_do_not_count_and_the_rest_is_over_count() -> None:
    entries = [entry(b"%d" % number) for number in range(5)]
    entries += [entry(b"task-summary.md"), entry(b"t1.md", place=Place.RUN_SUMMARY)]

    taken, left = decided(entries)

    assert taken == [b"t1.md", b"task-summary.md", b"0", b"1", b"2"]
    assert left == {b"3": "over_count", b"4": "over_count"}


def test_a_file_beyond_the_total_leaves_room_for_smaller_ones() -> None:
    taken, left = decided([entry(b"a", 100), entry(b"b", 100), entry(b"c", 60), entry(b"d", 50)])

    assert (taken, left) == ([b"a", b"b", b"d"], {b"c": "over_total"})


def test_logs_are_outside_of_all_limits() -> None:
    taken, left = decided([entry(b"o", 10**12, place=Place.STDOUT), entry(b"e", 10**12, place=Place.STDERR)])

    assert (taken, left) == ([b"o", b"e"], {})


def test_what_cannot_be_named_is_counted_by_reason() -> None:
    unnamed = {FileState.OVER_COUNT: 90_000, FileState.TOO_DEEP: 7}

    rows = choose(ITEM, Listing(unnamed=unnamed), LIMITS).left_out

    assert {(row.path, row.state, row.count) for row in rows} == {
        (b"/over_count", "over_count", 90_000),
        (b"/too_deep", "too_deep", 7),
    }


def test_a_path_too_long_to_be_a_key_is_counted() -> None:
    entries = [entry(b"d/" * 900 + b"x"), entry(b"e/" * 900 + b"x"), entry(b"a")]

    choice = choose(ITEM, Listing(entries=entries), LIMITS)

    assert [kept.path for kept in choice.take] == [b"a"]
    assert [(row.path, row.count) for row in choice.left_out] == [(b"/too_deep", 2)]


def test_a_walk_that_was_cut_short_says_so() -> None:
    (row,) = choose(ITEM, Listing(is_whole=False), LIMITS).left_out

    assert row.reason == "too many to name; nobody looked beyond 50000 files"


def test_only_what_another_try_may_cure_makes_a_collection_incomplete() -> None:
    large = choose(ITEM, Listing(entries=[entry(b"a", 101)]), LIMITS).left_out
    unreadable = choose(ITEM, Listing(entries=[entry(b"a", state=FileState.UNREADABLE)]), LIMITS).left_out

    assert choosing.state_of([]) is OutputsState.NONE
    assert choosing.state_of(large) is OutputsState.COLLECTED
    assert choosing.state_of(unreadable) is OutputsState.INCOMPLETE


def promised(*paths: bytes, size_bytes: int = 60) -> dict[bytes, manifest.Entry]:
    return {path: manifest.Entry(path=path, size_bytes=size_bytes, modified_at=1.5) for path in paths}


def test_what_may_still_come_keeps_its_room() -> None:
    listed = Listing(entries=[entry(name) for name in (b"a", b"c", b"d")])

    waiting = choose(ITEM, listed, LIMITS, lacking=promised(b"b"), is_waiting=True)
    over = choose(ITEM, listed, LIMITS, lacking=promised(b"b"))

    assert [kept.path for kept in waiting.take] == [b"a", b"c"]
    assert [(row.path, row.state) for row in waiting.left_out] == [(b"b", "not_yet_visible"), (b"d", "over_count")]
    assert [kept.path for kept in over.take] == [b"a", b"c", b"d"]
    assert [(row.path, row.state, row.size_bytes) for row in over.left_out] == [(b"b", "not_yet_visible", 60)]


def test_a_file_that_is_not_whole_is_left_where_it_is_until_the_wait_is_over() -> None:
    listed = Listing(entries=[entry(b"a", 20)])

    waiting = choose(ITEM, listed, LIMITS, lacking=promised(b"a"), is_waiting=True)
    over = choose(ITEM, listed, LIMITS, lacking=promised(b"a"))

    (row,) = waiting.left_out
    note = "the task wrote 60 bytes; the cluster showed 20 of them"
    assert (row.state, row.size_bytes, row.reason) == ("not_yet_visible", 20, note)
    assert ([kept.path for kept in over.take], over.left_out, over.notes) == ([b"a"], (), {b"a": note})


def test_what_lies_where_nobody_could_look_is_named_with_that_reason() -> None:
    silent = msgspec.structs.replace(entry(b"file", 0, state=FileState.UNREADABLE), reason="no answer")
    listed = Listing(entries=[entry(b"dead/", 0, state=FileState.UNREADABLE), silent])

    for is_waiting in (True, False):
        choice = choose(ITEM, listed, LIMITS, lacking=promised(b"dead/x", b"file"), is_waiting=is_waiting)
        said = {row.path: (row.state, row.reason) for row in choice.left_out}
        behind = "the task saw it when it ended; a directory above it cannot be read"
        assert said[b"dead/x"] == (FileState.NOT_YET_VISIBLE, behind)
        assert said[b"file"] == (FileState.UNREADABLE, "no answer")


def test_stored_files_that_have_not_changed_are_kept() -> None:
    same = Held(size_bytes=1, modified_at=1.5, stored_bytes=1, attempt=2, is_noted=False)
    changed = {
        b"earlier": msgspec.structs.replace(same, attempt=1),
        b"larger": msgspec.structs.replace(same, size_bytes=2),
        b"newer": msgspec.structs.replace(same, modified_at=1.25),
        b"noted": msgspec.structs.replace(same, is_noted=True),
        b"removed": msgspec.structs.replace(same, is_removed=True),
    }
    held = {(Place.OUTPUT, path): one for path, one in {**changed, b"same": same}.items()}
    limits = CollectionLimits()

    choice = choose(ITEM, Listing(entries=[entry(path) for _, path in held]), limits, held=held)

    assert [kept.path for kept in choice.kept] == [b"same"]
    assert [kept.path for kept in choice.take] == sorted(changed)


def test_no_more_rows_than_allowed_have_a_name_and_the_rest_is_counted() -> None:
    limits = CollectionLimits(max_named_rows=4, max_files=2)
    listed = Listing(entries=[entry(b"%d" % number) for number in range(5)], unnamed={FileState.OVER_COUNT: 7})

    choice = choose(ITEM, listed, limits, lacking=promised(*(b"m%d" % number for number in range(9))))

    assert [(row.path, row.state, row.count) for row in choice.left_out] == [
        (b"2", "over_count", 1),
        (b"3", "over_count", 1),
        (b"/not_yet_visible", "not_yet_visible", 9),
        (b"/over_count", "over_count", 8),
    ]


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=6), st.integers(0, 150), st.sampled_from(reader.STATES)),
        unique_by=lambda one: one[0],
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_every_file_is_accounted_for_once_whatever_order_it_was_listed_in(
    found: list[tuple[bytes, int, FileState | None]], shuffler: object
) -> None:
    entries = [entry(path, size_bytes, state=state) for path, size_bytes, state in found]
    shuffled = list(entries)
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]

    taken, left = decided(entries)

    assert (taken, left) == decided(shuffled)
    assert sorted([*taken, *left]) == sorted(path for path, _, _ in found)
    sizes = {path: size_bytes for path, size_bytes, _ in found}
    assert sum(sizes[path] for path in taken) <= LIMITS.max_total_bytes
    assert len([path for path in taken if path != b"task-summary.md"]) <= LIMITS.max_files
