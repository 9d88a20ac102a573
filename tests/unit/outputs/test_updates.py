"""The answer to one look at running items, as it arrives."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.clusters import CollectionLimits
from scripthut_common.errors import BadOutput
from scripthut_outputs import listing, reader, transfer, updates
from scripthut_outputs.ledger import Place
from tests.unit.outputs.test_reader import record

BUDGET = updates.Budget(max_bytes=1000, max_names=1000)
LISTED = record(b"O", 0, number=0) + record(b"F", 0, state=0, number=2, body=b"a") + record(b"E", 0)
SENT = record(b"W", 0, state=0, body=b"a") + record(b"S", 0, number=2) + record(b"D", 0, body=b"hi") + record(b"E", 0)


def item(folder: Path) -> listing.Item:
    where = listing.Location(str(folder).encode(), b"o")
    nowhere = listing.Location()
    return listing.Item(output=where, run_summary=nowhere, stdout=nowhere, stderr=nowhere, manifest=nowhere, attempt=1)


def follow(request: bytes) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-I", "-S", "-c", reader.program_text(follows=True), "follow", "60", "20000"]
    return subprocess.run(argv, input=request, capture_output=True, check=False)


def told_of(folder: Path, known: updates.Files, budget: updates.Budget = BUDGET) -> list[bytes]:
    """The names that are sent."""
    done = follow(updates.request([item(folder)], [known], CollectionLimits(), budget))
    assert done.returncode == 0, done.stderr
    return [told.path for told in updates.Answer().feed(done.stdout) if isinstance(told, updates.Named)]


@given(st.integers(1, 60))
def test_an_answer_reads_the_same_however_it_is_cut(piece_bytes: int) -> None:
    whole, answer = LISTED + SENT, updates.Answer()
    pieces = [whole[start : start + piece_bytes] for start in range(0, len(whole), piece_bytes)]

    told = [told for piece in pieces for told in answer.feed(piece)]

    found, *sent = told
    assert isinstance(found, listing.Listing)
    assert [entry.path for entry in found.entries] == [b"a"]
    assert sent == [
        updates.Named(number=0, item=0, place=Place.OUTPUT, path=b"a"),
        transfer.Started(0, 2, 1.5),
        transfer.Content(0, b"hi"),
        transfer.Ended(0, None),
    ]


@pytest.mark.parametrize(
    "garbage",
    [
        record(b"S", 0),
        record(b"W", 0, state=9),
        LISTED + SENT + record(b"F", 0, body=b"b"),
        LISTED + record(b"E", 5),
        b"Traceback (most recent call last)" * 3,
    ],
)
def test_what_is_not_an_answer_is_refused(garbage: bytes) -> None:
    with pytest.raises(BadOutput):
        list(updates.Answer().feed(garbage))


@pytest.mark.parametrize("cut", [1, 8, 30])
def test_a_request_that_is_cut_is_refused(tmp_path: Path, cut: int) -> None:
    known = {(Place.OUTPUT, b"a"): updates.Known(size_bytes=2)}
    whole = updates.request([item(tmp_path)], [known], CollectionLimits(), BUDGET)

    done = follow(whole[:-cut])

    assert done.returncode != 0
    assert b"the request is cut" in done.stderr


def test_only_what_is_not_as_it_is_known_is_sent(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    folder.mkdir()
    for name in ("same", "longer", "later", "resting", "new"):
        (folder / name).write_bytes(b"xx")
    modified_at = {name: (folder / name).stat().st_mtime for name in ("same", "longer", "resting")}
    known = {
        (Place.OUTPUT, b"same"): updates.Known(size_bytes=2, modified_at=modified_at["same"]),
        (Place.OUTPUT, b"longer"): updates.Known(size_bytes=1, modified_at=modified_at["longer"]),
        (Place.OUTPUT, b"later"): updates.Known(size_bytes=2, modified_at=1.5),
        (Place.OUTPUT, b"resting"): updates.Known(size_bytes=1, modified_at=1.5, is_resting=True),
        (Place.OUTPUT, b"gone"): updates.Known(size_bytes=2, modified_at=1.5),
    }

    assert set(told_of(tmp_path, known)) == {b"longer", b"later", b"new"}


def test_lighter_files_come_first_and_what_was_passed_over_weighs_half_as_much(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    folder.mkdir()
    for size_bytes in (100, 200, 400, 900):
        (folder / str(size_bytes)).write_bytes(b"x" * size_bytes)
    passed = {(Place.OUTPUT, b"900"): updates.Known(passed=4)}

    assert told_of(tmp_path, {}) == [b"100", b"200", b"400"]
    assert told_of(tmp_path, passed) == [b"900", b"100"]
