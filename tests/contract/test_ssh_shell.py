"""What the shell over SSH does when the host, the keys or the connection are not as they should be."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.errors import AccessRefused, NoConnection, Unreachable
from scripthut_common.shell import MIB, Answer, Program
from scripthut_common.shell.ssh import SshShell
from tests.testbed import ports
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.delay import DelayedPort
from tests.testbed.sshd import Sshd

HELLO = Program(name="hello", text="echo hello", timeout_s=30)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def sshd_with(own_sshd: Sshd) -> Callable[[str], Sshd]:
    """Starts an SSH server with more lines in its configuration."""
    return lambda extra: Sshd(extra=extra)


def cluster_of(sshd: Sshd, **changes: object) -> Cluster:
    cluster = Cluster(
        name="testbed",
        scheduler=SchedulerKind.SLURM,
        host=sshd.host,
        port=sshd.port,
        user=ALICE,
        key_file=str(sshd.key(ALICE)),
        known_hosts_file=str(sshd.known_hosts),
        connect_timeout_s=5,
    )
    return msgspec.structs.replace(cluster, **changes)


@asynccontextmanager
async def opened(cluster: Cluster, clock: Callable[[], float] | None = None) -> AsyncIterator[SshShell]:
    shell = SshShell(cluster, clock=clock) if clock else SshShell(cluster)
    try:
        yield shell
    finally:
        await shell.close()


async def hello(cluster: Cluster) -> Answer:
    async with opened(cluster) as shell:
        return await shell.run(HELLO)


async def test_a_wrong_key_is_refused_with_what_to_do(own_sshd: Sshd) -> None:
    with pytest.raises(AccessRefused, match=rf"does not let {ALICE} in with .*authorized_keys"):
        await hello(cluster_of(own_sshd, key_file=str(own_sshd.key(BOB))))


async def test_a_missing_key_is_named(own_sshd: Sshd) -> None:
    with pytest.raises(AccessRefused, match="cannot read the key /nowhere/key"):
        await hello(cluster_of(own_sshd, key_file="/nowhere/key"))


async def test_a_file_that_is_no_key_is_named(own_sshd: Sshd) -> None:
    with pytest.raises(AccessRefused, match="cannot read the key /etc/hostname"):
        await hello(cluster_of(own_sshd, key_file="/etc/hostname"))


async def test_an_unknown_host_key_is_refused_with_what_to_do(own_sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    with pytest.raises(AccessRefused, match=r"host key is not known in .*empty\. Get the key with `ssh-keyscan -p"):
        await hello(cluster_of(own_sshd, known_hosts_file=str(tmp_path / "empty")))


async def test_a_missing_known_hosts_file_is_named(own_sshd: Sshd) -> None:
    with pytest.raises(AccessRefused, match="/nowhere/known_hosts does not exist"):
        await hello(cluster_of(own_sshd, known_hosts_file="/nowhere/known_hosts"))


async def test_a_changed_host_key_is_refused_until_it_is_trusted(own_sshd: Sshd) -> None:
    own_sshd.change_host_key()

    with pytest.raises(AccessRefused, match=r"host key is not the one in .*Somebody may be in between"):
        await hello(cluster_of(own_sshd))

    own_sshd.trust_host_key()
    assert (await hello(cluster_of(own_sshd))).stdout == b"hello\n"


async def test_not_checking_host_keys_works_and_warns(own_sshd: Sshd) -> None:
    with capture_logs() as logs:
        answer = await hello(cluster_of(own_sshd, check_host_key=False, known_hosts_file="/nowhere"))

    assert answer.stdout == b"hello\n"
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["host_key_not_checked"]


async def test_a_name_that_does_not_resolve_is_unreachable(own_sshd: Sshd) -> None:
    with pytest.raises(Unreachable, match="the host name cannot be resolved"):
        await hello(cluster_of(own_sshd, host="no-such-host.invalid"))


async def test_a_host_that_takes_connections_but_says_nothing_is_unreachable(own_sshd: Sshd) -> None:
    own_sshd.daemon.pause()

    with pytest.raises(Unreachable, match=r"no connection within 0\.5 s"):
        await hello(cluster_of(own_sshd, connect_timeout_s=0.5))
    own_sshd.daemon.resume()


async def test_a_host_that_is_down_is_asked_once_for_all_and_again_later(own_sshd: Sshd) -> None:
    clock = Clock()
    own_sshd.daemon.stop()
    async with opened(cluster_of(own_sshd), clock) as shell:
        faults = await asyncio.gather(*(shell.run(HELLO) for _ in range(20)), return_exceptions=True)
        assert {type(fault) for fault in faults} == {NoConnection}
        assert shell._failures == 1

        own_sshd.daemon.start()
        with pytest.raises(NoConnection):
            await shell.run(HELLO)

        clock.now_s += 1
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_a_connection_cut_in_the_middle_of_an_answer_concludes_nothing_and_heals(own_sshd: Sshd) -> None:
    async def read_while_the_server_dies(shell: SshShell) -> None:
        async with shell.stream(Program(name="long", text="head -c 100 /dev/zero; sleep 600")) as arriving:
            await anext(arriving)
            own_sshd.daemon.kill()
            await anext(arriving)

    async with opened(cluster_of(own_sshd)) as shell:
        with pytest.raises(Unreachable, match="the answer is cut"):
            await read_while_the_server_dies(shell)

        own_sshd.daemon.start()
        assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_a_connection_that_died_silently_is_given_up_and_replaced(own_sshd: Sshd) -> None:
    with DelayedPort(own_sshd.port, 0) as between:
        cluster = cluster_of(own_sshd, port=between.port, check_host_key=False, connect_timeout_s=4)
        async with opened(cluster) as shell:
            assert (await shell.run(HELLO)).stdout == b"hello\n"
            between.daemon.pause()

            with pytest.raises(Unreachable, match="the connection has been dead for 4 s"):
                await shell.run(HELLO)

            between.daemon.resume()
            assert (await shell.run(HELLO)).stdout == b"hello\n"


async def test_all_programs_share_one_connection_below_the_servers_session_limit(
    sshd_with: Callable[[str], Sshd],
) -> None:
    with sshd_with("MaxSessions 10\n") as sshd:
        async with opened(cluster_of(sshd, max_sessions=10)) as shell:
            answers = await asyncio.gather(*(shell.run(HELLO) for _ in range(40)))
        logins = sshd.daemon.log.read_text().count("Accepted publickey")

    assert logins == 1
    assert {answer.stdout for answer in answers} == {b"hello\n"}


async def test_a_server_with_fewer_sessions_than_we_use_says_what_to_set(sshd_with: Callable[[str], Sshd]) -> None:
    with sshd_with("MaxSessions 1\n") as sshd:
        async with opened(cluster_of(sshd, max_sessions=4)) as shell:
            long = Program(name="long", text="sleep 2")
            faults = await asyncio.gather(*(shell.run(long) for _ in range(2)), return_exceptions=True)

    assert any("lower max_sessions below its MaxSessions" in str(fault) for fault in faults)


@pytest.mark.parametrize("login_shell", ["bash", "tcsh", "zsh", "fish"])
async def test_a_chatty_login_shell_of_any_kind_does_not_spoil_the_answer(
    sshd_with: Callable[[str], Sshd], login_shell: str
) -> None:
    if shutil.which(login_shell) is None:
        pytest.skip(f"{login_shell} is not installed")
    forced = (
        f'ForceCommand echo "Welcome to \\$HOME!"; echo warning >&2; exec {login_shell} -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    with sshd_with(forced) as sshd:
        async with opened(cluster_of(sshd)) as shell:
            answer = await shell.run(Program(name="x", text="printf '%s' \"$1\"; echo mine >&2; exit 5"), "it's\nme!")

    assert (answer.stdout, answer.stderr, answer.exit_status) == (b"it's\nme!", b"mine\n", 5)


async def test_an_account_without_a_shell_says_so(sshd_with: Callable[[str], Sshd]) -> None:
    with (
        sshd_with("ForceCommand echo This account is not available; exit 1\n") as sshd,
        pytest.raises(Unreachable, match=r"did not run it \(exit status 1\): This account is not available"),
    ):
        await hello(cluster_of(sshd))


async def test_garbage_in_place_of_a_server_is_unreachable_and_harmless(own_sshd: Sshd) -> None:
    async def talk_nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x1b[31mHTTP/1.1 400\xff\r\n" * 2000)
        writer.close()

    port = ports.reserve_port()
    async with await asyncio.start_server(talk_nonsense, "127.0.0.1", port):
        with pytest.raises(Unreachable) as caught:
            await hello(cluster_of(own_sshd, port=port))

    assert str(caught.value).isprintable()


async def test_a_slow_reader_slows_the_sender_and_holds_little(own_sshd: Sshd) -> None:
    zeros = Program(name="zeros", text=f"head -c {200 * MIB} /dev/zero", timeout_s=120, max_stdout_bytes=300 * MIB)
    size_bytes = 0
    async with opened(cluster_of(own_sshd)) as shell:
        await shell.run(HELLO)
        before = _forget_peak()

        async with shell.stream(zeros) as pieces:
            async for piece in pieces:
                size_bytes += len(piece)
                await asyncio.sleep(0.01)

    assert size_bytes == 200 * MIB
    assert _peak_bytes() - before <= 48 * MIB


def _forget_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
