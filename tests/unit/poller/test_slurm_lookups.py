"""Tags are found where they are, and nobody's names can forge one; complaints name the jobs that they are about."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Action, Found
from scripthut_poller.schedulers.slurm import Slurm, complaints, lookups

M = "c0ffee"
AGO_S = 32.0
TAGS = frozenset({"r/a", "r/b"})
SUBMITTED = "sbatch --parsable --comment=scripthut:r/b --job-name=b --output=/x"


def found(queue: str = "", ended: str = "", *, status: int = 0, stderr: bytes = b"") -> Found:
    text = f"1795457300\n{queue}{M}{M}\n{ended}"
    return lookups.parse(Answer(stdout=text.encode(), stderr=stderr, exit_status=status), M, TAGS, AGO_S)


def row(job_id: str, line: str, state: str = "COMPLETED", at: int = 1_795_457_270) -> str:
    return f"{job_id}{M}{at}{M}{line}{M}{state}\n"


def test_a_tag_is_found_in_the_queue_by_the_comment_and_in_accounting_by_the_command() -> None:
    both = found(f"{M}|16|1795457270|scripthut:r/a\n", row("15", SUBMITTED))

    assert both.jobs == {"r/a": ("16",), "r/b": ("15",)}
    assert both.submitted_at == dict.fromkeys(("15", "16"), datetime.fromtimestamp(1_795_457_270, UTC))
    assert both.at == datetime.fromtimestamp(1_795_457_300, UTC)


def test_a_job_in_both_is_one_job_and_two_jobs_are_two() -> None:
    twice = found(f"{M}|15|1795457270|scripthut:r/b\n{M}|17|1795457270|scripthut:r/b\n", row("15", SUBMITTED))

    assert twice.jobs == {"r/b": ("15", "17")}


def test_what_was_submitted_long_before_is_another_submission() -> None:
    assert found(f"{M}|16|1795456000|scripthut:r/a\n", row("15", SUBMITTED, at=1_795_456_000)).jobs == {}


@pytest.mark.parametrize(
    "comment",
    [
        "x\n17|1795457270|scripthut:r/a",
        "scripthut:r/a\nand more",
        "xscripthut:r/a",
        "scripthut:r/c",
        "|17|1795457270|scripthut:r/a",
        "",
    ],
)
def test_no_comment_of_another_job_makes_a_row(comment: str) -> None:
    assert found(f"{M}|16|1795457270|{comment}\n").jobs == {}


@pytest.mark.parametrize(
    "line",
    [
        "sbatch --job-name=x --parsable --comment=scripthut:r/b",
        "sbatch --parsable --job-name=--comment=scripthut:r/b",
        "sbatch --wrap=true\nsbatch --parsable --comment=scripthut:r/b ",
        "srun --comment=scripthut:r/b",
        "",
    ],
)
def test_no_command_line_of_another_job_makes_a_row(line: str) -> None:
    assert found(ended=row("15", line) + row("18", "sbatch\n17")).jobs == {}


def test_names_with_newlines_between_rows_lose_none() -> None:
    rows = row("14", "sbatch --job-name=a\n99\nb") + row("15", SUBMITTED, "CANCELLED by 1002") + row("16", "x")

    assert found(ended=rows).jobs == {"r/b": ("15",)}


def test_where_no_accounting_is_kept_the_queue_alone_answers() -> None:
    alone = found(f"{M}|16|1795457270|scripthut:r/a\n", status=1, stderr=b"Slurm accounting storage is disabled\n")

    assert (alone.jobs, alone.is_accounting_kept) == ({"r/a": ("16",)}, False)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(stdout=b"", stderr=b"", exit_status=0),
        Answer(stdout=b"1795457300\n", stderr=b"squeue: error", exit_status=1),
        Answer(stdout=f"1795457300\n{M}{M}\n".encode(), stderr=b"Connection refused", exit_status=1),
        Answer(stdout=f"1795457300\n{M}|x|1|c\n{M}{M}\n".encode(), stderr=b"", exit_status=0),
        Answer(stdout=f"1795457300\n{M}{M}\n15{M}1{M}x".encode(), stderr=b"", exit_status=0),
        Answer(stdout=f"1795457300\n{M}{M}\n15{M}1{M}x{M}COMPLETED".encode(), stderr=b"", exit_status=0),
    ],
)
def test_unless_both_answered_nothing_is_found_or_missing(answer: Answer) -> None:
    with pytest.raises(BadOutput):
        lookups.parse(answer, M, TAGS, AGO_S)


def test_every_look_up_has_a_mark_of_its_own() -> None:
    assert Slurm().find(["r/a"], AGO_S).argv[0] != Slurm().find(["r/a"], AGO_S).argv[0]


@pytest.mark.parametrize(
    ("stderr", "told"),
    [
        ("scancel: error: Kill job error on job id 25: Access/permission denied", {"25": "Access/permission denied"}),
        (
            "Access/permission denied for job 25\nslurm_suspend error: Access/permission denied",
            {"25": "Access/permission denied"},
        ),
        ("Job has already finished for job 1\nslurm_suspend error: No error", {}),
        ("Invalid job id specified for job 99999\nslurm_suspend error: Invalid job id specified", {}),
        ("scancel: error: Kill job error on job id 3: Job/step already completing or completed", {}),
        (
            "scancel: error: Kill job error on job id 22_2: Access/permission denied",
            {"22_2": "Access/permission denied"},
        ),
        ("22_2: Invalid user id\n22_99: Invalid job id specified", {"22_2": "Invalid user id"}),
        ("22_0-5: Invalid user id\n23_1,4: Invalid user id", {"22": "Invalid user id", "23": "Invalid user id"}),
        ("22_2: Job has already finished\n22_3: Job has already finished", {}),
    ],
)
def test_complaints_name_their_jobs_and_jobs_that_are_over_are_none(stderr: str, told: dict[str, str]) -> None:
    assert complaints.parse(Answer(stdout=b"", stderr=f"{stderr}\n".encode(), exit_status=1)) == told


@pytest.mark.parametrize(
    "stderr",
    [
        "scancel: error: Kill job error on job id 3: Unable to contact slurm controller (connect failure)",
        "Unexpected message received for job 3\nslurm_suspend error: Unexpected message received",
        "scontrol: command not found",
        "",
    ],
)
def test_no_answer_is_no_complaint(stderr: str) -> None:
    with pytest.raises(BadOutput):
        complaints.parse(Answer(stdout=b"", stderr=stderr.encode(), exit_status=1))


@pytest.mark.parametrize(
    "job_id", ["", "-1", "1,2", "1 2", "$(id)", "1\n", "12345678901", "\u0661", "12_", "_1", "1_2_3", "1_[2]", "74+0"]
)
def test_what_is_no_job_id_reaches_no_command_line_and_hides_no_other(job_id: str) -> None:
    done = Answer(stdout=b"", stderr=b"", exit_status=0)

    cancel = Slurm().act(Action.CANCEL, ["1", job_id, "2_3"])
    release = Slurm().act(Action.RELEASE, ["1", job_id, "2_3"])

    assert Slurm().accounting(["1", job_id, "2_3"]).argv == ("1,2_3", "2")
    assert (cancel.argv, release.argv) == (("1", "2_3"), ("1,2_3",))
    assert cancel.parse(done) == release.parse(done) == {job_id: "this is not a Slurm job id"}


@given(st.binary(max_size=120), st.integers(0, 2), st.booleans())
def test_whatever_is_printed_is_read_or_refused_as_bad_output(noise: bytes, status: int, is_framed: bool) -> None:  # noqa: FBT001
    stdout = f"1795457300\n{M}{M}\n".encode() + noise if is_framed else noise
    answer = Answer(stdout=stdout, stderr=noise, exit_status=status)

    for read in (lambda: lookups.parse(answer, M, TAGS, AGO_S), lambda: complaints.parse(answer)):
        try:
            read()
        except BadOutput:
            continue
