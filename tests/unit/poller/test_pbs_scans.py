"""The scan of PBS over recorded answers: whose jobs, which elements, and what their owners wrote."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.pbs import scans
from scripthut_poller.schedulers.scanning import Scanned

RECORDING = Path(__file__).parents[2] / "recordings" / "pbs" / "v23.06.06" / "all_x_f_dsv.stdout"
M = "c0ffee" * 5
AT = datetime(2026, 11, 23, 7, 5, 59, tzinfo=UTC)
NO_HISTORY = "PBS is not configured to maintain job history"


class Commands:
    """Stand-ins for qselect and qstat that print what a test says, under the real program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[str, str] = {}
        self.selects("")
        self.shows()

    def selects(self, *ids: str, status: int = 0, past: str | None = None) -> None:
        listed = "\n".join(ids)
        told = listed if past is None else past
        self._write("qselect", f"case $1 in -x) echo '{told}' ;; *) echo '{listed}' ;; esac\nexit {status}")

    def shows(self, *records: str, status: int = 0) -> None:
        (self._folder / "records").write_bytes("\n".join(records).encode("utf-8", "surrogateescape") + b"\n")
        self._write("qstat", f'echo "$@" >> {self._folder}/asked\ncat {self._folder}/records\nexit {status}')

    @property
    def asked(self) -> str:
        return (self._folder / "asked").read_text()

    def scan(self, *announced: str, most: int = 100) -> Scanned:
        done = subprocess.run(
            ["sh", "-c", scans.SCAN.text, "pbs-scan", M, "alice,bob", "", str(most)],
            input="".join(f"{one}\n" for one in announced).encode(),
            capture_output=True,
            env={"PATH": f"{self._folder}:/usr/bin:/bin"},
            check=False,
        )
        answer = Answer(stdout=done.stdout, stderr=done.stderr, exit_status=done.returncode)
        return scans.parse(answer, M, frozenset({"alice", "bob"}))

    def _write(self, name: str, body: str) -> None:
        (self._folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (self._folder / name).chmod(0o755)


@pytest.fixture
def pbs(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def job(job_id: str, variables: str = "", user: str = "bob", **more: str) -> str:
    fields = {"Job_Owner": f"{user}@pbs01", "ctime": "Mon Nov 23 07:05:59 2026", **more}
    known = [f"PBS_O_HOME=/home/{user}", *([variables] if variables else []), "PBS_O_SYSTEM=Linux"]
    listed = [f"{name}={value}" for name, value in fields.items()]
    return M.join((f"Job Id: {job_id}", "Job_Name=x", *listed, "Variable_List=" + ",".join(known), "comment=x"))


def told(scanned: Scanned) -> list[tuple[str, str, str | None]]:
    return sorted((element.job_id, one.user, one.tag) for one in scanned.candidates for element in one.elements)


def test_tagged_jobs_are_told_and_arrays_taken_apart(pbs: Commands) -> None:
    pbs.selects("20.pbs01", "21[].pbs01", "22.pbs01")
    pbs.shows(
        job("20.pbs01", "SCRIPTHUT_TAG=r/t"),
        job("21[].pbs01", "SCRIPTHUT_TAG=r/a", "alice", array_indices_submitted="1-9:4"),
        job("22.pbs01"),
    )

    found = pbs.scan()

    assert told(found) == [
        ("20.pbs01", "bob", "r/t"),
        *((f"21[{index}].pbs01", "alice", "r/a") for index in (1, 5, 9)),
    ]
    assert {one.submitted_at for one in found.candidates} == {AT}
    assert found.is_whole


def test_recorded_jobs_are_told_when_they_were_announced_and_not_without(pbs: Commands) -> None:
    records = RECORDING.read_bytes().replace(b"|", M.encode()).decode("utf-8", "surrogateescape").split("\n")
    pbs.selects("21[].pbs01", "1.pbs01")
    pbs.shows(*records)

    assert told(pbs.scan()) == []
    assert told(pbs.scan("1.pbs01", "21[].pbs01", "22[].pbs01")) == [
        ("1.pbs01", "alice", None),
        *((f"21[{index}].pbs01", "alice", None) for index in range(6)),
        *((f"22[{index}].pbs01", "alice", None) for index in (1, 3, 5, 7, 9)),
    ]


@pytest.mark.parametrize(
    "variables",
    [
        r"A=x\,SCRIPTHUT_TAG=r/stolen",
        "A_SCRIPTHUT_TAG=r/t",
        r"A=\nJob Id: 9.pbs01",
        "A=SCRIPTHUT_TAG=r/t",
    ],
)
def test_a_value_of_another_variable_is_no_tag(pbs: Commands, variables: str) -> None:
    pbs.selects("20.pbs01", "21.pbs01")
    pbs.shows(job("20.pbs01", variables), job("21.pbs01", "SCRIPTHUT_TAG=r/t"))

    assert told(pbs.scan()) == [("21.pbs01", "bob", "r/t")]


def test_jobs_of_other_accounts_are_nobodys(pbs: Commands) -> None:
    pbs.selects("20.pbs01")
    pbs.shows(job("20.pbs01", "SCRIPTHUT_TAG=r/t", "mallory"), job("x;id", "SCRIPTHUT_TAG=r/t"))

    assert told(pbs.scan("20.pbs01")) == []


def test_without_history_the_living_are_asked_for_without_it(pbs: Commands) -> None:
    pbs.selects("20.pbs01", past=f"qselect: {NO_HISTORY}")
    pbs.shows(job("20.pbs01", "SCRIPTHUT_TAG=r/t"))

    found = pbs.scan()

    assert (told(found), found.is_whole) == ([("20.pbs01", "bob", "r/t")], True)
    assert " -x " not in pbs.asked


def test_nothing_is_asked_by_id_where_nobody_has_jobs(pbs: Commands, tmp_path: Path) -> None:
    assert told(pbs.scan()) == []
    assert not (tmp_path / "asked").exists()


def test_what_is_no_id_reaches_no_command_line(pbs: Commands) -> None:
    pbs.selects("20.pbs01", "--help", "$(id)", "1;2.x", "a.b")
    pbs.shows(job("20.pbs01", "SCRIPTHUT_TAG=r/t"))

    pbs.scan()

    assert pbs.asked.split("dsv")[1].split()[2:] == ["20.pbs01"]


def test_one_account_with_very_many_jobs_leaves_room_for_others(pbs: Commands) -> None:
    pbs.selects(*(f"{number}.pbs01" for number in range(30)))

    assert pbs.scan(most=10).left_out.keys() == {"alice", "bob"}


@pytest.mark.parametrize("command", ["qselect", "qstat"])
def test_a_server_that_does_not_answer_tells_nothing(pbs: Commands, command: str) -> None:
    pbs.selects("20.pbs01", status=162 if command == "qselect" else 0)
    pbs.shows(status=255 if command == "qstat" else 0)

    with pytest.raises(BadOutput):
        pbs.scan()


@pytest.mark.parametrize("status", [35, 153])
def test_jobs_that_have_gone_between_the_questions_are_none(pbs: Commands, status: int) -> None:
    pbs.selects("20.pbs01", "21.pbs01")
    pbs.shows(job("20.pbs01", "SCRIPTHUT_TAG=r/t"), status=status)

    assert told(pbs.scan()) == [("20.pbs01", "bob", "r/t")]
