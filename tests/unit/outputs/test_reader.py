"""The program on the cluster and those who read its answers speak the same language."""

import ast
import os
import pwd
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.clusters import CollectionLimits
from scripthut_common.errors import BadOutput
from scripthut_outputs import listing, reader, transfer
from scripthut_outputs.ledger import FileState
from scripthut_outputs.owning import Stranger, Whose
from scripthut_outputs.reader import HEAD
from scripthut_outputs.transfer import Content, Ended, Started


def run(mode: str, request: bytes) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-I", "-S", "-c", reader.program_text(), mode, "60", "20000"]
    return subprocess.run(argv, input=request, capture_output=True, check=False)


@pytest.mark.parametrize("follows", [False, True])
def test_the_program_is_text_that_old_pythons_read(*, follows: bool) -> None:
    ast.parse(reader.program_text(follows=follows), feature_version=(3, 6))


@pytest.mark.parametrize("follows", [False, True])
def test_the_program_fits_into_one_command_line(*, follows: bool) -> None:
    assert len(reader.program_text(follows=follows)) < 40 * 1024


@pytest.mark.parametrize("cut", [1, 8, 20, 60])
def test_a_request_that_is_cut_is_refused(cut: int) -> None:
    item = listing.locate(
        "r", "t", output_dir="/l/outputs/r/t", run_summary_path=None, stdout_path=None, stderr_path=None, attempt=1
    )
    whole = listing.request([item], CollectionLimits())

    done = run("list", whole[:-cut])

    assert done.returncode != 0
    assert b"the request is cut" in done.stderr


def test_nothing_asked_is_nothing_answered() -> None:
    assert run("send", transfer.request([])).stdout == b""
    assert run("list", listing.request([], CollectionLimits())).stdout == b""


@pytest.mark.parametrize("path", [b"../escape", b"a/../../escape", b"", b"a//b", b"./a", b"/etc/passwd"])
def test_a_path_that_leaves_its_base_is_not_opened(path: bytes) -> None:
    file = transfer.FileWanted(number=0, path=path, limit_bytes=10)
    part = transfer.Part(base=b"/tmp", owner=os.geteuid(), files=(file,))

    done = run("send", transfer.request([part]))

    (step,) = transfer.Stream().feed(done.stdout)
    assert isinstance(step, Ended)
    assert step.state is not None


def test_an_unknown_base_has_no_files() -> None:
    file = transfer.FileWanted(number=7, path=b"a", limit_bytes=10)
    part = transfer.Part(base=b"/nowhere", owner=os.geteuid(), files=(file,))

    done = run("send", transfer.request([part]))

    assert list(transfer.Stream().feed(done.stdout)) == [Ended(7, FileState.PURGED)]


def record(tag: bytes, subject: int, state: int = 0, number: int = 0, body: bytes = b"") -> bytes:
    return HEAD.pack(tag[0], subject, state, number, 1.5, len(body)) + body


def test_files_that_are_only_counted_are_summed_where_several_codes_mean_one_state() -> None:
    unreadable = reader.STATES.index(FileState.UNREADABLE)
    told = record(b"C", 0, unreadable, 7) + record(b"C", 0, reader.HUNG, 1) + record(b"E", 0)

    (found,) = listing.Answer().feed(told)

    assert found.unnamed == {FileState.UNREADABLE: 8}


WHOLE = (
    record(b"S", 0, number=5)
    + record(b"D", 0, body=b"he")
    + record(b"D", 0, body=b"llo")
    + record(b"E", 0)
    + record(b"E", 1, state=3)
)


@given(st.integers(1, 40))
def test_a_stream_reads_the_same_however_it_is_cut(piece_bytes: int) -> None:
    stream = transfer.Stream()
    pieces = [WHOLE[start : start + piece_bytes] for start in range(0, len(WHOLE), piece_bytes)]

    steps = [step for piece in pieces for step in stream.feed(piece)]

    assert steps == [
        Started(0, 5, 1.5),
        Content(0, b"he"),
        Content(0, b"llo"),
        Ended(0, None),
        Ended(1, FileState.UNREADABLE),
    ]


@pytest.mark.parametrize(
    "garbage",
    [
        record(b"D", 0, body=b"x"),
        record(b"E", 0),
        record(b"S", 0) + record(b"S", 1),
        record(b"S", 0) + record(b"E", 1),
        record(b"E", 0, state=99),
        record(b"?", 0),
        HEAD.pack(ord("D"), 0, 0, 0, 0.0, 2**32 - 1),
        b"Traceback (most recent call last)" * 3,
    ],
)
def test_what_is_not_an_answer_is_refused(garbage: bytes) -> None:
    with pytest.raises(BadOutput):
        list(transfer.Stream().feed(garbage))


@pytest.mark.parametrize(
    "garbage",
    [
        record(b"E", 1),
        record(b"F", 0, state=0xF0, body=b"x"),
        record(b"F", 0, state=0x0F, body=b"x"),
        record(b"?", 0),
    ],
)
def test_what_is_not_a_listing_is_refused(garbage: bytes) -> None:
    with pytest.raises(BadOutput):
        list(listing.Answer().feed(garbage))


def test_an_account_that_does_not_exist_is_said_and_nothing_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "out").mkdir()
    item = listing.locate(
        "r",
        "t",
        output_dir=str(tmp_path / "out"),
        run_summary_path=str(tmp_path / "secret"),
        stdout_path=None,
        stderr_path=None,
        attempt=1,
    )
    nobodys = msgspec.structs.replace(item, whose=Whose(account="no-such-account", owner="ada"))

    done = run("list", listing.request([nobodys, item], CollectionLimits()))

    refused, read = listing.Answer().feed(done.stdout)
    assert (refused.stranger, refused.entries, refused.manifest) == (Stranger(), [], None)
    assert (read.stranger, read.owner, [entry.path for entry in read.entries]) == (None, os.geteuid(), [b"secret"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("closed", [False, True])
def test_a_directory_of_another_is_told_by_whose_it_is_and_no_more(tmp_path: Path, *, closed: bool) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "secret").write_text("x")
    os.chown(theirs, 1, 1)
    theirs.chmod(0o000 if closed else 0o755)
    item = listing.locate(
        "r", "t", output_dir=str(theirs), run_summary_path=None, stdout_path=None, stderr_path=None, attempt=1
    )

    done = run("list", listing.request([item], CollectionLimits()))

    (found,) = listing.Answer().feed(done.stdout)
    assert found.stranger == Stranger(uid=1, name=pwd.getpwuid(1).pw_name)
    assert found.entries == []


def test_a_refusal_of_a_kind_that_nobody_knows_is_no_answer() -> None:
    with pytest.raises(BadOutput, match="unknown refusal 9"):
        list(listing.Answer().feed(HEAD.pack(b"X"[0], 0, 9, 0, 0.0, 0)))
