"""What arrives of a transfer is what was asked for, whatever a cluster sends."""

from pathlib import Path

import pytest

from scripthut_common.errors import BadOutput
from scripthut_outputs import listing, reader
from scripthut_outputs.blobs.disk import DiskBlobs
from scripthut_outputs.fetching.receiving import Asked, Receiver
from scripthut_outputs.ledger import FileState, Place


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    item = listing.locate(
        "r", "t", output_dir="/l/outputs/r/t", run_summary_path=None, stdout_path=None, stderr_path=None, attempt=1
    )
    entry = listing.Entry(place=Place.OUTPUT, path=b"a", state=None, size_bytes=1, modified_at=1.0)
    return Receiver(DiskBlobs(tmp_path).batch(), {0: Asked(item=item, entry=entry)})


def record(tag: bytes, subject: int, body: bytes = b"") -> bytes:
    return reader.HEAD.pack(tag[0], subject, 0, len(body), 1.0, len(body)) + body


def sent(number: int) -> bytes:
    return record(b"S", number) + record(b"D", number, b"x") + record(b"E", number)


def test_a_file_that_was_asked_for_is_stored(receiver: Receiver) -> None:
    receiver.feed(sent(0))

    assert receiver.is_complete
    assert receiver.rows[0].state is FileState.STORED


@pytest.mark.parametrize("answer", [sent(1), sent(0) + sent(0), sent(0) + record(b"S", 0), record(b"S", 7)])
def test_a_file_that_nobody_asked_for_or_that_comes_twice_is_no_answer(receiver: Receiver, answer: bytes) -> None:
    with pytest.raises(BadOutput, match="out of turn"):
        receiver.feed(answer)
