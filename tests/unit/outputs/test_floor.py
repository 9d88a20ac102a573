"""The floor's answers are read however they are cut, and what is none is refused."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scripthut_common.clusters import CollectionLimits
from scripthut_common.errors import BadOutput
from scripthut_outputs import listing, transfer
from scripthut_outputs.reader import LACKING, floor
from scripthut_outputs.reading import Floor, Plain, Strict
from scripthut_outputs.transfer import Content, Ended, Started

BOUNDS = floor.Bounds(3, 50, 20, 1000)
ITEM = [(b"/logs", b"outputs/r/t"), (b"", b""), (b"", b""), (b"", b""), (b"", b"")]


def wanted(*sizes: int, folder: bytes = b"a", is_tail: bool = False) -> list[floor.Wanted]:
    return [floor.Wanted(number, b"%s/%d" % (folder, number), size, is_tail) for number, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[transfer.Part], bytes]:
    """What the real programs answer for three small files, one missing, and a large one."""
    folder = tmp_path_factory.mktemp("sent")
    sizes = {b"0": 10, b"1": 0, b"2": 70_000, b"4": 5_000_000}
    for name, size in sizes.items():
        Path(folder, name.decode()).write_bytes(name * size)
    files = tuple(
        transfer.FileWanted(number=number, path=b"%d" % number, limit_bytes=sizes.get(b"%d" % number, 5))
        for number in range(5)
    )
    parts = [transfer.Part(base=bytes(folder), owner=os.geteuid(), files=files)]
    question = Floor().to_send(parts)
    argv = ["sh", "-c", question.text, "sh", *question.argv]
    return parts, subprocess.run(argv, input=question.stdin, capture_output=True, check=True).stdout


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(300, 200_000))
def test_an_answer_reads_the_same_however_it_is_cut(
    archive: tuple[list[transfer.Part], bytes], piece_bytes: int
) -> None:
    parts, whole = archive
    answer, stream = Floor().to_send(parts).answer, transfer.Stream()
    contents: dict[int, bytes] = {}
    ends = {}

    for start in range(0, len(whole), piece_bytes):
        for step in stream.feed(answer.feed(whole[start : start + piece_bytes])):
            match step:
                case Started(number=number):
                    contents[number] = b""
                case Content(number=number, body=body):
                    contents[number] += body
                case Ended(number=number, state=state):
                    ends[number] = state

    assert contents == {0: b"0" * 10, 1: b"", 2: b"2" * 70_000, 4: b"4" * 5_000_000}
    assert ends == {0: None, 1: None, 2: None, 3: "purged", 4: None}


@pytest.mark.parametrize(
    "answer",
    [
        b"bash: find: command not found\0",
        b"floor x\0",
        b"floor 0 root\0f 0 12\0",
        b"floor 0 root\0f 0 twelve 1.5 1 a\0",
        b"floor 0 root\0!five\0",
        b"floor 0 root\0.\0\0\0\0=2000 1.5\0",
        b"floor 0 root\0" + b"x" * 70_000,
    ],
)
def test_what_is_no_listing_is_refused(answer: bytes) -> None:
    with pytest.raises(BadOutput):
        floor.Listed([ITEM], [(None, True)], BOUNDS).feed(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"floor 0 root\0-\0",
        b"floor 0 root\0+\0" + b"x" * 512,
        b"floor 0 root\0+\0" + bytes(10_240) + b"f 0 1 1.0 1.0\0",
        b"floor 0 root\0+\0./a".ljust(139, b"\0") + b"77777777777\0" + b"\0" * 20 + b"x" + bytes(355),
    ],
)
def test_what_is_no_transfer_is_refused(answer: bytes) -> None:
    groups = list(floor.groups_of(b"/logs", 0, wanted(10)))

    with pytest.raises(BadOutput):
        floor.Sent(groups).feed(answer)


def test_a_stranger_s_directory_is_told_by_nothing_but_its_owner() -> None:
    answer = floor.Listed([ITEM], [(None, True)], BOUNDS)
    told = answer.feed(b"floor 7\0d 8 4096 1.5 0 \0f 8 12 1.5 1 secret\0\0.\0\0\0\0\0")

    (found,) = listing.Answer().feed(told)
    assert answer.strangers == {0}
    assert (found.owner, found.entries) == (8, [])


def test_groups_keep_their_order_and_hold_little() -> None:
    large = 3 * 1024 * 1024
    files = [*wanted(10, 20), *wanted(large, large, folder=b"b"), *wanted(5, 5, folder=b"c", is_tail=True)]

    groups = list(floor.groups_of(b"/logs", 7, files))

    assert [len(group.files) for group in groups] == [2, 1, 1, 1, 1]
    assert [file for group in groups for file in group.files] == files
    assert groups[0].words == b"files\x0020\0/logs\0a\0./0\0./1\0"


@pytest.mark.parametrize("piece_bytes", [1, 5, 100])
def test_the_want_of_python_is_heard_however_it_is_cut(piece_bytes: int) -> None:
    said, plain = b"no python3\n", Plain()

    heard = [plain.feed(said[start : start + piece_bytes]) for start in range(0, len(said), piece_bytes)]

    assert b"".join(heard) == b""
    assert plain.is_lacking


@given(st.binary(min_size=1, max_size=40), st.integers(1, 40))
def test_any_other_answer_passes_as_it_is(said: bytes, piece_bytes: int) -> None:
    assume(not said.startswith(LACKING))
    said, plain = said + b"!" * 20, Plain()

    heard = [plain.feed(said[start : start + piece_bytes]) for start in range(0, len(said), piece_bytes)]

    assert b"".join(heard) == said
    assert not plain.is_lacking


def test_both_programs_fit_into_one_command_line() -> None:
    limits = CollectionLimits()
    for way in (Strict(timeout_s=60, patience_s=20), Floor()):
        for question in (way.to_list([], limits), way.to_send([])):
            assert len(question.text) + sum(map(len, question.argv)) < 32 * 1024
