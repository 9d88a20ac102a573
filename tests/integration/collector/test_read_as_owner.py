"""The program for sites that let us read as owners and do nothing else: `deploy/read-as-owner`, installed for real."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from scripthut_common.clusters import AsWhom
from scripthut_common.database import Database
from scripthut_outputs.reader import installed as reader
from tests.integration.collector.department import Department, cluster_at
from tests.testbed.accounts import ACCOUNTS, ALICE, BOB, SERVICE, another_account
from tests.testbed.processes import ServerError
from tests.testbed.sshd import Sshd
from tests.testbed.sudoers import Reading, installed_to_read


@pytest.fixture
def site(with_sudo: None) -> Iterator[Reading]:
    """The program on this machine."""
    with installed_to_read(SERVICE, ACCOUNTS) as found:
        yield found


@pytest.fixture
async def department(database: Database, own_sshd: Sshd, site: Reading) -> AsyncIterator[Department]:
    """Three owners at a site that lets us read as them, and no more."""
    cluster = cluster_at(own_sshd, as_whom=AsWhom.SUDO, sudo_program="/nowhere", sudo_reader=str(site.program))
    found = Department(database, own_sshd, cluster)
    yield found
    await found.close()


async def test_each_owner_s_outputs_are_collected_and_followed(department: Department) -> None:
    for account in ACCOUNTS:
        await department.of(account).task("t1", {b"mine": account.encode()}, run_id=f"r-{account}")
    await department.of(ALICE).runs("t2", {b"now": b"x"}, run_id=f"r-{ALICE}")

    await department.collect()
    await department.look()

    for account in ACCOUNTS:
        assert await department.of(account).stored("t1", run_id=f"r-{account}") == {b"mine": account.encode()}
    assert await department.of(ALICE).stored("t2", run_id=f"r-{ALICE}") == {b"now": b"x"}


async def test_a_reader_of_another_version_is_refused_with_what_helps(department: Department, site: Reading) -> None:
    alice = department.of(ALICE)
    await alice.task("t1", {b"a": b"x"}, run_id="r1")
    other = reader.installed_text().replace(reader.version(), "0123456789ab")
    site.program.with_name("reader.py").write_text(other)

    await department.collect()

    reason = (await alice.collection("t1")).reason
    assert (await alice.item("t1")).outputs_state == "failed"
    assert f"is version 0123456789ab; this service speaks with version {reader.version()}" in reason
    assert "scripthut-outputs reader-program" in reason
    assert await alice.stored("t1") == {}


async def test_an_owner_whom_the_rule_does_not_name_fails_alone(department: Department, site: Reading) -> None:
    site.allow(BOB)
    for account in (ALICE, BOB):
        await department.of(account).task("t1", {b"a": b"x"}, run_id=f"r-{account}")

    await department.collect()

    alice, bob = department.of(ALICE), department.of(BOB)
    assert await bob.stored("t1", run_id=f"r-{BOB}") == {b"a": b"x"}
    assert (await alice.item("t1", f"r-{ALICE}")).outputs_state == "failed"
    reason = (await alice.collection("t1", f"r-{ALICE}")).reason
    assert f"sudo does not let the service run {site.program} as {ALICE}" in reason
    assert await alice.cluster_error() is None


@pytest.mark.parametrize(
    "words",
    [
        "sh",
        "/bin/sh",
        "{program}",
        "{program} run 60 1000",
        "{program} list",
        "{program} list 60",
        "{program} list 60 1000 more",
        "{program} list '6;id' 1000",
        "{program} list 60 '1$(id)'",
        "{folder}/reader.py list 60 1000",
    ],
)
async def test_the_service_may_do_nothing_else(own_sshd: Sshd, site: Reading, words: str) -> None:
    asked = words.format(program=site.program, folder=site.program.parent)

    with pytest.raises(ServerError):
        own_sshd.run(SERVICE, f"sudo -n -u {ALICE} -- {asked}")


@pytest.mark.parametrize("account", ["root", SERVICE, "daemon", "nobody"])
async def test_nobody_but_a_person_of_another_account_is_read_as(own_sshd: Sshd, site: Reading, account: str) -> None:
    site.allow("ALL")

    with pytest.raises(ServerError):
        own_sshd.run(SERVICE, f"sudo -n -u {account} -- {site.program} list 60 1000")


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false"])
async def test_an_account_that_is_closed_is_not_read_as(own_sshd: Sshd, site: Reading, shell: str) -> None:
    with another_account(shell) as closed:
        site.allow(closed)

        with pytest.raises(ServerError, match=f"the account {closed} is closed: its login shell is {shell}"):
            own_sshd.run(SERVICE, f"sudo -n -u {closed} -- {site.program} list 60 1000")


async def test_a_reader_that_others_could_have_written_is_not_run(own_sshd: Sshd, site: Reading) -> None:
    command = f"sudo -n -u {ALICE} -- {site.program} list 60 1000"
    text = site.program.with_name("reader.py")

    for mode, owner in ((0o666, "root"), (0o664, "root"), (0o644, ALICE)):
        text.chmod(mode)
        shutil.chown(text, owner)
        with pytest.raises(ServerError):
            own_sshd.run(SERVICE, command)


async def test_nothing_of_the_caller_s_environment_reaches_the_reader(own_sshd: Sshd, site: Reading) -> None:
    site.program.with_name("reader.py").write_text("import os\nprint(sorted(os.environ))\n")

    said = own_sshd.run(SERVICE, f"PYTHONPATH=/tmp ENV=/tmp/x sudo -n -u {ALICE} -- {site.program} list 60 1000")

    assert said.strip() in ("['LANG', 'PATH']", "['LANG', 'LC_CTYPE', 'PATH']")


def test_what_is_to_be_installed_says_its_version_and_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(reader.installed_text())

    done = subprocess.run(
        ["python3", "-I", "-S", tmp_path / "reader.py", "send", "60", "1000"],
        input=bytes(8),
        capture_output=True,
        check=True,
    )

    assert done.stdout == f"scripthut reader {reader.version()}\n".encode()
