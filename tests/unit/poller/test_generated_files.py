"""Which file a generated list is, and what its reader's answers mean; a cut answer means nothing."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.generated.files import MAX_FILES, Absent, Content, Found, Later, Refused, place, read


def _one(status: int, number: int = 0, body: bytes = b"") -> bytes:
    return struct.pack(">BQ", status, number) + body


def _parse(stdout: bytes, count: int, exit_status: int = 0) -> tuple[Found, ...]:
    question = read(["/x"] * count)
    return question.parse(Answer(stdout=stdout, stderr=b"no python3", exit_status=exit_status))


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("list.json", "/work/list.json"),
        ("../list.json", "/work/../list.json"),
        ("/abs/list.json", "/abs/list.json"),
        ("", "/work/"),
        ("a\nb", "/work/a\nb"),
        ("~bob/list.json", None),
        ("./~bob", "/work/./~bob"),
    ],
)
def test_a_source_is_absolute_or_of_the_working_directory(source: str, path: str | None) -> None:
    assert place(source, "/work") == path


def test_names_travel_on_standard_input_with_their_lengths() -> None:
    question = read(["/a b\n'", "/é"])

    assert question.stdin == b"".join(
        [(2).to_bytes(8, "big"), (6).to_bytes(8, "big"), b"/a b\n'", (3).to_bytes(8, "big"), "/é".encode()]
    )
    assert not any("/a b" in word for word in question.argv)


def test_every_answer_stands_for_its_file() -> None:
    body = b"[\0\n]"
    stdout = b"".join(
        [_one(0, len(body), body), _one(1), _one(2, 2), _one(3), _one(4), *(_one(n) for n in range(5, 10)), _one(0)]
    )

    content, later, missing, empty, changed, *refused, nothing = _parse(stdout, 11)

    assert content == Content(body=body)
    assert later == Later()
    assert missing == Absent(reason="no such file or directory")
    assert isinstance(empty, Absent)
    assert isinstance(changed, Absent)
    assert all(isinstance(one, Refused) for one in refused)
    assert nothing == Content(body=b"")


def test_every_prefix_of_an_answer_is_no_answer() -> None:
    whole = _one(0, 3, b"[1]") + _one(2, 13) + _one(0, 2, b"[]")

    for end in range(len(whole)):
        with pytest.raises(BadOutput):
            _parse(whole[:end], 3)
    assert len(_parse(whole, 3)) == 3


@pytest.mark.parametrize("stdout", [_one(10), _one(255), _one(2, 2**40), _one(3) + b"x", _one(0, 2**63, b"x")])
def test_an_answer_that_is_none_is_refused(stdout: bytes) -> None:
    with pytest.raises(BadOutput):
        _parse(stdout, 1)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_none(stdout: bytes) -> None:
    try:
        found = _parse(stdout, 2)
    except BadOutput:
        return
    assert len(found) == 2


def test_a_program_that_failed_says_why() -> None:
    with pytest.raises(BadOutput, match="no python3"):
        _parse(b"", 1, exit_status=127)


def test_no_more_is_asked_than_one_command_may() -> None:
    with pytest.raises(ValueError, match="at most"):
        read(["/x"] * (MAX_FILES + 1))
