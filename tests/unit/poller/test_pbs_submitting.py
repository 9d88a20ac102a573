"""The submit program in real sh, before a stand-in for qsub that notes what it is given; and how receipts read."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Fate, Receipt, Submission
from scripthut_poller.schedulers.pbs import Pbs, receipts, requests
from tests.unit.poller import pbs_recorded as recorded

QSUB = """#!/bin/bash
# Notes arguments and script of the Nth call in N.argv and N.script; a script that says so is answered otherwise.
cd "$(dirname "$0")/../calls" || exit
n=$(ls | grep -c argv)
printf '%s\\0' "$@" > "$n.argv"
cat > "$n.script"
grep -q 'refuse me' "$n.script" && { echo "qsub: Unknown queue" >&2; exit 170; }
grep -q 'server down' "$n.script" && {
    printf 'Connection refused\\nqsub: cannot connect to server pbs01 (errno=15010)\\n' >&2
    exit 162
}
grep -q 'say more' "$n.script" && echo "Welcome, 12 jobs" >&2
grep -q 'say nothing' "$n.script" || echo "$((100 + n)).pbs01"
"""


class Login:
    """A login node with a stand-in for qsub."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("bin", "calls", "logs"):
            (root / name).mkdir()
        for name, text in (("qsub", QSUB), ("qstat", "#!/bin/sh\n")):
            (root / "bin" / name).write_text(text)
            (root / "bin" / name).chmod(0o755)

    def submission(self, task_id: str, script: str = "true\n", **more: Any) -> Submission:
        log_dir = str(self.root / "logs")
        plain = Submission(
            tag=f"r1/{task_id}",
            script=script.encode(),
            log_dir=log_dir,
            records_dir=f"{log_dir}/outputs/r1/_run",
            stdout_path=f"{log_dir}/{task_id}.out",
            stderr_path=f"{log_dir}/{task_id}.err",
            job_name=task_id,
        )
        return msgspec.structs.replace(plain, **more)

    def answer(self, submissions: Sequence[Submission], cut: int | None = None) -> Answer:
        """Run the program on a batch, of which only the first bytes come."""
        question = Pbs().submit(submissions)
        ran = subprocess.run(
            ["sh", "-c", question.program.text, "sh", *question.argv],
            input=question.stdin[:cut],
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}"},
        )
        return Answer(stdout=ran.stdout, stderr=ran.stderr, exit_status=ran.returncode)

    def submit(self, *submissions: Submission) -> tuple[Receipt, ...]:
        return Pbs().submit(submissions).parse(self.answer(submissions))

    @property
    def calls(self) -> list[list[str]]:
        paths = sorted((self.root / "calls").glob("*.argv"), key=lambda path: int(path.stem))
        return [[os.fsdecode(word) for word in path.read_bytes().split(b"\0")[:-1]] for path in paths]

    def script(self, call: int) -> bytes:
        return (self.root / "calls" / f"{call}.script").read_bytes()


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return Login(tmp_path)


def test_qsub_is_given_the_tag_and_the_script_as_it_is(login: Login) -> None:
    (receipt,) = login.submit(login.submission("t1", "a\\n%s 'b'\n\n\n"))

    log_dir = login.root / "logs"
    assert (receipt.fate, receipt.job_id) == (Fate.ACCEPTED, "100.pbs01")
    (words,) = login.calls
    assert words[:4] == ["-S", "/bin/bash", "-N", "t1"]
    assert words[4:] == [
        "-o", f"{log_dir}/t1.out", "-e", f"{log_dir}/t1.err", "-k", "oed", "-m", "n", "-v", "SCRIPTHUT_TAG=r1/t1",
    ]  # fmt: skip
    assert login.script(0).startswith(b"#!/bin/bash\nSCRIPTHUT_JOB_ID=$PBS_JOBID SCRIPTHUT_RESTARTS=\n")
    assert login.script(0).endswith(b"SCRIPTHUT_RESTARTS=\na\\n%s 'b'\n\n\n")
    assert (log_dir / "outputs" / "r1" / "_run").is_dir()


def test_resources_are_asked_for_in_words_of_pbs(login: Login) -> None:
    wants: dict[str, Any] = {"partition": "debug", "account": "lab", "cpus": 4, "memory": "4G", "gres": "gpu:2"}

    login.submit(login.submission("t1", time_limit="1-02:00:00", **wants))

    assert login.calls[0][14:] == [
        "-q", "debug", "-A", "lab", "-l", "select=1:ncpus=4:mem=4gb:ngpus=2", "-l", "walltime=26:00:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "walltime"),
    [
        ("90", "01:30:00"),
        ("0", None),
        ("5:30", "00:05:30"),
        ("90:00", "01:30:00"),
        ("12:34:56", "12:34:56"),
        ("1-0", "24:00:00"),
        ("2-12", "60:00:00"),
        ("1-02:30", "26:30:00"),
        ("10-00:00:01", "240:00:01"),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, walltime: str | None) -> None:
    assert requests.walltime(text) == walltime


@pytest.mark.parametrize(("memory", "words"), [("512", "512mb"), ("7K", "7kb"), ("8M", "8mb"), ("9T", "9tb")])
def test_memory_is_written_with_its_unit(login: Login, memory: str, words: str) -> None:
    login.submit(login.submission("t1", memory=memory))

    assert login.calls[0][-1] == f"select=1:ncpus=1:mem={words}"


@pytest.mark.parametrize(
    ("wants", "said"),
    [
        ({"gres": "gpu:a100:2"}, "no types of GPUs"),
        ({"gres": "license:3"}, "gpu:2"),
        ({"partition": "a b"}, "partition"),
        ({"partition": "q -W x=y"}, "partition"),
        ({"account": "-lab"}, "account"),
        ({"memory": "4G:mpiprocs=9"}, "memory"),
        ({"time_limit": "tomorrow"}, "time_limit"),
        ({"stdout_path": "/logs/a^array_index^/t.out"}, "array_index"),
        ({"stderr_path": "/logs/a\nb.err"}, "control characters"),
    ],
)
def test_what_pbs_has_no_words_for_is_refused_alone(login: Login, wants: dict[str, Any], said: str) -> None:
    unfit = login.submission("unfit", **wants)
    child = login.submission("child", after_tags=(unfit.tag,))

    answers = login.submit(unfit, child, login.submission("other"))

    assert [one.fate for one in answers] == [Fate.REFUSED, Fate.ORPHANED, Fate.ACCEPTED]
    assert said in answers[0].message
    assert len(login.calls) == 1


@pytest.mark.parametrize("name", ["007", "1e5", "nan", "INF", "Infinity", "0x0", "20240101", "-N", "1234567e12", "9a"])
def test_no_name_is_taken_for_a_number(name: str) -> None:
    assert requests.job_name(name) == f"task-{name}"


@pytest.mark.parametrize("name", ["a", "train-0", "nano", "x" * 128])
def test_other_names_stay(name: str) -> None:
    assert requests.job_name(name) == name


def test_parents_of_the_same_batch_are_known_by_the_ids_that_they_are_given(login: Login) -> None:
    one, two = login.submission("one", is_held=True), login.submission("two")
    child = login.submission("child", after_ids=("7.pbs01", "8.pbs01"), after_tags=(one.tag, two.tag))

    login.submit(one, two, child)

    assert login.calls[0][-1] == "-h"
    assert "-h" not in login.calls[1]
    assert login.calls[2][-2:] == ["-W", "depend=afterok:7.pbs01:8.pbs01:100.pbs01:101.pbs01"]


def test_what_depends_on_a_refused_task_is_not_submitted(login: Login) -> None:
    refused = login.submission("refused", "refuse me")
    child = login.submission("child", after_tags=(refused.tag,))
    grandchild = login.submission("grandchild", after_tags=(child.tag,))

    fates = [receipt.fate for receipt in login.submit(refused, child, grandchild, login.submission("other"))]

    assert fates == [Fate.REFUSED, Fate.ORPHANED, Fate.ORPHANED, Fate.ACCEPTED]
    assert len(login.calls) == 2


def test_when_the_server_is_down_nothing_is_tried_any_more(login: Login) -> None:
    batch = [login.submission("a"), login.submission("b", "server down"), login.submission("c")]

    assert [receipt.fate for receipt in login.submit(*batch)] == [Fate.ACCEPTED, Fate.DEFERRED, Fate.DEFERRED]
    assert len(login.calls) == 2


def test_what_a_site_adds_to_the_answer_is_not_taken_for_an_id(login: Login) -> None:
    (receipt,) = login.submit(login.submission("t1", "say more"))

    assert receipt.job_id == "100.pbs01"


def test_an_answer_without_an_id_is_unsure(login: Login) -> None:
    (receipt,) = login.submit(login.submission("t1", "say nothing"))

    assert receipt.fate is Fate.UNSURE


def test_a_log_folder_that_cannot_be_made_is_a_refusal_that_says_so(login: Login) -> None:
    (login.root / "logs" / "outputs").write_text("a file")

    (receipt,) = login.submit(login.submission("t1"))

    assert receipt.fate is Fate.REFUSED
    assert "outputs" in receipt.message
    assert login.calls == []


@pytest.mark.parametrize(
    "name", ["a b", "w d, x", "a:b", "$(touch X)", "`touch X`", "a\\0134b", "\\n", "q'\"", "-x", "ü", "*", "\udcff"]
)
def test_hostile_folders_are_only_folders(login: Login, name: str) -> None:
    log_dir = f"{login.root}/logs/{name}"
    submission = login.submission("t1", log_dir=log_dir, records_dir=f"{log_dir}/outputs/r1/_run")

    (receipt,) = login.submit(msgspec.structs.replace(submission, stdout_path=f"{log_dir}/t1.out"))

    assert receipt.fate is Fate.ACCEPTED
    assert Path(log_dir, "outputs", "r1", "_run").is_dir()
    assert f"{log_dir}/t1.out" in login.calls[0]
    assert not list(login.root.rglob("X"))


def test_wherever_a_batch_is_cut_only_whole_tasks_before_the_cut_are_submitted(login: Login) -> None:
    batch = [login.submission("one", "first\n"), login.submission("two", "second\n")]
    whole = Pbs().submit(batch).stdin
    first = len(Pbs().submit(batch[:1]).stdin)

    for cut in (0, 1, first // 2, first - 1, first, first + 1, len(whole) - 1):
        before = len(login.calls)
        answer = login.answer(batch, cut)

        assert answer.exit_status == 65
        assert len(login.calls) - before == (cut >= first)
        with pytest.raises(BadOutput):
            Pbs().submit(batch).parse(answer)


def test_a_parent_that_is_no_job_of_pbs_is_a_mistake_of_ours(login: Login) -> None:
    with pytest.raises(InvalidInput, match="are not PBS job ids"):
        Pbs().submit([login.submission("child", after_ids=("7",))])
    with pytest.raises(ValueError, match="must stand before"):
        Pbs().submit([login.submission("child", after_tags=("r1/parent",)), login.submission("parent")])


@pytest.mark.parametrize(
    ("status", "said", "fate"),
    [
        (*recorded.said("down_refused_qsub"), Fate.DEFERRED),
        (*recorded.said("qsub_badqueue"), Fate.REFUSED),
        (*recorded.said("qsub_badres"), Fate.REFUSED),
        (*recorded.said("qsub_badsel"), Fate.REFUSED),
        (*recorded.said("qsub_badopt"), Fate.REFUSED),
        (*recorded.said("qsub_bigarr"), Fate.REFUSED),
        (*recorded.said("qsub_script_space"), Fate.REFUSED),
        (38, "qsub: would exceed queue generic's per-user limit of jobs in 'Q' state", Fate.DEFERRED),
        (171, "qsub: Invalid credential", Fate.DEFERRED),
        (1, "qsub: Connection timed out", Fate.UNSURE),
        (1, "qsub: Batch protocol error", Fate.UNSURE),
        (124, "", Fate.UNSURE),
        (137, "", Fate.UNSURE),
        (134, "munmap_chunk(): invalid pointer", Fate.UNSURE),
        (139, "", Fate.UNSURE),
        (1, "", Fate.UNSURE),
    ],
)
def test_refusals_for_good_for_now_and_for_nobody_knows_are_told_apart(
    login: Login, status: int, said: str, fate: Fate
) -> None:
    stdout = f"{status} 1795457268 {len(said)}\n{said}".encode()

    (receipt,) = receipts.parse(Answer(stdout=stdout, stderr=b"", exit_status=0), [login.submission("t1")])

    assert receipt.fate is fate
    assert "usage" not in receipt.message


@given(st.binary(max_size=60) | st.from_regex(rb"[01] [0-9]{1,13} [0-9]{1,3}\n.{0,20}", fullmatch=True))
def test_whatever_is_printed_is_read_or_refused_as_bad_output(stdout: bytes) -> None:
    submission = Submission(
        tag="r/t", script=b"", log_dir="/l", records_dir="/r", stdout_path="/o", stderr_path="/e", job_name="t"
    )
    try:
        (receipt,) = receipts.parse(Answer(stdout=stdout, stderr=b"", exit_status=0), [submission])
    except BadOutput:
        return
    assert receipt.tag == "r/t"
