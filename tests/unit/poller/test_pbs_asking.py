"""The programs that ask PBS, in real sh, before stand-ins that answer by recordings; lookups and complaints."""

import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers import Question
from scripthut_poller.schedulers.job import ABSENT, Action, JobState, Seen
from scripthut_poller.schedulers.pbs import Pbs, complaints
from tests.unit.poller import pbs_recorded as recorded

Told = TypeVar("Told")
# The login node's clock says 06:20 of 23 November 2026.
CLOCK = '#!/bin/sh\n[ "$1" != +%s ] || exec echo 1795414800\nexec /bin/date "$@"\n'
AGO_S = 300.0
# Answers its Nth call with what lies in N.out, N.err and N.status, and notes its words in N.argv. The delimiter that it
# is given stands where recordings were written with another.
CLIENT = f"""#!/bin/sh
cd "$(dirname "$0")/../calls" || exit 99
n=$(ls | grep -c argv)
printf '%s\\n' "${{0##*/}}" "$@" > "$n.argv"
env | grep -E '^(TZ|LC_ALL)=' > "$n.env"
while [ $# -gt 0 ]; do [ "$1" != -D ] || mark=$2; shift; done
sed "s/{recorded.MARK}/$mark/g" "$n.out"
cat "$n.err" >&2
exit "$(cat "$n.status")"
"""


class Login:
    """A login node where every client gives the answers that were prepared, in their order."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prepared = 0
        for name in ("bin", "calls"):
            (root / name).mkdir()
        for name, client in (*dict.fromkeys(("qstat", "qselect", "qdel", "qrls"), CLIENT).items(), ("date", CLOCK)):
            (root / "bin" / name).write_text(client)
            (root / "bin" / name).chmod(0o755)

    def prepare(self, output: str = "", status: int = 0, complaint: str = "") -> "Login":
        base = self._root / "calls" / str(self._prepared)
        base.with_suffix(".out").write_text(output)
        base.with_suffix(".err").write_text(complaint and complaint + "\n")
        base.with_suffix(".status").write_text(str(status))
        self._prepared += 1
        return self

    def answer(self, question: Question[Told], path: Sequence[str] = ("/usr/bin", "/bin")) -> Answer:
        ran = subprocess.run(
            ["sh", "-c", question.program.text, "sh", *question.argv],
            input=question.stdin,
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": ":".join([f"{self._root}/bin", *path])},
        )
        return Answer(stdout=ran.stdout, stderr=ran.stderr, exit_status=ran.returncode)

    def ask(self, question: Question[Told]) -> Told:
        return question.parse(self.answer(question))

    @property
    def calls(self) -> list[list[str]]:
        paths = sorted((self._root / "calls").glob("*.argv"), key=lambda path: int(path.stem))
        return [path.read_text().splitlines() for path in paths]

    @property
    def environment(self) -> str:
        return (self._root / "calls" / "0.env").read_text()


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return Login(tmp_path)


def _row(name: str, job_id: str) -> str:
    return recorded.row(job_id, recorded.jobs_of_json(name)[job_id])


RUNNING = _row("job_long.f_json", "19.pbs01")
ELEMENT = _row("job_arr_run_sub1.f_json", "22[1].pbs01")
ENDED = _row("job_exit1.x_f_json", "2.pbs01")
UNKNOWN = (153, "qstat: Unknown Job Id 999.pbs01")


def test_jobs_are_asked_for_by_id_in_one_request_in_utc(login: Login) -> None:
    login.prepare(RUNNING + ELEMENT)

    queue = login.ask(Pbs().queue(["19.pbs01", "22[1].pbs01"]))

    (words,) = login.calls
    assert words[:6] == ["qstat", "-E", "-f", "-F", "dsv", "-D"]
    assert words[7:] == ["19.pbs01", "22[1].pbs01"]
    assert len(words[6]) == 32
    assert login.environment.split() in (["TZ=UTC0", "LC_ALL=C"], ["LC_ALL=C", "TZ=UTC0"])
    assert {job.state for job in queue.jobs.values()} == {JobState.RUNNING}


def test_what_is_missing_is_asked_for_once_more(login: Login) -> None:
    login.prepare(RUNNING).prepare("", *UNKNOWN)

    queue = login.ask(Pbs().queue(["2.pbs01", "19.pbs01", "22[1].pbs01"]))

    assert login.calls[1][7:] == ["2.pbs01", "22[1].pbs01"]
    assert isinstance(queue.look("19.pbs01"), Seen)
    assert queue.look("2.pbs01") is ABSENT
    assert queue.look("22[1].pbs01") is ABSENT


def test_a_refusal_of_all_is_enough(login: Login) -> None:
    status, complaint = recorded.said("E_finished_nox_only")
    login.prepare("", status, complaint)

    queue = login.ask(Pbs().queue(["2.pbs01", "3.pbs01"]))

    assert len(login.calls) == 1
    assert queue.jobs == {}


def test_a_hidden_job_keeps_no_other_from_being_proven_absent(login: Login) -> None:
    login.prepare(RUNNING).prepare("").prepare("", *UNKNOWN).prepare("").prepare("").prepare("", *UNKNOWN)
    hidden, gone = "3.pbs01", ["1.pbs01", "2.pbs01", "4.pbs01"]

    queue = login.ask(Pbs().queue([*gone, hidden, "19.pbs01"]))

    assert [words[7:] for words in login.calls[1:]] == [
        ["1.pbs01", "2.pbs01", hidden, "4.pbs01"],
        ["1.pbs01", "2.pbs01"],
        [hidden, "4.pbs01"],
        [hidden],
        ["4.pbs01"],
    ]
    assert queue.jobs[hidden].state is JobState.ODD
    assert [queue.look(job_id) for job_id in gone] == [ABSENT] * 3


def test_jobs_that_are_all_hidden_are_asked_for_some_times_only(login: Login) -> None:
    for _ in range(40):
        login.prepare("")

    queue = login.ask(Pbs().queue([f"{n}.pbs01" for n in range(100)]))

    assert len(login.calls) <= 20
    assert {job.state for job in queue.jobs.values()} == {JobState.ODD}
    assert len(queue.jobs) == 100


def test_hidden_jobs_are_not_absent(login: Login) -> None:
    for _ in range(4):
        login.prepare("")

    queue = login.ask(Pbs().queue(["19.pbs01", "5304[].pbs01"]))

    assert {job.state for job in queue.jobs.values()} == {JobState.ODD}
    assert len(login.calls) == 4


@pytest.mark.parametrize("name", ["down_refused_E", "E_badid", "down_unresolvable", "noconf"])
def test_a_server_that_is_down_is_asked_no_further(login: Login, name: str) -> None:
    login.prepare("", *recorded.said(name))
    question = Pbs().queue([f"{n}.pbs01" for n in range(2500)])

    answer = login.answer(question)

    assert len(login.calls) == 1
    with pytest.raises(BadOutput, match="qstat ended with exit status"):
        question.parse(answer)


def test_another_server_that_fails_holds_nobody_up(login: Login) -> None:
    login.prepare("", *recorded.said("other_server_id")).prepare(RUNNING)
    strangers = [f"{n}.otherhost" for n in range(2)]

    queue = login.ask(Pbs().queue([*strangers, "19.pbs01", "19.pbs01"]))

    assert [words[7:] for words in login.calls] == [strangers, ["19.pbs01"]]
    assert queue.jobs["19.pbs01"].state is JobState.RUNNING


def test_after_a_server_that_hangs_nobody_is_asked(login: Login, tmp_path: Path) -> None:
    limit = tmp_path / "bin" / "timeout"
    limit.write_text('#!/bin/sh\nexec >> "$(dirname "$0")/limits"\necho "$@"\nexit 124\n')
    limit.chmod(0o755)
    question = Pbs().queue(["1.pbs01", "2.pbs01", "3.otherhost"])

    answer = login.answer(question)

    (limited,) = (tmp_path / "bin" / "limits").read_text().splitlines()
    assert limited.startswith("-k 5 40 qstat -E -f")
    assert limited.endswith("1.pbs01 2.pbs01")
    with pytest.raises(BadOutput, match="no answer from the PBS server in 40 s"):
        question.parse(answer)


def test_a_login_node_without_pbs_is_told(login: Login, tmp_path: Path) -> None:
    (tmp_path / "bin" / "qstat").unlink()
    question = Pbs().queue(["1.pbs01"])

    answer = login.answer(question)

    with pytest.raises(BadOutput, match="exit status 127"):
        question.parse(answer)


def test_the_history_is_asked_and_says_when_there_is_none(login: Login) -> None:
    login.prepare(ENDED)
    assert login.ask(Pbs().accounting(["2.pbs01"])).rows["2.pbs01"][0].exit_code == 1
    assert login.calls[0][1:4] == ["-E", "-x", "-f"]

    status, complaint = recorded.said("hist_off_vanished_x")
    login.prepare("", status, complaint)
    assert not login.ask(Pbs().accounting(["5294.pbs01"])).is_kept
    assert len(login.calls) == 2


def test_no_id_at_all_asks_nothing(login: Login) -> None:
    assert login.ask(Pbs().queue([])).jobs == {}
    assert login.calls == []


def _tagged(job_id: str, variables: str, ctime: str = "Mon Nov 23 06:26:54 2026") -> str:
    fields = {**recorded.jobs_of_json("job_success.x_f_json")["1.pbs01"], "Variable_List": variables, "ctime": ctime}
    return recorded.row(job_id, fields)


def test_tags_are_found_by_their_variable_the_newest_first(login: Login) -> None:
    login.prepare("1.pbs01\n2.pbs01\n3.pbs01\n4.pbs01\n5.pbs01\n")
    login.prepare(
        _tagged("1.pbs01", "PBS_O_HOME=/home/a,SCRIPTHUT_TAG=r/t")
        + _tagged("2.pbs01", "SCRIPTHUT_TAG=r/t,A=1", "Mon Nov 23 06:27:00 2026")
        + _tagged("3.pbs01", "A=x\\,SCRIPTHUT_TAG=r/t")
        + _tagged("4.pbs01", "SCRIPTHUT_TAG=r/t,SCRIPTHUT_TAG=r/u")
        + _tagged("5.pbs01", "SCRIPTHUT_TAG=r/t", "Mon Nov 23 05:00:00 2026")
    )

    found = login.ask(Pbs().find(["r/t", "r/u"], AGO_S))

    assert found.jobs == {"r/t": ("2.pbs01", "1.pbs01")}
    assert found.submitted_at["2.pbs01"] == datetime(2026, 11, 23, 6, 27, tzinfo=UTC)
    assert found.is_accounting_kept
    assert login.calls[0][1:3] == ["-x", "-u"]
    assert login.calls[0][4] == "-tc.ge.202611230605"


def test_without_history_tags_are_looked_for_in_the_queue_alone(login: Login) -> None:
    login.prepare("", *recorded.said("hist_off_qselect_x")).prepare("1.pbs01\n")
    login.prepare(_tagged("1.pbs01", "SCRIPTHUT_TAG=r/t"))

    found = login.ask(Pbs().find(["r/t"], AGO_S))

    assert found.jobs == {"r/t": ("1.pbs01",)}
    assert not found.is_accounting_kept
    assert "-x" not in login.calls[1] + login.calls[2]


def test_no_jobs_means_that_no_tag_is_there(login: Login) -> None:
    assert login.prepare("").ask(Pbs().find(["r/t"], AGO_S)).jobs == {}


def test_a_job_that_is_named_and_not_shown_may_be_the_one(login: Login) -> None:
    login.prepare("1.pbs01\n2.pbs01\n").prepare(_tagged("1.pbs01", "A=1")).prepare("")
    question = Pbs().find(["r/t"], AGO_S)
    answer = login.answer(question)

    with pytest.raises(BadOutput, match="does not show 1 jobs"):
        question.parse(answer)


def test_a_look_up_that_fails_finds_nothing_out(login: Login) -> None:
    login.prepare("", *recorded.said("down_refused_qselect"))
    question = Pbs().find(["r/t"], AGO_S)
    answer = login.answer(question)

    with pytest.raises(BadOutput, match="cannot connect"):
        question.parse(answer)


def test_any_prefix_of_a_look_up_is_refused(login: Login) -> None:
    login.prepare("1.pbs01\n").prepare(_tagged("1.pbs01", "SCRIPTHUT_TAG=r/t"))
    question = Pbs().find(["r/t"], AGO_S)
    whole = login.answer(question)
    assert question.parse(whole).jobs

    for cut in range(len(whole.stdout)):
        with pytest.raises(BadOutput):
            question.parse(Answer(stdout=whole.stdout[:cut], stderr=b"", exit_status=0))


def test_jobs_are_cancelled_and_released_by_id(login: Login) -> None:
    login.prepare().prepare()

    login.ask(Pbs().act(Action.CANCEL, ["1.pbs01", "22[3].pbs01"]))
    login.ask(Pbs().act(Action.RELEASE, ["2.pbs01"]))

    assert login.calls == [["qdel", "1.pbs01", "22[3].pbs01"], ["qrls", "-h", "u", "2.pbs01"]]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("qdel_other_user", {"19.pbs01": "Unauthorized Request"}),
        ("qdel_finished", {}),
        ("qdel_unknown", {}),
        ("qdel_running", {}),
    ],
)
def test_what_is_over_needs_no_cancelling(name: str, complaint: dict[str, str]) -> None:
    status, said = recorded.said(name)

    assert complaints.parse(Answer(stdout=b"", stderr=said.encode(), exit_status=status)) == complaint


@pytest.mark.parametrize(
    ("status", "said"),
    [
        recorded.said("down_refused_qdel"),
        (1, ""),
        (124, "qdel: Unknown Job Id 9.pbs01"),
        (153, "qdel: Unknown Job Id 9.pbs01\npbs_iff: all reserved ports in use"),
    ],
)
def test_without_an_answer_nothing_was_cancelled(status: int, said: str) -> None:
    with pytest.raises(BadOutput):
        complaints.parse(Answer(stdout=b"", stderr=said.encode(), exit_status=status))
