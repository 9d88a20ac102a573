"""Claims and exit records are read by real sh from real folders, whatever their author put there."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.manifest import MAGIC
from scripthut_common.shell import Answer
from scripthut_poller import records
from scripthut_poller.records import Claim, Trace, Wanted
from scripthut_poller.schedulers import Question

NONCE = "n0nce"


def body(code: int = 0, files: int = 0) -> bytes:
    head = [MAGIC, str(code).encode(), b"1", b"42", NONCE.encode(), b"node7", b"1795457268", b"1795457300", b""]
    return b"\0".join([*head, *[b"1", b"2.5", b"name"] * files, b""])


def wanted(folder: Path | str, task_id: str, nonce: str = NONCE) -> Wanted:
    return Wanted(records_dir=str(folder), run_id="r1", task_id=task_id, nonce=nonce)


Traces = Mapping[tuple[str, str], Trace]


def answer(asked: Sequence[Wanted]) -> tuple[Answer, Question[Traces]]:
    question = records.read(asked)
    ran = subprocess.run(
        ["sh", "-c", question.program.text, "sh", *question.argv],
        input=question.stdin,
        capture_output=True,
        check=False,
        timeout=30,
    )
    return Answer(stdout=ran.stdout, stderr=ran.stderr, exit_status=ran.returncode), question


def traces(*asked: Wanted) -> dict[str, Trace]:
    said, question = answer(asked)
    told = question.parse(said)
    return {task_id: trace for (_, task_id), trace in told.items()}


def test_records_are_read_by_their_heads_however_long_they_are(tmp_path: Path) -> None:
    (tmp_path / "short.manifest").write_bytes(body(3))
    (tmp_path / "long.manifest").write_bytes(body(4, files=5000))

    told = traces(wanted(tmp_path, "short"), wanted(tmp_path, "long"), wanted(tmp_path, "none"))

    codes = {task_id: trace.record and trace.record.exit_code for task_id, trace in told.items()}
    assert codes == {"short": 3, "long": 4, "none": None}


def test_a_claim_is_read_where_there_is_no_record(tmp_path: Path) -> None:
    for task_id in ("begun", "over"):
        (tmp_path / f"{task_id}.claim" / NONCE).mkdir(parents=True)
        (tmp_path / f"{task_id}.claim" / NONCE / "job").write_bytes(b"42\0002\0" + NONCE.encode() + b"\0")
    (tmp_path / "over.manifest").write_bytes(body())

    told = traces(wanted(tmp_path, "begun"), wanted(tmp_path, "over"), wanted(tmp_path, "begun2"))

    assert told["begun"] == Trace(claim=Claim(job_id="42", attempt=2))
    assert told["over"].claim is None
    assert told["begun2"] == Trace()


def test_a_claim_of_another_submission_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.claim" / "other").mkdir(parents=True)
    (tmp_path / "t.claim" / "other" / "job").write_bytes(b"42\0001\0other\0")

    assert traces(wanted(tmp_path, "t")) == {"t": Trace()}


@pytest.mark.parametrize(
    "name", ["a b", "nl\nx", "back\\slash", "\\n", "$(touch X)", "q'\"", "-x", "ü", "\udcff", "gone"]
)
def test_several_folders_are_read_at_once_whatever_their_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    plain = tmp_path / "plain"
    for one in (plain, *([] if name == "gone" else [folder])):
        one.mkdir()
        (one / f"{one.name.isascii() and one == plain}.manifest").write_bytes(body(5))

    told = traces(wanted(folder, "False"), wanted(plain, "True"), wanted(folder, "missing"))

    assert told["True"].record is not None
    assert (told["False"].record is not None) == (name != "gone")
    assert told["missing"] == Trace()
    assert not list(tmp_path.rglob("X"))


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(body(1))
    os.mkfifo(tmp_path / "pipe.manifest")
    (tmp_path / "link.manifest").symlink_to(secret)
    (tmp_path / "folder.manifest").mkdir()
    (tmp_path / "claimed.claim" / NONCE).mkdir(parents=True)
    os.mkfifo(tmp_path / "claimed.claim" / NONCE / "job")

    told = traces(*[wanted(tmp_path, name) for name in ("pipe", "link", "folder", "claimed")])

    assert set(told.values()) == {Trace()}


def test_a_garbled_record_says_nothing_and_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "bad.manifest").write_bytes(b"\xff\0garbage" * 1000)
    (tmp_path / "empty.manifest").touch()
    (tmp_path / "good.manifest").write_bytes(body(6))

    told = traces(*[wanted(tmp_path, name) for name in ("bad", "empty", "good")])

    assert (told["bad"], told["empty"]) == (Trace(), Trace())
    assert told["good"].record is not None


def test_a_thousand_records_are_one_command(tmp_path: Path) -> None:
    for number in range(records.MAX_RECORDS):
        (tmp_path / f"t{number}.manifest").write_bytes(body(number % 256))

    told = traces(*[wanted(tmp_path, f"t{number}") for number in range(records.MAX_RECORDS)])

    codes = [told[f"t{number}"].record for number in range(records.MAX_RECORDS)]
    assert [code and code.exit_code for code in codes] == [number % 256 for number in range(records.MAX_RECORDS)]


@pytest.mark.parametrize(
    ("task_id", "nonce"), [("../x", NONCE), ("a b", NONCE), ("t", "../x"), ("t", "a b"), ("t", "")]
)
def test_nothing_but_ids_and_nonces_is_asked_for(task_id: str, nonce: str) -> None:
    with pytest.raises(InvalidInput):
        records.read([wanted("/x", task_id, nonce)])


def test_a_cut_answer_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "t.manifest").write_bytes(body(3))
    said, question = answer([wanted(tmp_path, "t")])

    for length in (0, 1, len(said.stdout) // 2, len(said.stdout) - 1):
        with pytest.raises(BadOutput):
            question.parse(Answer(stdout=said.stdout[:length], stderr=b"", exit_status=0))


def test_a_cut_question_is_answered_with_a_failure(tmp_path: Path) -> None:
    question = records.read([wanted(tmp_path, "t")])

    ran = subprocess.run(
        ["sh", "-c", question.program.text, "sh", "mark"], input=question.stdin[:-3], capture_output=True, check=False
    )

    assert ran.returncode != 0


@given(st.binary(max_size=200))
def test_whatever_is_printed_is_read_or_refused_as_bad_output(noise: bytes) -> None:
    question = records.read([wanted("/x", "t")])
    mark = question.argv[0].encode()

    for stdout in (noise, mark + noise, mark + b"0 record\n" + noise + mark + b"end\n", mark + noise + mark + b"end\n"):
        try:
            question.parse(Answer(stdout=stdout, stderr=b"", exit_status=0))
        except BadOutput:
            continue
