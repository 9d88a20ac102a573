"""`scripthut-poller check` on a real cluster: healthy, and with each part stopped or broken."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.poller.checked import Checks
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.rooms import FLOOR, make_room
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

Login = Callable[..., Sshd]
_TOOLS = ("bash", "cat", "cut", "date", "df", "env", "getent", "head", "id", "mkdir", "rm", "sed", "stat", "tr", "awk")
_SLURM = ("squeue", "sbatch", "sacct", "scancel", "scontrol", "sdiag")


@pytest.fixture
def checks(tmp_path: Path) -> Checks:
    return Checks(tmp_path)


@pytest.fixture
def login(slurm: SlurmCluster) -> Iterator[Login]:
    """Makes login nodes of this test alone: `login({"PATH": …}, extra="MaxSessions 2")`."""
    with ExitStack() as stack:

        def make(environment: dict[str, str] | None = None, extra: str = "") -> Sshd:
            return stack.enter_context(Sshd({**slurm.environment, **(environment or {})}, extra=extra))

        yield make


@pytest.fixture
def room(slurm: SlurmCluster) -> Path:
    """A folder of root's own that Alice can look into."""
    folder = slurm.directory_of(ALICE) / f"room-{os.urandom(4).hex()}"
    folder.mkdir()
    return folder


def test_a_healthy_cluster_is_fine_in_every_step(checks: Checks, sshd: Sshd, slurm: SlurmCluster) -> None:
    log_dir = slurm.directory_of(ALICE) / "logs" / "here"

    checked = checks.add_slurm(sshd, log_dir=str(log_dir)).run("bed")

    assert checked.troubles == {}
    assert checked.exit_status == 0
    assert list(checked.lines) == [
        *("connection", "host key", "account", "login shell", "tools", "version", "queue", "accounting", "lag"),
        *("submitting", "bash", "python3", "find", "tar", "reader", "home", "log_dir", "clock", "sessions"),
    ]
    assert "OpenSSH" in checked.lines["connection"]
    assert "squeue answers in" in checked.lines["queue"]
    assert f"{log_dir}: not there yet, can be made in {slurm.directory_of(ALICE)}" in checked.lines["log_dir"]
    assert "sshd opens 8 at a time" in checked.lines["sessions"]
    assert checked.text.startswith(f"bed: slurm at {ALICE}@127.0.0.1:{sshd.port}\n")
    assert checked.text.endswith("bed: 19 fine, 0 warnings, 0 failed\n\n")


def test_nothing_is_left_where_it_tried_to_write(checks: Checks, sshd: Sshd, slurm: SlurmCluster) -> None:
    own = slurm.directory_of(ALICE) / f"logs-{os.urandom(4).hex()}"
    slurm.run("mkdir", str(own), user=ALICE)

    checked = checks.add_slurm(sshd, log_dir=str(own)).run()

    assert f"ok | {own}: writable" in checked.lines["log_dir"]
    assert list(own.iterdir()) == []


def test_a_script_reads_the_same_as_json(checks: Checks, sshd: Sshd) -> None:
    report = checks.add_slurm(sshd, check_host_key=False).run("bed", "--json").report

    (one,) = report["clusters"]
    steps = {finding["step"]: finding for finding in one["findings"]}
    assert (report["is_fine"], one["cluster"], one["is_fine"]) == (True, "bed", True)
    assert steps["queue"]["verdict"] == "fine"
    assert steps["host key"]["verdict"] == "warning"
    assert "check_host_key = false" in steps["host key"]["advice"]


def test_without_a_name_all_clusters_are_checked_and_one_that_fails_fails_it(checks: Checks, sshd: Sshd) -> None:
    checks.add_slurm(sshd).add("gone", scheduler="slurm", host="127.0.0.1", port=1)

    checked = checks.run()
    named = checks.run("bed")

    assert (checked.exit_status, named.exit_status) == (1, 0)
    assert re.search(r"bed: \d+ fine, 0 warnings, 0 failed\n", checked.text)
    assert "FAIL  connection   127.0.0.1:1: Connection refused => see `host` and `port`" in checked.text


def test_a_name_that_the_file_does_not_have_is_answered_with_those_it_has(checks: Checks) -> None:
    checked = checks.add("here", scheduler="localhost").run("there")

    assert checked.exit_status == 1
    assert "has no cluster 'there'; it has here" in checked.stderr


def test_the_clock_of_a_database_is_compared_when_one_is_configured(
    checks: Checks, database_uri: str, tmp_path: Path
) -> None:
    checks.add("here", scheduler="localhost", log_dir=str(tmp_path / "logs"))

    checked = checks.run(SCRIPTHUT_POLLER_DATABASE_URL=database_uri)
    without = checks.run(SCRIPTHUT_POLLER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")

    assert checked.exit_status == 0
    assert checked.lines["database"].startswith("ok | its clock is within 1 s of ours")
    assert without.exit_status == 1
    assert without.lines["database"].startswith("FAIL |")
    assert "here: 10 fine" in without.text


def test_a_machine_without_a_scheduler_is_checked_too(checks: Checks, tmp_path: Path) -> None:
    checked = checks.add("here", scheduler="localhost", log_dir=str(tmp_path / "logs")).run()

    assert (checked.exit_status, checked.troubles) == (0, {})
    assert "the spool folder answers" in checked.lines["queue"]


def test_sshd_that_is_down_or_hangs_is_one_line(checks: Checks, login: Login) -> None:
    server = login()
    checks.add_slurm(server, connect_timeout_s=2)

    server.daemon.pause()
    hung = checks.run()
    server.daemon.resume()
    server.daemon.stop()
    down = checks.run()

    assert (hung.exit_status, down.exit_status) == (1, 1)
    assert list(hung.lines) == list(down.lines) == ["connection", "the rest"]
    assert f"FAIL | no SSH greeting from 127.0.0.1:{server.port} within 2 s => " in hung.lines["connection"]
    assert "Connection refused" in down.lines["connection"]


def test_another_host_key_and_an_unknown_one_are_told_apart(checks: Checks, login: Login, tmp_path: Path) -> None:
    server = login()
    server.change_host_key()
    (tmp_path / "empty").touch()

    other = checks.add_slurm(server).run()
    unknown = Checks(tmp_path).add_slurm(server, known_hosts_file=str(tmp_path / "empty")).run()

    assert list(other.lines) == list(unknown.lines) == ["connection", "host key", "the rest"]
    assert other.lines["connection"].startswith("ok |")
    assert "its host key is not the one in" in other.lines["host key"]
    assert "its host key is not known in" in unknown.lines["host key"]
    assert f"ssh-keyscan -p {server.port} 127.0.0.1" in unknown.lines["host key"]


def test_a_key_that_is_not_let_in_and_one_that_cannot_be_read(checks: Checks, login: Login, tmp_path: Path) -> None:
    server = login()

    refused = checks.add_slurm(server, key_file=str(server.key(BOB))).run()
    missing = Checks(tmp_path).add_slurm(server, key_file="/nowhere/key").run()

    assert list(refused.troubles) == list(missing.troubles) == ["account", "the rest"]
    assert f"it does not let {ALICE} in" in refused.lines["account"]
    assert "authorized_keys" in refused.lines["account"]
    assert "cannot read the key /nowhere/key: " in missing.lines["account"]


def test_slurmctld_down(checks: Checks, sshd: Sshd, slurm: SlurmCluster) -> None:
    with slurm.without(slurm.slurmctld):
        checked = checks.add_slurm(sshd).run()

    assert checked.exit_status == 1
    assert list(checked.troubles) == ["queue", "lag", "submitting"]
    assert "Unable to contact slurm controller" in checked.lines["queue"]
    assert "=> slurmctld is down or out of reach" in checked.lines["queue"]


def test_slurmctld_hung(checks: Checks, sshd: Sshd, slurm: SlurmCluster) -> None:
    slurm.slurmctld.pause()
    checked = checks.add_slurm(sshd).run()
    slurm.slurmctld.resume()

    assert checked.exit_status == 1
    assert list(checked.troubles) == ["queue", "lag", "submitting"]
    assert "=> slurmctld hangs" in checked.lines["queue"]


def test_slurmdbd_down_and_hung(checks: Checks, sshd: Sshd, slurm: SlurmCluster) -> None:
    slurm.slurmdbd.pause()
    hung = checks.add_slurm(sshd).run()
    slurm.slurmdbd.resume()
    with slurm.without(slurm.slurmdbd):
        down = checks.run()

    assert (hung.exit_status, down.exit_status) == (1, 1)
    assert list(hung.troubles) == list(down.troubles) == ["accounting"]
    assert "took over 25 s => slurmdbd or its database hangs" in hung.lines["accounting"]
    assert "=> slurmdbd is down: start it" in down.lines["accounting"]


def test_munged_down(checks: Checks, sshd: Sshd, slurm: SlurmCluster) -> None:
    with slurm.without(slurm.munged):
        checked = checks.add_slurm(sshd).run()

    assert checked.exit_status == 1
    assert list(checked.troubles) == ["queue", "accounting", "lag", "submitting"]
    assert "=> munged does not run" in checked.lines["queue"]
    assert "=> munged does not run" in checked.lines["accounting"]


def test_tools_that_are_not_in_path(checks: Checks, login: Login, room: Path) -> None:
    for tool in (*_TOOLS, "sh", *_SLURM[:-2]):
        (room / tool).symlink_to(f"/usr/bin/{tool}")
    (room / "find").write_text("#!/bin/sh\necho 'find: unrecognized: -printf' >&2\nexit 1\n")
    (room / "find").chmod(0o755)

    checked = checks.add_slurm(login({"PATH": str(room)})).run()

    assert checked.exit_status == 1
    assert list(checked.troubles) == ["tools", "lag", "python3", "find", "tar", "reader"]
    assert f"not in PATH: scontrol (PATH is {room}) => put it into the PATH" in checked.lines["tools"]
    assert "`python3`, which outputs and generated lists are read with: it is not in PATH" in checked.lines["python3"]
    assert "=> put it into the PATH" in checked.lines["python3"]
    assert checked.lines["find"].startswith("warn | `find -printf` failed: find: unrecognized: -printf => install GNU")
    assert checked.lines["reader"].startswith("FAIL | outputs cannot be read: there is neither python3")


def test_outputs_that_are_read_without_python3(checks: Checks, login: Login, room: Path) -> None:
    path = make_room(room / "bin", [*FLOOR, "bash", "date", *_TOOLS, *_SLURM])

    checked = checks.add_slurm(login({"PATH": path})).run()

    assert checked.exit_status == 0
    assert "outputs are read by sh, GNU find and tar: fewer guarantees" in checked.lines["reader"]
    assert "=> install python3" in checked.lines["reader"]


def test_directories_that_cannot_be_used(checks: Checks, login: Login, room: Path) -> None:
    (room / "file").touch()
    (room / "closed").mkdir(0o700)
    adoption = {"adopt": [ALICE, "nobody-here"], "adopt_log_dir": str(room / "closed")}

    checked = checks.add_slurm(login(), log_dir=str(room), announced_roots=[str(room / "none")], **adoption).run()
    below_file = Checks(room).add_slurm(login(), log_dir=str(room / "file" / "logs")).run()

    assert checked.exit_status == 1
    assert list(checked.troubles) == ["log_dir", "adoption", "announced"]
    assert f"FAIL | cannot write in {room}: Permission denied => give" in checked.lines["log_dir"]
    assert f"FAIL  adoption     {ALICE}: {room}/closed: our account may not read it" in checked.text
    assert "FAIL  adoption     nobody-here: the cluster knows no such account" in checked.text
    assert checked.lines["announced"].startswith("warn | ")
    assert "Not a directory" in below_file.lines["log_dir"]


def test_fewer_sessions_than_the_setting_says(checks: Checks, login: Login) -> None:
    server = login(extra="MaxSessions 2\n")

    checked = checks.add_slurm(server).run()
    heeded = (
        checks.run() if not checked.exit_status else Checks(server.directory).add_slurm(server, max_sessions=2).run()
    )

    assert list(checked.troubles) == ["sessions"]
    assert "sshd opens 2 at a time and refuses the next; max_sessions is 8" in checked.lines["sessions"]
    assert "=> set max_sessions = 2 in the clusters file" in checked.lines["sessions"]
    assert (heeded.exit_status, heeded.troubles) == (0, {})


def test_a_clock_that_is_hours_off_is_a_warning(checks: Checks, login: Login, room: Path) -> None:
    (room / "date").write_text("#!/bin/sh\nexec /usr/bin/date -d '-3 hours' \"$@\"\n")
    (room / "date").chmod(0o755)

    checked = checks.add_slurm(login({"PATH": f"{room}:/usr/bin:/bin"})).run()

    assert checked.exit_status == 0
    assert list(checked.troubles) == ["clock"]
    assert "warn | the cluster's clock is 3.0 h behind ours" in checked.lines["clock"]


def test_a_login_shell_that_talks_is_a_warning_and_hides_nothing(
    checks: Checks, login: Login, room: Path, slurm: SlurmCluster
) -> None:
    shutil.chown(room, ALICE)
    (room / ".bashrc").write_text("echo 'Welcome!\033[31m'; echo quota >&2\n")

    checked = checks.add_slurm(login({"HOME": str(room)}), log_dir="~").run()

    assert checked.exit_status == 0
    assert list(checked.troubles) == ["login shell"]
    assert "it prints 20 bytes before every command" in checked.lines["login shell"]


def test_a_login_shell_that_never_runs_anything_says_what_it_said(checks: Checks, login: Login, room: Path) -> None:
    (room / ".bashrc").write_text("echo 'This account is not available.\033[31m'; exit 1\n")

    checked = checks.add_slurm(login({"HOME": str(room)})).run()

    assert checked.exit_status == 1
    assert list(checked.troubles) == ["login shell", "the rest"]
    assert "This account is not available." in checked.lines["login shell"]
    assert "\033" not in checked.text
