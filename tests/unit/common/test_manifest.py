"""An exit record is read as a whole or by its head; whatever else lies there is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput
from scripthut_common.manifest import HEAD_BYTES, MAGIC, MAX_BYTES, parse, parse_head


def record(*, code: bytes = b"3", attempt: bytes = b"2", start: bytes = b"1795457268", rest: bytes = b"") -> bytes:
    return b"\0".join([MAGIC, code, attempt, b"42", b"n0nce", b"node7", start, b"1795457300", b"truncated,", rest])


def test_a_record_tells_how_the_task_ended_and_what_it_left() -> None:
    found = parse(record(rest=b"5\x001795457299.25\0a\nb/\xff\0"))

    assert (found.exit_code, found.attempt, found.job_id, found.nonce) == (3, 2, "42", "n0nce")
    assert found.flags == {"truncated"}
    (entry,) = found.entries
    assert (entry.path, entry.size_bytes, entry.modified_at) == (b"a\nb/\xff", 5, 1795457299.25)


def test_the_head_of_a_record_is_enough_to_know_how_the_task_ended() -> None:
    body = record(rest=b"5\x001795457299.25\0name\0" * 1000)

    found = parse_head(body[:HEAD_BYTES])

    assert (found.exit_code, found.flags, found.entries) == (3, frozenset({"truncated"}), ())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"scripthut-manifest-2\0" + record()[len(MAGIC) + 1 :],
        record()[:-12],
        record(rest=b"5\x001795457299.25\0unended"),
        record(rest=b"5\0name\0"),
        record(code=b"three"),
        record(code=b"-1"),
        record(code=b"256"),
        record(code=b"9" * 40),
        record(attempt=b"9" * 12),
        record(start=b"nan"),
        record(start=b"1e300"),
        record(start=b"-62135596800"),
        record(start=b"253402300799"),
        record(rest=b"-5\x001795457299.25\0name\0"),
        record(rest=b"99999999999999999999\x001795457299.25\0name\0"),
        record(rest=b"5\0inf\0name\0"),
        b"\0" * (MAX_BYTES + 1),
    ],
)
def test_what_no_wrapper_writes_is_refused(body: bytes) -> None:
    with pytest.raises(BadOutput):
        parse(body)


@given(st.binary() | st.builds(lambda *parts: b"\0".join((MAGIC, *parts)), *[st.binary(max_size=6)] * 9))
def test_arbitrary_bytes_raise_nothing_but_bad_output(body: bytes) -> None:
    for read in (parse, parse_head):
        try:
            read(body)
        except BadOutput:
            continue
