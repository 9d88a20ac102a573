"""Whose turn it is to be followed."""

from hypothesis import given
from hypothesis import strategies as st

from scripthut_outputs.catalog.following import Noted, Running
from scripthut_outputs.following.pace import Pace
from scripthut_outputs.following.turns import Turns
from scripthut_outputs.ledger import FileState, Place
from scripthut_outputs.owning import Run

FILE = (Place.OUTPUT, b"f")


def running(run_id: str, task_id: str) -> Running:
    return Running(
        run_id=run_id,
        task_id=task_id,
        attempt=1,
        output_dir="/o",
        run_summary_path=None,
        stdout_path=None,
        stderr_path=None,
        outputs_version=0,
        followed_at=None,
        run=Run(owner="ada"),
    )


def held(size_bytes: int) -> Noted:
    return Noted(
        state=FileState.STORED,
        count=1,
        size_bytes=size_bytes,
        modified_at=1.5,
        sha256="ab",
        reason=None,
        is_held=True,
        is_followed=True,
    )


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(1, 7))
def test_everybody_is_looked_at_before_anybody_is_looked_at_again(sizes: list[int], most: int) -> None:
    turns = Turns(Pace(), most)
    items = [running(f"r{run}", f"t{number}") for run, size in enumerate(sizes) for number in range(size)]
    seen: list[tuple[str, str]] = []
    for _ in range(-(-len(items) // most)):
        turns.begin()
        for item in turns.pick(items, only_new=False):
            turns.note(item.key, {}, (), has_stalled=False)
            seen.append(item.key)

    assert set(seen[: len(items)]) == {item.key for item in items}


def test_a_small_run_does_not_wait_behind_a_large_one() -> None:
    turns = Turns(Pace(), 2)
    items = [*(running("large", f"t{number}") for number in range(100)), running("small", "t0")]

    assert {item.run_id for item in turns.pick(items, only_new=False)} == {"large", "small"}


def test_between_ticks_only_what_nobody_looked_at_is_looked_at() -> None:
    turns = Turns(Pace(), 10)
    old, new = running("r", "old"), running("r", "new")
    turns.note(old.key, {}, (), has_stalled=False)

    assert turns.pick([old, new], only_new=True) == [new]


def test_an_item_that_stalled_is_left_alone_for_some_ticks() -> None:
    turns = Turns(Pace(stalled_ticks=3), 10)
    item = running("r", "t")
    turns.note(item.key, {}, (), has_stalled=True)
    picked = []
    for _ in range(4):
        turns.begin()
        picked.append(bool(turns.pick([item], only_new=False)))

    assert picked == [False, False, True, True]


def test_what_is_passed_over_counts_for_more_each_time_until_it_is_sent() -> None:
    turns = Turns(Pace(), 10)
    passed = []
    for sent in ({}, {}, {FILE: 1}, {}):
        turns.note(("r", "t"), sent, () if sent else (FILE,), has_stalled=False)
        passed.append(turns.known(("r", "t"), {FILE: held(5)})[FILE].passed)

    assert passed == [1, 2, 0, 1]


def test_a_large_file_rests_for_a_tick_for_each_mebibyte_and_a_small_one_does_not() -> None:
    turns = Turns(Pace(resting_bytes=100), 10)
    small = (Place.OUTPUT, b"small")
    turns.begin()
    turns.note(("r", "t"), {FILE: 250, small: 99}, (), has_stalled=False)
    resting = []
    for _ in range(4):
        turns.begin()
        known = turns.known(("r", "t"), {FILE: held(250), small: held(99)})
        resting.append((known[FILE].is_resting, known[small].is_resting))

    assert resting == [(True, False), (True, False), (False, False), (False, False)]


def test_what_is_no_longer_followed_is_forgotten() -> None:
    turns = Turns(Pace(), 10)
    item = running("r", "t")
    turns.note(item.key, {FILE: 2**30}, (FILE,), has_stalled=True)

    turns.keep([])

    assert turns.pick([item], only_new=True) == [item]
    assert turns.known(item.key, {}) == {}


def test_ledgers_that_are_long_are_not_sent_all_at_once_but_one_always_is() -> None:
    turns = Turns(Pace(max_names=5), 10)
    long = {(Place.OUTPUT, b"%d" % number): held(1) for number in range(10)}

    assert turns.fitting([long, {}, {}]) == 1
    assert turns.fitting([{}, {}, long]) == 2
    assert turns.fitting([{}, {}]) == 2
