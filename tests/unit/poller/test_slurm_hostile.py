"""Whatever Slurm, a login shell or somebody's names print: an answer is whole, or it changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_common.shell.wire import Decoder
from scripthut_poller.schedulers.job import Accounts, JobState, Queue, Seen
from scripthut_poller.schedulers.slurm import Slurm, queued, rows
from tests.unit.poller import recorded

MARKER = "5c1f77aa0b"
QUEUES = ("22.05.8/11-array/2-partly", "22.05.8/12-het/2-running", "24.11.5/08-requeue/2-requeued")
ACCOUNTS = ("22.05.8/11-array/4-settled", "22.05.8/12-het/4-settled", "24.11.5/08-requeue/3-cancelled")


def framed(answer: Answer) -> bytes:
    return f"Welcome to daint!\n{MARKER}\n".encode() + answer.stdout + f"{MARKER} 000\n".encode()


def through_the_frame(wire: bytes) -> Answer | None:
    """Give what the shell hands on, or `None` where it calls the cluster unreachable."""
    decoder = Decoder(MARKER)
    stdout = decoder.feed(wire)
    status = decoder.finish()
    return None if status is None else Answer(stdout=stdout, stderr=b"", exit_status=status)


@pytest.mark.parametrize("answer", [*map(recorded.squeue, QUEUES), *map(recorded.sacct, ACCOUNTS)])
def test_an_answer_cut_at_any_byte_is_no_answer(answer: Answer) -> None:
    wire = framed(answer)

    whole = through_the_frame(wire)

    assert whole == answer
    assert all(through_the_frame(wire[:length]) is None for length in range(len(wire)))


@pytest.mark.parametrize("answer", list(map(recorded.squeue, QUEUES)))
def test_a_queue_cut_within_a_row_is_refused_even_without_its_frame(answer: Answer) -> None:
    stdout = answer.stdout
    inside = [length for length in range(len(stdout)) if stdout[:length][-1:] != b"\n"]

    for length in inside:
        with pytest.raises(BadOutput):
            queued.queue(Answer(stdout=stdout[:length], stderr=b"", exit_status=0))


@pytest.mark.parametrize("answer", list(map(recorded.sacct, ACCOUNTS)))
def test_accounting_cut_within_a_row_is_refused_even_without_its_frame(answer: Answer) -> None:
    stdout = answer.stdout
    inside = [length for length in range(len(stdout)) if stdout[:length][-1:] != b"\n"]

    for length in inside:
        with pytest.raises(BadOutput):
            rows.accounts(Answer(stdout=stdout[:length], stderr=b"", exit_status=0), ["65_4"])


BANNERS = (b"Welcome to daint!\n", b"*** maintenance | tonight ***\n", b"\n", b"\xe9t\xe9\n", b"\0\n", b"\x1b[2J\n")


@pytest.mark.parametrize("banner", BANNERS)
@pytest.mark.parametrize("answer", [recorded.squeue(QUEUES[0]), recorded.sacct(ACCOUNTS[0])])
def test_a_banner_before_the_frame_is_no_matter_and_within_it_refuses_the_answer(banner: bytes, answer: Answer) -> None:
    assert through_the_frame(banner + framed(answer)) == answer

    lines = answer.stdout.splitlines(keepends=True)
    for place in range(len(lines) + 1):
        upset = Answer(stdout=b"".join([*lines[:place], banner, *lines[place:]]), stderr=b"", exit_status=0)
        for read in (queued.queue, lambda told: rows.accounts(told, ["65_4"])):
            with pytest.raises(BadOutput):
                read(upset)


@pytest.mark.parametrize("banner", BANNERS)
def test_a_banner_after_the_frame_refuses_the_answer(banner: bytes) -> None:
    assert through_the_frame(framed(recorded.squeue(QUEUES[0])) + banner) is None


REASONS = [
    "job requeued in held state",
    "a|b|7|RUNNING",
    "ReqNodeNotAvail, UnavailableNodes:n[1-2]",
    "\x1b[31mred\x1b[0m",
    "",
    "|",
    "\r",
]


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_may_be_any_line_and_forges_nothing(reason: str) -> None:
    stdout = f"1\n7|PENDING|0|1|N/A|n/a|{reason}|\n".encode()

    queue = queued.queue(Answer(stdout=stdout, stderr=b"", exit_status=0))

    assert list(queue.jobs) == ["7"]
    assert queue.jobs["7"].state is JobState.QUEUED
    assert queue.jobs["7"].reason == (reason or None)


def test_bytes_that_are_not_utf8_are_shown_as_such() -> None:
    queue = queued.queue(Answer(stdout=b"1\n7|PENDING|0|1|N/A|n/a|\xe9\0|\n", stderr=b"", exit_status=0))

    assert queue.jobs["7"].reason == "\ufffd\0"


def test_a_line_that_looks_like_a_row_must_come_from_slurm() -> None:
    """No field that a user writes is asked for: what stands in an answer beside rows of jobs is a fault."""
    for question in (Slurm().queue(["1"], ["alice"]), Slurm().accounting(["1", "2_3"])):
        for field in ("Name", "Comment", "WorkDir", "Command", "WCKey", "StdOut", "SubmitLine", "AdminComment"):
            assert field not in question.program.text


@pytest.mark.parametrize("missing", range(7))
def test_a_column_that_squeue_does_not_know_is_left_empty_and_refuses_what_matters(missing: int) -> None:
    """Slurm complains on standard error, prints nothing for the column and ends with exit status 0."""
    fields = ["7", "RUNNING", "0", "1", "2", "n1", "None"]
    for cut in ([*fields[:missing], "", *fields[missing + 1 :]], [*fields[:missing], *fields[missing + 1 :]]):
        answer = Answer(
            stdout=("1\n" + "".join(f"{field}|" for field in cut) + "\n").encode(),
            stderr=b"squeue: error: Invalid job format specification: X\n",
            exit_status=0,
        )
        with pytest.raises(BadOutput):
            queued.queue(answer)


_LINES = st.lists(
    st.text(alphabet="|:_[]+,-%0179.\x1fRUNINGCOMPLETED \u00e9", max_size=60)
    | st.sampled_from(
        [
            "7|RUNNING|0|1|2|n1|None|",
            "12_[3-9%2]|PENDING|0|1|N/A|n/a|None|",
            "74+0|RUNNING|0|1|2|n1|None|",
            "slurm 22.05.8",
            "7|COMPLETED|0:0|10|11|12|debug|n1",
            "7.batch|FAILED|1:0|1|1|1||n1",
            "12_[1-3]|CANCELLED|0:0|10|11|12|debug|n1",
            "74+1|COMPLETED|0:0|10|11|12|debug|n1",
        ]
    )
)


@given(st.binary(max_size=300) | _LINES.map(lambda lines: "\n".join(["1", *lines, ""]).encode()), st.integers(0, 2))
def test_whatever_is_printed_is_read_or_refused_as_bad_output(stdout: bytes, exit_status: int) -> None:
    said = Answer(stdout=stdout, stderr=stdout[:50], exit_status=exit_status)

    for question in (Slurm().queue([]), Slurm().accounting(["1", "12_2", "74"])):
        try:
            told = question.parse(said)
        except BadOutput:
            continue
        assert isinstance(told, Queue | Accounts)
        if isinstance(told, Queue):
            assert all(isinstance(told.look(job_id), Seen) for job_id in told.jobs)
