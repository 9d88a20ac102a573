"""The submit program in real sh, before a stand-in for sbatch that notes what it is given; and how receipts read."""

import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Fate, Receipt, Submission
from scripthut_poller.schedulers.slurm import Slurm, receipts

SBATCH = """#!/bin/bash
# Notes arguments and script of the Nth call in N.argv and N.script; a script that says so is answered otherwise.
cd "$(dirname "$0")/../calls" || exit
n=$(ls | grep -c argv)
printf '%s\\0' "$@" > "$n.argv"
cat > "$n.script"
grep -q 'refuse me' "$n.script" && { echo "sbatch: error: invalid partition specified: nope" >&2; exit 1; }
grep -q 'time out' "$n.script" && {
    echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
    exit 1
}
grep -q 'say more' "$n.script" && echo "sbatch: lua: Hello 12" >&2
grep -q 'say nothing' "$n.script" || echo "$((100 + n));testbed"
"""


# Shows other jobs of the account too, and job 101 as one that was requeued since.
SQUEUE = """#!/bin/sh
[ "$SLURM_TIME_FORMAT" = %s ] || exit
printf '%s|%s|1795457268|\\n' 7 0 100 0 101 1 102 0
"""


class Login:
    """A login node with stand-ins for sbatch and squeue."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("bin", "calls", "logs"):
            (root / name).mkdir()
        for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE)):
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
        question = Slurm().submit(submissions)
        ran = subprocess.run(
            ["sh", "-c", question.program.text, "sh", *question.argv],
            input=question.stdin[:cut],
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}"},
        )
        return Answer(stdout=ran.stdout, stderr=ran.stderr, exit_status=ran.returncode)

    def submit(self, *submissions: Submission) -> tuple[Receipt, ...]:
        return Slurm().submit(submissions).parse(self.answer(submissions))

    @property
    def calls(self) -> list[list[str]]:
        paths = sorted((self.root / "calls").glob("*.argv"), key=lambda path: int(path.stem))
        return [[os.fsdecode(word) for word in path.read_bytes().split(b"\0")[:-1]] for path in paths]

    def script(self, call: int) -> bytes:
        return (self.root / "calls" / f"{call}.script").read_bytes()


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return Login(tmp_path)


def test_sbatch_is_given_the_tag_first_and_the_script_as_it_is(login: Login) -> None:
    (receipt,) = login.submit(login.submission("t1", "a\\n%s 'b'\n\n\n"))

    log_dir = login.root / "logs"
    assert (receipt.fate, receipt.job_id) == (Fate.ACCEPTED, "100")
    assert login.calls == [
        [
            "--parsable",
            "--comment=scripthut:r1/t1",
            "--job-name=t1",
            f"--output={log_dir}/t1.out",
            f"--error={log_dir}/t1.err",
            "--open-mode=append",
        ]
    ]
    assert login.script(0).endswith(b"SCRIPTHUT_RESTARTS=${SLURM_RESTART_COUNT:-0}\na\\n%s 'b'\n\n\n")
    assert (log_dir / "outputs" / "r1" / "_run").is_dir()


def test_a_receipt_has_the_time_by_the_schedulers_own_clock_unless_that_has_changed(login: Login) -> None:
    receipts = login.submit(login.submission("one"), login.submission("two"), login.submission("three", "refuse me"))

    at = datetime.fromtimestamp(1_795_457_268, UTC)
    assert [receipt.submitted_at for receipt in receipts] == [at, None, None]


def test_no_time_is_told_where_the_queue_does_not_answer(login: Login) -> None:
    (login.root / "bin" / "squeue").write_text("#!/bin/sh\nprintf '100|0|17'\nexit 1\n")

    (receipt,) = login.submit(login.submission("one"))

    assert (receipt.fate, receipt.submitted_at) == (Fate.ACCEPTED, None)


def test_the_header_holds_what_was_asked_for(login: Login) -> None:
    wants: dict[str, Any] = {
        "partition": "debug",
        "account": "lab",
        "cpus": 4,
        "memory": "4G",
        "time_limit": "1-02:00:00",
        "gres": "gpu:a100:2",
    }
    login.submit(login.submission("t1", **wants))

    head = login.script(0).decode().split("\n")[:7]
    assert head == [
        "#!/bin/bash",
        "#SBATCH --partition=debug",
        "#SBATCH --account=lab",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=4G",
        "#SBATCH --time=1-02:00:00",
        "#SBATCH --gres=gpu:a100:2",
    ]


@pytest.mark.parametrize("value", ["a b", "x\n#SBATCH --uid=0", "", "-p", "$(id)", "a;b", "ü"])
def test_no_other_text_becomes_a_line_of_the_header(login: Login, value: str) -> None:
    for field in ("partition", "account", "memory", "time_limit", "gres"):
        with pytest.raises(InvalidInput, match="characters that no option"):
            Slurm().submit([login.submission("t1", **{field: value})])


def test_parents_of_the_same_batch_are_known_by_the_ids_that_they_are_given(login: Login) -> None:
    one, two = login.submission("one", is_held=True), login.submission("two")
    child = login.submission("child", after_ids=("7", "8"), after_tags=(one.tag, two.tag))

    login.submit(one, two, child)

    assert "--hold" in login.calls[0]
    assert "--hold" not in login.calls[1]
    assert login.calls[2][-2:] == ["--dependency=afterok:7:8:100:101", "--kill-on-invalid-dep=yes"]


def test_what_depends_on_a_refused_task_is_not_submitted(login: Login) -> None:
    refused = login.submission("refused", "refuse me")
    child = login.submission("child", after_tags=(refused.tag,))
    grandchild = login.submission("grandchild", after_tags=(child.tag,))

    fates = [receipt.fate for receipt in login.submit(refused, child, grandchild, login.submission("other"))]

    assert fates == [Fate.REFUSED, Fate.ORPHANED, Fate.ORPHANED, Fate.ACCEPTED]
    assert len(login.calls) == 2


def test_when_slurm_does_not_answer_the_rest_waits_for_another_time(login: Login) -> None:
    fates = [
        receipt.fate
        for receipt in login.submit(login.submission("a"), login.submission("b", "time out"), login.submission("c"))
    ]

    assert fates == [Fate.ACCEPTED, Fate.UNSURE, Fate.DEFERRED]
    assert len(login.calls) == 2


def test_what_a_site_adds_to_the_answer_is_not_taken_for_an_id(login: Login) -> None:
    (receipt,) = login.submit(login.submission("t1", "say more"))

    assert receipt.job_id == "100"


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
    "name", ["a b", "nl\nx", "$(touch X)", "`touch X`", "a\\0134b", "\\n", "q'\"", "-x", "ü", "\udcff"]
)
def test_hostile_folders_are_only_folders(login: Login, name: str) -> None:
    log_dir = f"{login.root}/logs/{name}"
    submission = login.submission("t1", log_dir=log_dir, records_dir=f"{log_dir}/outputs/r1/_run")

    (receipt,) = login.submit(msgspec.structs.replace(submission, stdout_path=f"{log_dir}/t1.out"))

    assert receipt.fate is Fate.ACCEPTED
    assert Path(log_dir, "outputs", "r1", "_run").is_dir()
    assert f"--output={receipts.pattern(log_dir)}/t1.out" in login.calls[0]
    assert not list(login.root.rglob("X"))


def test_wherever_a_batch_is_cut_only_whole_tasks_before_the_cut_are_submitted(login: Login) -> None:
    batch = [login.submission("one", "first\n"), login.submission("two", "second\n")]
    whole = Slurm().submit(batch).stdin
    first = len(Slurm().submit(batch[:1]).stdin)

    for cut in (0, 1, first // 2, first - 1, first, first + 1, len(whole) - 1):
        before = len(login.calls)
        answer = login.answer(batch, cut)

        assert answer.exit_status == 65
        assert len(login.calls) - before == (cut >= first)
        with pytest.raises(BadOutput):
            Slurm().submit(batch).parse(answer)


def test_a_parent_that_stands_after_its_child_is_a_mistake_of_ours(login: Login) -> None:
    child = login.submission("child", after_tags=("r1/parent",))

    with pytest.raises(ValueError, match="must stand before"):
        Slurm().submit([child, login.submission("parent")])


@pytest.mark.parametrize(
    ("said", "fate"),
    [
        ("Unable to contact slurm controller (connect failure)", Fate.DEFERRED),
        ("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Job violates accounting/QOS policy", Fate.DEFERRED),
        ("Batch job submission failed: Protocol authentication error", Fate.DEFERRED),
        ("Batch job submission failed: Socket timed out on send/recv operation", Fate.UNSURE),
        ("Batch job submission failed: Zero Bytes were transmitted or received", Fate.UNSURE),
        ("Batch job submission failed: Unexpected message received", Fate.UNSURE),
        ("Batch job submission failed: Invalid account or account/partition combination specified", Fate.REFUSED),
        ("Batch job submission failed: Requested node configuration is not available", Fate.REFUSED),
        ("", Fate.REFUSED),
    ],
)
def test_refusals_for_good_for_now_and_for_nobody_knows_are_told_apart(login: Login, said: str, fate: Fate) -> None:
    stdout = f"1 1795457268 {len(said)}\n{said}times 1795457268 0\n".encode()

    (receipt,) = receipts.parse(Answer(stdout=stdout, stderr=b"", exit_status=0), [login.submission("t1")])

    assert receipt.fate is fate


@given(
    st.binary(max_size=60)
    | st.from_regex(rb"[01] [0-9]{1,13} [0-9]{1,3}\n.{0,20}times [0-9]{1,13} [0-9]{1,2}\n.{0,20}", fullmatch=True)
)
def test_whatever_is_printed_is_read_or_refused_as_bad_output(stdout: bytes) -> None:
    submission = Submission(
        tag="r/t", script=b"", log_dir="/l", records_dir="/r", stdout_path="/o", stderr_path="/e", job_name="t"
    )
    try:
        (receipt,) = receipts.parse(Answer(stdout=stdout, stderr=b"", exit_status=0), [submission])
    except BadOutput:
        return
    assert receipt.tag == "r/t"
