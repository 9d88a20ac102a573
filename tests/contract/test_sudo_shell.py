"""What the shell by sudo does when the cluster is not set up for it, and what nobody can make it do."""

import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scripthut_common.clusters import AsWhom, Cluster, SchedulerKind
from scripthut_common.errors import AccountRefused, LimitExceeded
from scripthut_common.shell import Program
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.sudo import request
from tests.testbed import sudoers
from tests.testbed.accounts import ALICE, BOB, CAROL, another_account
from tests.testbed.sshd import Sshd
from tests.testbed.sudoers import Installed

pytestmark = pytest.mark.usefixtures("with_sudo")
WHO = Program(name="who", text="id -un", timeout_s=30)
SAID = b"the program ran"


@pytest.fixture
def installed() -> Iterator[Installed]:
    """Our program, which Alice may run as Bob."""
    with sudoers.installed(ALICE, [BOB]) as there:
        yield there


@pytest.fixture
def cluster(own_sshd: Sshd, installed: Installed) -> Cluster:
    return Cluster(
        name="testbed",
        scheduler=SchedulerKind.SLURM,
        host=own_sshd.host,
        port=own_sshd.port,
        user=ALICE,
        key_file=str(own_sshd.key(ALICE)),
        known_hosts_file=str(own_sshd.known_hosts),
        as_whom=AsWhom.SUDO,
        sudo_program=str(installed.program),
    )


@asynccontextmanager
async def opened(cluster: Cluster) -> AsyncIterator[AccountShells]:
    shells = AccountShells(cluster)
    try:
        yield shells
    finally:
        await shells.close()


async def refusal(cluster: Cluster, account: str) -> str:
    async with opened(cluster) as shells:
        with pytest.raises(AccountRefused) as refused:
            await shells.of(account).run(WHO)
    return str(refused.value)


async def test_an_account_outside_the_group_is_refused_and_the_other_is_not(cluster: Cluster) -> None:
    async with opened(cluster) as shells:
        with pytest.raises(AccountRefused, match=f"as {CAROL}: sudo does not let {ALICE} run .*sudoers.example"):
            await shells.of(CAROL).run(WHO)

        assert (await shells.of(BOB).run(WHO)).stdout == f"{BOB}\n".encode()
        assert (await shells.of(None).run(WHO)).stdout == f"{ALICE}\n".encode()


async def test_nobody_is_the_services_own_account(cluster: Cluster) -> None:
    async with opened(cluster) as shells:
        with pytest.raises(AccountRefused, match=f"no job runs as {ALICE}, the service's own account"):
            await shells.of(ALICE).run(WHO)
        with pytest.raises(AccountRefused, match="the service's own account"):
            async with shells.of(ALICE).stream(WHO):
                pass

        assert shells.commands_run == 0
        assert (await shells.of(None).run(WHO)).stdout == f"{ALICE}\n".encode()


async def test_an_account_that_the_cluster_lacks_is_named(cluster: Cluster) -> None:
    assert "the cluster has no account nobody-here" in await refusal(cluster, "nobody-here")


async def test_without_the_rule_it_is_said_what_to_install(cluster: Cluster, installed: Installed) -> None:
    installed.rule.unlink()

    assert "see deploy/sudoers.example" in await refusal(cluster, BOB)


async def test_a_missing_program_is_named(cluster: Cluster, installed: Installed) -> None:
    installed.program.unlink()

    said = await refusal(cluster, BOB)

    assert f"{installed.program} is missing or cannot be run: install deploy/as-owner" in said


async def test_a_program_that_is_not_roots_refuses_to_run(cluster: Cluster, installed: Installed) -> None:
    shutil.chown(installed.program, ALICE)

    assert "not to root: chown root:root it" in await refusal(cluster, BOB)


@pytest.mark.parametrize("where", ["program", "directory", "environment"])
async def test_a_program_that_others_could_write_refuses_to_run(
    cluster: Cluster, installed: Installed, where: str
) -> None:
    installed.set_environment(PATH="/usr/bin:/bin")
    env = installed.program.with_name("as-owner.env")
    path = {"program": installed.program, "directory": installed.program.parent, "environment": env}[where]
    path.chmod(0o777)

    assert f"others than root can write to {path}: chmod go-w it" in await refusal(cluster, BOB)


async def test_an_account_that_is_closed_is_refused(cluster: Cluster, installed: Installed) -> None:
    with another_account("/usr/sbin/nologin") as closed:
        installed.add(closed)

        assert f"the account {closed} is closed: its login shell is /usr/sbin/nologin" in await refusal(cluster, closed)


async def test_a_refused_account_is_not_asked_for_again_at_once(cluster: Cluster, own_sshd: Sshd) -> None:
    async with opened(cluster) as shells:
        for _ in range(5):
            with pytest.raises(AccountRefused):
                await shells.of(CAROL).run(WHO)

        assert shells.of(CAROL).commands_run == 1


@pytest.mark.parametrize("name", ["root", "-u", "a;b", "$(id)", "ada\nroot", "", "#0", "%wheel", "daemon", "x" * 40])
async def test_what_is_no_name_of_a_person_never_reaches_a_command_line(cluster: Cluster, name: str) -> None:
    async with opened(cluster) as shells:
        with pytest.raises(AccountRefused, match="no job runs as"):
            await shells.of(name).run(WHO)
        with pytest.raises(AccountRefused, match="no job runs as"):
            async with shells.of(name).stream(WHO):
                pass

        assert shells.commands_run == 0


async def test_the_environment_is_the_operators_alone(cluster: Cluster, installed: Installed, own_sshd: Sshd) -> None:
    installed.set_environment(PATH="/usr/bin:/bin", SLURM_CONF="/etc/x.conf", UMASK="027")

    async with opened(cluster) as shells:
        answer = await shells.of(BOB).run(Program(name="env", text="env; umask; pwd"))

    home = pwd.getpwnam(BOB).pw_dir
    *lines, mask, folder = answer.stdout.decode().splitlines()
    assert {line for line in lines if not line.startswith(("PWD=", "_=", "OLDPWD=", "SHLVL="))} == {
        f"HOME={home}",
        f"USER={BOB}",
        f"LOGNAME={BOB}",
        "SHELL=/bin/bash",
        "PATH=/usr/bin:/bin",
        "LANG=C.UTF-8",
        "SLURM_CONF=/etc/x.conf",
    }
    assert (mask, folder) == ("0027", home)


@pytest.mark.parametrize(
    ("line", "reason"),
    [("UMASK=rw", "UMASK must be octal"), ("export A=1", "each line must be NAME=VALUE"), ("A", "must be NAME=VALUE")],
)
async def test_an_environment_that_cannot_be_read_is_told(
    cluster: Cluster, installed: Installed, line: str, reason: str
) -> None:
    installed.program.with_name("as-owner.env").write_text(f"# ours\n\n{line}\n")

    assert reason in await refusal(cluster, BOB)


async def test_more_than_the_program_takes_is_refused_here(cluster: Cluster) -> None:
    async with opened(cluster) as shells:
        with pytest.raises(LimitExceeded, match="send variable parts on standard input"):
            await shells.of(BOB).run(WHO, "x" * 200_000)


def by_hand(
    program: Path, user: str, *argv: str, body: bytes | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the program as somebody without sudo, as they might by themselves."""
    asked = request("mark", f"echo {SAID.decode()}") if body is None else body
    account = pwd.getpwnam(user)
    return subprocess.run(
        [program, *argv],
        input=asked,
        capture_output=True,
        check=False,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
    )


@pytest.mark.parametrize(
    ("user", "environment", "reason"),
    [
        ("root", {"SUDO_UID": "1234"}, b"uid 0 is no person's"),
        ("daemon", {"SUDO_UID": "1234"}, b"uid 1 is no person's"),
        ("nobody", {"SUDO_UID": "1234"}, b"uid 65534 is no person's"),
        (BOB, {}, b"only sudo starts this"),
        (BOB, {"SUDO_UID": "-1"}, b"only sudo starts this"),
        (BOB, {"SUDO_UID": "own"}, b"is nobody else's"),
    ],
)
def test_called_by_hand_it_refuses(installed: Installed, user: str, environment: dict[str, str], reason: bytes) -> None:
    own = str(pwd.getpwnam(user).pw_uid)
    environment = {name: own if value == "own" else value for name, value in environment.items()}

    done = by_hand(installed.program, user, environment=environment)

    assert (done.returncode, done.stdout) == (77, b"")
    assert reason in done.stderr


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"scripthut",
        b"scripthut 1 10\nshort",
        b"scripthut 1 99999999\n",
        b"scripthut one 4\na\0b\0",
        b"x" * 100,
        b"scripthut 1 3\na\0b",
        b"scripthut 1 2\na\0",
        b"scripthut 1 0\n",
    ],
)
def test_a_request_that_is_none_runs_nothing(installed: Installed, body: bytes) -> None:
    done = by_hand(installed.program, BOB, body=body, environment={"SUDO_UID": "1234"})

    assert (done.returncode, done.stdout) == (65, b"")


def test_another_version_is_told(installed: Installed) -> None:
    done = by_hand(installed.program, BOB, body=b"scripthut 2 4\na\0b\0", environment={"SUDO_UID": "1234"})

    assert done.returncode == 77
    assert b"install the one of this release" in done.stderr


def test_it_takes_no_arguments(installed: Installed) -> None:
    done = by_hand(installed.program, BOB, "-c", "id", environment={"SUDO_UID": "1234"})

    assert (done.returncode, done.stdout) == (65, b"")


def test_sudo_itself_allows_no_arguments_and_nothing_else(installed: Installed) -> None:
    for words in ([str(installed.program), "x"], ["/usr/bin/id"], ["/bin/sh", "-c", "id"]):
        done = by_hand(Path("/usr/bin/sudo"), ALICE, "-n", "-u", BOB, "--", *words)

        assert done.returncode == 1
        assert done.stdout == b""


def test_nothing_of_the_callers_environment_gets_through_sudo(installed: Installed, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    (tmp_path / "sitecustomize.py").write_text(f"open({str(evil)!r}, 'w')")
    (tmp_path / "startup.sh").write_text(f"echo > '{evil}'\n")
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o777)
    injected = {
        "LD_PRELOAD": str(tmp_path / "evil.so"),
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "sitecustomize.py"),
        "PYTHONINSPECT": "1",
        "BASH_ENV": str(tmp_path / "startup.sh"),
        "ENV": str(tmp_path / "startup.sh"),
        "BASH_FUNC_printf%%": f"() {{ echo > '{evil}'; }}",
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "IFS": "/",
        "SUDO_UID": "0",
        "HOME": str(tmp_path),
    }

    body = request("mark", "env; bash -c true")
    done = by_hand(
        Path("/usr/bin/sudo"),
        ALICE,
        "-n",
        "-H",
        "-u",
        BOB,
        "--",
        str(installed.program),
        body=body,
        environment=injected,
    )

    assert done.returncode == 0, done.stderr
    assert str(tmp_path).encode() not in done.stdout
    assert not evil.exists()
    refused = by_hand(
        Path("/usr/bin/sudo"), ALICE, "-n", "-u", BOB, "LD_PRELOAD=x", "--", str(installed.program), body=body
    )
    assert (refused.returncode, refused.stdout) == (1, b"")
