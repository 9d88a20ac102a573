"""Scans tell whose a job is and what its owner wrote; nobody's comments, command lines or file names forge a row."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.shell import Answer
from scripthut_poller import notices
from scripthut_poller.adopting import MAX_RUNS_PER_SCAN, announced_ids, by_run, plan
from scripthut_poller.notices import Account, Notice
from scripthut_poller.schedulers import scanning
from scripthut_poller.schedulers.scanning import Candidate, Element, Scanned
from scripthut_poller.schedulers.slurm import scans
from scripthut_poller.watchlist.adoptions import Foundling

M = "c0ffee" * 5
AT = datetime.fromtimestamp(1_795_457_268, UTC)
USERS = frozenset({"alice", "bob"})


class Commands:
    """Stand-ins for squeue and sacct that print what a test says, under the real program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.says("squeue", "")
        self.says("sacct", "")

    def says(self, command: str, text: str, status: int = 0, stderr: str = "") -> None:
        (self._folder / f"{command}.out").write_bytes(text.encode("utf-8", "surrogateescape"))
        script = f"#!/bin/sh\ncat {self._folder}/{command}.out\nprintf '%s' '{stderr}' >&2\nexit {status}\n"
        (self._folder / command).write_text(script)
        (self._folder / command).chmod(0o755)

    def scan(self, *announced: str, most: int = 100) -> Scanned:
        answer = self.answer(*announced, most=most)
        return scans.parse(answer, M, USERS)

    def answer(self, *announced: str, most: int = 100) -> Answer:
        done = subprocess.run(
            ["sh", "-c", scans.SCAN.text, "slurm-scan", M, "alice,bob", "", str(most)],
            input="".join(f"{one}\n" for one in announced).encode(),
            capture_output=True,
            env={"PATH": f"{self._folder}:/usr/bin:/bin"},
            check=False,
        )
        return Answer(stdout=done.stdout, stderr=done.stderr, exit_status=done.returncode)


@pytest.fixture
def slurm(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def queued(job_id: str, comment: str, user: str = "bob", at: int = 1_795_457_268) -> str:
    return f"{M}|{job_id}|{at}|{user}|{comment}\n"


def ended(
    job_id: str,
    comment: str = "",
    line: str = "sbatch job.sh",
    *,
    user: str = "bob",
    at: int = 1_795_457_268,
    partition: str = "p",
) -> str:
    return M.join((job_id, str(at), user, partition, comment, line, "COMPLETED")) + "\n"


def told(scanned: Scanned) -> list[tuple[str, str, str | None]]:
    return sorted((element.job_id, one.user, one.tag) for one in scanned.candidates for element in one.elements)


def test_tags_are_found_in_queue_and_accounting_and_nothing_else(slurm: Commands) -> None:
    slurm.says(
        "squeue", queued("16", "scripthut:r/a") + queued("17", "(null)") + queued("18", "scripthut:r/c", "alice")
    )
    slurm.says(
        "sacct",
        ended("15", line="sbatch --time=1 --comment=scripthut:r/b job.sh --comment=scripthut:x/y")
        + ended("14", line="sbatch --comment scripthut:r/d job.sh")
        + ended("13", comment="scripthut:r/e")
        + ended("12"),
    )

    found = slurm.scan()

    assert told(found) == [
        ("13", "bob", "r/e"), ("14", "bob", "r/d"), ("15", "bob", "r/b"), ("16", "bob", "r/a"), ("18", "alice", "r/c"),
    ]  # fmt: skip
    assert found.is_whole
    assert {one.submitted_at for one in found.candidates} == {AT}


def test_a_first_draft_of_a_record_is_left_for_the_next_scan(slurm: Commands) -> None:
    slurm.says("sacct", ended("12", "scripthut:r/a", partition="") + ended("13_[1-2]", "scripthut:r/b"))

    assert told(slurm.scan()) == [("13_1", "bob", "r/b"), ("13_2", "bob", "r/b")]


def test_announced_jobs_are_told_without_a_tag(slurm: Commands) -> None:
    slurm.says("squeue", queued("16", "(null)") + queued("17_3", "x") + queued("17_[4-5%1]", "x") + queued("18", "x"))
    slurm.says("sacct", ended("15") + ended("17_1") + ended("19"))

    assert told(slurm.scan("15", "16", "17")) == [
        ("15", "bob", None), ("16", "bob", None), ("17_1", "bob", None), ("17_3", "bob", None), ("17_4", "bob", None),
        ("17_5", "bob", None),
    ]  # fmt: skip


def test_arrays_are_taken_apart_and_heterogeneous_jobs_are_one(slurm: Commands) -> None:
    slurm.says(
        "squeue", queued("12_[0-4:2,7%2]", "scripthut:r/a") + queued("20+0", "scripthut:r/h") + queued("20+1", "x")
    )
    slurm.says("sacct", ended("12_9", comment="scripthut:r/a") + ended("30_[1,3]", comment="scripthut:r/b"))

    found = slurm.scan("20")

    assert told(found) == [
        *((f"12_{index}", "bob", "r/a") for index in (0, 2, 4, 7, 9)),
        ("20", "bob", "r/h"), ("30_1", "bob", "r/b"), ("30_3", "bob", "r/b"),
    ]  # fmt: skip


def test_of_a_requeued_job_the_first_submission_counts(slurm: Commands) -> None:
    slurm.says("squeue", queued("16", "scripthut:r/a", at=1_795_459_999))
    slurm.says("sacct", ended("16", comment="scripthut:r/a") + ended("16", comment="scripthut:r/a", at=1_795_458_000))

    (only,) = slurm.scan().candidates

    assert only.submitted_at == AT


HOSTILE = [
    "x\n17|1795457268|bob|scripthut:r/a",
    "x\n|17|1795457268|alice|scripthut:r/a",
    "xscripthut:r/a",
    "x\ncccc0\nMMend",
    "\n\n\n",
    "a|b|scripthut:r/a",
    "\udce9\x1b[2J\x00|",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_users_write_makes_no_row_and_hides_none(slurm: Commands, text: str) -> None:
    slurm.says("squeue", queued("16", text) + queued("17", "scripthut:r/b"))
    slurm.says("sacct", ended("14", text, text) + ended("15", "scripthut:r/c", text))

    assert told(slurm.scan()) == [("15", "bob", "r/c"), ("17", "bob", "r/b")]


@settings(deadline=None)
@given(comment=st.text(max_size=60), line=st.text(max_size=60))
def test_a_job_speaks_for_its_own_owner_alone(
    tmp_path_factory: pytest.TempPathFactory, comment: str, line: str
) -> None:
    slurm = Commands(tmp_path_factory.mktemp("slurm"))
    slurm.says("squeue", queued("16", comment, "alice") + queued("17", "scripthut:r/b"))
    slurm.says("sacct", ended("14", comment, line, user="alice") + ended("15", "scripthut:r/c"))

    found = [one for one in slurm.scan().candidates if one.user == "bob"]

    assert sorted(one.base_id for one in found) == ["15", "17"]


def test_a_tag_is_kept_as_it_was_written_and_refused_later(slurm: Commands) -> None:
    slurm.says("squeue", queued("16", "scripthut:../../etc/x") + queued("17", f"scripthut:{'r' * 900}/t"))

    tags = {one.base_id: one.tag for one in slurm.scan().candidates}

    assert tags == {"16": "../../etc/x", "17": "r" * 300}


def test_one_account_with_very_many_jobs_leaves_room_for_others(slurm: Commands) -> None:
    slurm.says(
        "squeue",
        "".join(queued(str(n), f"scripthut:r/{n}") for n in range(500)) + queued("900", "scripthut:a/b", "alice"),
    )

    found = slurm.scan(most=50)

    assert found.left_out == {"bob": 450}
    assert ("900", "alice", "a/b") in told(found)
    assert len(found.candidates) == 51


def test_arrays_of_very_many_elements_and_endless_lists_of_them_are_bounded(slurm: Commands) -> None:
    arrays = "".join(queued(f"{n}_[0-9999]", f"scripthut:r/{n}") for n in range(20))
    endless = queued(f"99_[{','.join(map(str, range(0, 800_000, 2)))}]", "scripthut:r/x")
    slurm.says("squeue", endless + arrays + queued("900", "scripthut:a/b", "alice"))

    found = slurm.scan()

    assert sum(len(one.elements) for one in found.candidates if one.user == "bob") == scanning.MAX_ELEMENTS_PER_USER
    assert found.left_out["bob"] == 16
    assert ("900", "alice", "a/b") in told(found)


def test_where_accounting_is_silent_the_queue_counts_and_the_past_is_asked_for_again(slurm: Commands) -> None:
    slurm.says("squeue", queued("16", "scripthut:r/a"))
    slurm.says("sacct", "", 1, "Connection refused")

    found = slurm.scan()

    assert (told(found), found.is_whole) == ([("16", "bob", "r/a")], False)


def test_where_no_accounting_is_kept_there_is_no_past_to_ask_for(slurm: Commands) -> None:
    slurm.says("sacct", "", 1, "Slurm accounting storage is disabled")

    assert slurm.scan().is_whole


def test_a_cut_answer_tells_nothing(slurm: Commands) -> None:
    slurm.says("squeue", queued("16", "scripthut:r/a"))
    slurm.says("sacct", ended("14", "scripthut:r/b"))
    whole = slurm.answer()

    for end in range(len(whole.stdout)):
        with pytest.raises(BadOutput):
            scans.parse(Answer(stdout=whole.stdout[:end], stderr=b"", exit_status=0), M, USERS)


def test_a_queue_that_does_not_answer_tells_nothing(slurm: Commands) -> None:
    slurm.says("squeue", "", 1, "Unable to contact slurm controller")

    with pytest.raises(BadOutput):
        slurm.scan()


def test_a_very_long_comment_of_many_lines_is_read_in_time(slurm: Commands) -> None:
    slurm.says("sacct", ended("14", "x\n" * 500_000, "y\n" * 500_000) + ended("15", "scripthut:r/c"))

    assert told(slurm.scan()) == [("15", "bob", "r/c")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3", (3,)),
        ("0-3", (0, 1, 2, 3)),
        ("1,3,5-7%2", (1, 3, 5, 6, 7)),
        ("0-8:4", (0, 4, 8)),
        ("0-9999", tuple(range(10_000))),
        ("0-10000", None),
        ("0-999999999", None),
        ("0-9998,20000,30000", None),
        ("", None),
        ("1-", None),
        ("1,...", None),
        ("0-9:0", None),
        ("5-3", ()),
    ],
)
def test_lists_of_elements_are_read_and_bounded(text: str, found: tuple[int, ...] | None) -> None:
    assert scanning.indices(text) == found


class Homes:
    """Runs the real program that looks for announcements."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.announced = folder / "announced"
        self.announced.mkdir()

    def look(self, user: str = "root") -> dict[str, Account]:
        question = notices.look([user], str(self.folder), None)
        done = subprocess.run(
            ["sh", "-c", question.program.text, "notices", *question.argv], capture_output=True, check=False
        )
        return dict(question.parse(Answer(stdout=done.stdout, stderr=done.stderr, exit_status=done.returncode)))


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    return Homes(tmp_path)


def test_announcements_are_read_by_their_names_alone(homes: Homes) -> None:
    for name in ("12,r,t", "21[].pbs01,slurm-1,job"):
        (homes.announced / name).touch(mode=0o000)

    account = homes.look()["root"]

    assert account.home == "/root"
    assert account.notices == {
        "12": Notice(job_id="12", run_id="r", task_id="t"),
        "21[].pbs01": Notice(job_id="21[].pbs01", run_id="slurm-1", task_id="job"),
    }


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _other(path: Path) -> None:
    path.touch()
    subprocess.run(["chown", "nobody", str(path)], check=True)


def _old(path: Path) -> None:
    path.touch()
    subprocess.run(["touch", "-d", "3 days ago", str(path)], check=True)


def _pipe(path: Path) -> None:
    subprocess.run(["mkfifo", str(path)], check=True)


@pytest.mark.parametrize("make", [_link, _pipe, _other, _old, Path.mkdir])
def test_what_is_no_fresh_file_of_the_accounts_own_announces_nothing(
    homes: Homes, make: Callable[[Path], None]
) -> None:
    make(homes.announced / "12,r,t")

    assert homes.look()["root"].notices == {}


@pytest.mark.parametrize(
    "name",
    [
        "12,..,t",
        "12,r,_run",
        "x,r,t",
        "12,r",
        "12,r,t,u",
        "12, r,t",
        "12,r,t\n13,r,t",
        "-1,r,t",
        "$(id),r,t",
        "12,r,\udce9",
    ],
)
def test_names_that_are_no_announcement_are_passed_over(homes: Homes, name: str) -> None:
    (homes.announced / name).touch()
    (homes.announced / "14,r,t").touch()

    assert list(homes.look()["root"].notices) == ["14"]


def test_a_linked_directory_is_not_entered(homes: Homes, tmp_path: Path) -> None:
    (homes.announced / "12,r,t").touch()
    homes.announced.rename(tmp_path / "real")
    homes.announced.symlink_to(tmp_path / "real")

    assert homes.look()["root"].notices == {}


def test_thousands_of_announcements_are_not_all_read(homes: Homes) -> None:
    for number in range(1200):
        (homes.announced / f"{number},r,t").touch()

    assert len(homes.look()["root"].notices) == scanning.MAX_ANNOUNCED


def test_accounts_that_do_not_exist_are_left_out_and_names_that_are_none_are_not_asked(homes: Homes) -> None:
    assert homes.look("sh-nobody-there") == {}
    for name in ("", "a b", "$(id)", "../x", "-x", "a\nb"):
        with pytest.raises(InvalidInput):
            notices.look([name], "/x", None)


@pytest.mark.parametrize("text", ["", f"{M}end", f"x\n{M}end\n", f"{M}bob|relative\n{M}end\n", f"{M}bob|/h\n12,r,t\n"])
def test_an_answer_that_is_not_whole_tells_of_nobody(text: str) -> None:
    with pytest.raises(BadOutput):
        notices.parse(Answer(stdout=text.encode(), stderr=b"", exit_status=0), M)


def candidate(base: str, user: str, tag: str | None, *indices: int) -> Candidate:
    elements = tuple(Element(job_id=f"{base}_{index}", index=index) for index in indices) or (Element(job_id=base),)
    return Candidate(base_id=base, user=user, submitted_at=AT, tag=tag, elements=elements)


def scanned(*candidates: Candidate) -> Scanned:
    return Scanned(candidates=candidates, at=AT, is_whole=True, left_out={})


def account(user: str, *announced: tuple[str, str, str]) -> Account:
    known = {job: Notice(job_id=job, run_id=run, task_id=task) for job, run, task in announced}
    return Account(home=f"/home/{user}", notices=known)


def test_jobs_belong_to_the_account_that_runs_them_and_lie_in_its_home() -> None:
    accounts = {"bob": account("bob"), "alice": account("alice")}

    planned = plan(scanned(candidate("12", "bob", "r/t"), candidate("13", "alice", "q/a", 3)), accounts, "~/scripthut")

    assert [(one.run_id, one.task_id, one.owner, one.job_id, one.log_dir, one.nonce) for one in planned.foundlings] == [
        ("r", "t", "bob", "12", "/home/bob/scripthut", "adopted-12"),
        ("q", "a.3", "alice", "13_3", "/home/alice/scripthut", "adopted-13_3"),
    ]


def test_an_announcement_of_somebody_elses_job_is_nothing() -> None:
    accounts = {"bob": account("bob", ("12", "mine", "t")), "alice": account("alice")}

    planned = plan(scanned(candidate("12", "alice", None)), accounts, "~/scripthut")

    assert (planned.foundlings, planned.refusals) == ((), ())


def test_a_tag_goes_before_an_announcement() -> None:
    accounts = {"bob": account("bob", ("12", "announced", "t"), ("13", "announced", "u"))}

    planned = plan(scanned(candidate("12", "bob", "r/t"), candidate("13", "bob", None)), accounts, "/logs")

    assert [(one.run_id, one.log_dir) for one in planned.foundlings] == [("r", "/logs"), ("announced", "/logs")]


@pytest.mark.parametrize(
    "tag", ["", "r", "../../etc/x", "r/..", "r/_run", "r/t/u", "r/t u", " r/t", "r/\n", "r/\u202e", "r" * 300]
)
def test_a_tag_that_is_none_is_refused_never_cleaned(tag: str) -> None:
    planned = plan(scanned(candidate("12", "bob", tag)), {"bob": account("bob")}, "~/x")

    assert planned.foundlings == ()
    assert [(one.job_id, one.owner) for one in planned.refusals] == [("12", "bob")]


def test_an_array_whose_elements_have_no_legal_names_is_refused_as_a_whole() -> None:
    too_long = candidate("12", "bob", f"r/{'t' * 127}", 3, 4)
    untold = Candidate(base_id="13", user="bob", submitted_at=AT, tag="r/t", elements=())

    planned = plan(scanned(too_long, untold), {"bob": account("bob")}, "~/x")

    assert planned.foundlings == ()
    assert [one.job_id for one in planned.refusals] == ["12", "13"]


def foundling(owner: str, run: str, second: int) -> Foundling:
    at = datetime.fromtimestamp(second, UTC)
    return Foundling(run_id=run, task_id="t", owner=owner, job_id=str(second), submitted_at=at, log_dir="/l", nonce="n")


def test_accounts_take_turns_so_that_nobody_waits_for_one_with_very_many_runs() -> None:
    many = [foundling("bob", f"r{number}", number) for number in range(2 * MAX_RUNS_PER_SCAN)]

    groups = by_run([*many, foundling("alice", "a", 999_999)])

    assert [group[0].owner for group in groups[:3]] == ["bob", "alice", "bob"]


@pytest.mark.parametrize("form", ["12_{}", "12[{}].pbs01"])
def test_elements_join_in_the_order_of_the_array_though_those_that_wait_are_told_first(form: str) -> None:
    told = [8, 19, 10, 2, 1, 0]
    elements = [msgspec.structs.replace(foundling("bob", "r", 1), job_id=form.format(index)) for index in told]

    (group,) = by_run(elements)

    assert [one.job_id for one in group] == [form.format(index) for index in (0, 1, 2, 8, 10, 19)]


def test_every_account_has_its_share_of_the_announced_jobs() -> None:
    greedy = account("bob", *((str(number), "r", "t") for number in range(1000)))

    ids = announced_ids({"bob": greedy, "alice": account("alice", ("5000", "r", "t"))})

    assert "5000" in ids
    assert len(ids) == 501
