"""`scripthut-poller check` where jobs run as their owners: what it tries, and what it says of what is wrong."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.poller.checked import Checks
from tests.testbed import sudoers
from tests.testbed.accounts import ALICE, BOB, CAROL, SERVICE
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd
from tests.testbed.sudoers import Installed


@pytest.fixture
def installed(slurm: SlurmCluster, with_sudo: None) -> Iterator[Installed]:
    """Our program, which the service may run as Bob."""
    with sudoers.installed(SERVICE, [BOB]) as there:
        there.set_environment(**slurm.environment)
        yield there


@pytest.fixture
def checks(tmp_path: Path, sshd: Sshd, installed: Installed) -> Checks:
    return described(tmp_path, sshd, installed)


def described(tmp_path: Path, sshd: Sshd, installed: Installed, **settings: object) -> Checks:
    account = {"user": SERVICE, "key_file": str(sshd.key(SERVICE))}
    program = {"as_whom": "sudo", "sudo_program": str(installed.program)}
    return Checks(tmp_path).add_slurm(sshd, **account, **program, **settings)


def test_it_says_as_whom_jobs_can_run(checks: Checks, installed: Installed) -> None:
    checked = checks.run("bed", "--account", BOB)

    assert checked.troubles == {}
    assert f"{installed.program}: root's alone, version 1" in checked.lines["as-owner"]
    assert f"(%{installed.group}) NOSETENV: NOPASSWD: {installed.program}" in checked.lines["sudoers"]
    assert f"runs as {BOB} (uid " in checked.text
    assert f"/home/{BOB}/scripthut: not there yet, can be made in /home/{BOB}" in checked.text
    assert checked.exit_status == 0


def test_closed_homes_of_those_whose_jobs_are_adopted_are_no_fault(
    tmp_path: Path, sshd: Sshd, installed: Installed, slurm: SlurmCluster
) -> None:
    closed = str(slurm.directory_of(BOB))

    checked = described(tmp_path, sshd, installed, adopt=[BOB, "nobody-here"], adopt_log_dir=closed).run("bed")

    assert f"warn  adoption     {BOB}: {closed}: our account may not read it" in checked.text
    assert "FAIL  adoption     nobody-here: the cluster knows no such account" in checked.text


def test_without_an_account_it_says_how_to_try_one(checks: Checks) -> None:
    checked = checks.run("bed")

    assert checked.exit_status == 0
    assert "--account" in checked.lines["owner"]


@pytest.mark.parametrize(
    ("account", "said"),
    [
        (CAROL, f"sudo does not let {SERVICE} run"),
        (ALICE, "see deploy/sudoers.example"),
        ("nobody-here", "the cluster has no account nobody-here"),
        ("root", "no job runs as 'root'"),
        ("a;b", "no job runs as 'a;b'"),
    ],
)
def test_an_account_that_cannot_be_become_fails_with_what_to_do(checks: Checks, account: str, said: str) -> None:
    checked = checks.run("bed", f"--account={account}")

    assert checked.exit_status == 1
    assert said in checked.lines["owner"]


def test_a_program_that_is_not_roots_fails(checks: Checks, installed: Installed) -> None:
    shutil.chown(installed.program, BOB)

    assert f"FAIL | {installed.program} belongs to uid" in checks.run("bed").lines["as-owner"]


def test_a_program_that_others_can_write_fails(checks: Checks, installed: Installed) -> None:
    installed.program.parent.chmod(0o777)

    assert f"others than root can write to {installed.program.parent}" in checks.run("bed").lines["as-owner"]


def test_a_program_of_another_version_fails(checks: Checks, installed: Installed) -> None:
    text = installed.program.read_text()
    installed.program.write_text(text.replace("\nVERSION = 1\n", "\nVERSION = 12\n"))

    assert "is of another version" in checks.run("bed").lines["as-owner"]


def test_a_missing_rule_fails(checks: Checks, installed: Installed) -> None:
    installed.rule.unlink()

    assert "install deploy/sudoers.example there" in checks.run("bed").lines["sudoers"]
