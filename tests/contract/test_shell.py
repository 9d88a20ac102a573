"""What every shell promises, on this machine and through a real sshd."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir

import msgspec
import pytest

from scripthut_common.clusters import AsWhom, Cluster, SchedulerKind
from scripthut_common.errors import BadOutput, LimitExceeded, TimedOut, Unreachable
from scripthut_common.shell import MIB, Program, RemoteShell
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.local import LocalShell
from scripthut_common.shell.ssh import SshShell
from tests.eventually import eventually
from tests.testbed import sudoers
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.sshd import Sshd

NOTE_PID = 'echo $$ > "$1".new; mv "$1".new "$1"; '


def cluster_of(sshd: Sshd) -> Cluster:
    return Cluster(
        name="testbed",
        scheduler=SchedulerKind.SLURM,
        host=sshd.host,
        port=sshd.port,
        user=ALICE,
        key_file=str(sshd.key(ALICE)),
        known_hosts_file=str(sshd.known_hosts),
    )


@pytest.fixture(params=["local", "ssh", "sudo"])
async def shell(request: pytest.FixtureRequest) -> AsyncIterator[RemoteShell]:
    if request.param == "sudo":
        request.getfixturevalue("with_sudo")
        async with by_sudo(request.getfixturevalue("own_sshd")) as opened:
            yield opened
        return
    opened = LocalShell() if request.param == "local" else SshShell(cluster_of(request.getfixturevalue("own_sshd")))
    yield opened
    await opened.close()


@asynccontextmanager
async def by_sudo(sshd: Sshd) -> AsyncIterator[RemoteShell]:
    """Be Bob on Alice's connection."""
    with sudoers.installed(ALICE, [BOB]) as there:
        cluster = msgspec.structs.replace(
            cluster_of(sshd), as_whom=AsWhom.SUDO, sudo_program=str(there.program), max_sessions=8
        )
        shells = AccountShells(cluster)
        yield shells.of(BOB)
        await shells.close()


@pytest.fixture
def open_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which other accounts may write."""
    path = tmp_path_factory.mktemp("open")
    path.chmod(0o777)
    for parent in path.parents:
        if parent.owner() == path.owner() and parent.is_relative_to(gettempdir()) and parent != Path(gettempdir()):
            parent.chmod(0o755)
    return path


def program(
    text: str, *, timeout_s: float = 30, idle_timeout_s: float = 30, max_stdout_bytes: int = 64 * MIB
) -> Program:
    return Program(
        name="test", text=text, timeout_s=timeout_s, idle_timeout_s=idle_timeout_s, max_stdout_bytes=max_stdout_bytes
    )


async def has_ended(pid_file: Path) -> None:
    """Return once the process that noted its pid is gone."""
    await eventually(lambda: not Path("/proc", pid_file.read_text().strip()).exists())


async def test_words_and_input_arrive_as_they_were_given(shell: RemoteShell) -> None:
    words = ["a'b", '$(id)`id`"', "!!", "two\nlines\n\n", "", "-n", "\\0101", "é", "\udcff"]

    answer = await shell.run(program('for word do printf "%s\\0" "$word"; done; cat'), *words, stdin=b"\0\xff in")

    expected = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)
    assert answer.stdout == expected + b"\0\xff in"


async def test_the_exit_status_and_standard_error_are_the_programs_own(shell: RemoteShell) -> None:
    answer = await shell.run(program("echo out; echo err >&2; exit 42"))

    assert (answer.stdout, answer.stderr, answer.exit_status) == (b"out\n", b"err\n", 42)


async def test_a_program_that_replaces_itself_still_has_its_status(shell: RemoteShell) -> None:
    answer = await shell.run(program("exec sh -c 'kill -TERM $$'"))

    assert answer.exit_status == 128 + 15


async def test_invalid_utf8_passes_unchanged(shell: RemoteShell) -> None:
    sent = bytes(range(256)) * 16

    answer = await shell.run(program("cat; cat /dev/null >&2"), stdin=sent)

    assert answer.stdout == sent


async def test_large_input_and_output_at_the_same_time_do_not_block_each_other(shell: RemoteShell) -> None:
    sent = bytes(range(251)) * (20 * MIB // 251)

    answer = await shell.run(program("cat"), stdin=sent)

    assert answer.stdout == sent


async def test_a_program_may_leave_its_input_unread(shell: RemoteShell) -> None:
    answer = await shell.run(program("echo done"), stdin=b"x" * 20 * MIB)

    assert answer.stdout == b"done\n"


async def test_output_past_the_limit_is_an_error_and_ends_the_program(shell: RemoteShell, open_dir: Path) -> None:
    with pytest.raises(LimitExceeded, match="more than 1000 bytes"):
        await shell.run(program(NOTE_PID + "yes", max_stdout_bytes=1000), str(open_dir / "pid"))

    await has_ended(open_dir / "pid")


async def test_standard_error_is_cut_at_its_limit(shell: RemoteShell) -> None:
    chatty = Program(name="chatty", text="head -c 300000 /dev/zero >&2; echo out", max_stderr_bytes=1000)

    answer = await shell.run(chatty)

    assert answer.stdout == b"out\n"
    assert 900 < len(answer.stderr) <= 1000


async def test_a_program_past_its_time_is_ended_with_its_children(shell: RemoteShell, open_dir: Path) -> None:
    text = 'sleep 600 & echo $! > "$1".child; ' + NOTE_PID + "while :; do echo tick; sleep 0.1; done"

    with pytest.raises(TimedOut, match=r"took over 1 s"):
        await shell.run(program(text, timeout_s=1), str(open_dir / "pid"))

    await has_ended(open_dir / "pid")
    await has_ended(open_dir / "pid.child")


async def test_a_silent_program_is_ended(shell: RemoteShell, open_dir: Path) -> None:
    with pytest.raises(TimedOut, match=r"silent for 0\.5 s"):
        await shell.run(program(NOTE_PID + "sleep 600", idle_timeout_s=0.5), str(open_dir / "pid"))

    await has_ended(open_dir / "pid")


async def test_a_cancelled_caller_ends_the_program(shell: RemoteShell, open_dir: Path) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(shell.run(program(NOTE_PID + "sleep 600"), str(open_dir / "pid")))
        await eventually((open_dir / "pid").exists)
        task.cancel()

    await has_ended(open_dir / "pid")


async def test_a_stream_yields_while_the_program_runs(shell: RemoteShell, open_dir: Path) -> None:
    seen = open_dir / "seen"
    text = 'head -c 100 /dev/zero; while [ ! -e "$1" ]; do sleep 0.02; done; printf end'

    pieces = []
    async with shell.stream(program(text), str(seen)) as arriving:
        async for piece in arriving:
            pieces.append(piece)
            seen.touch()

    assert b"".join(pieces) == b"\0" * 100 + b"end"
    assert len(pieces) > 1


async def test_a_stream_whose_program_fails_says_what_it_said(shell: RemoteShell) -> None:
    with pytest.raises(BadOutput, match="exit status 3: no such python"):
        async with shell.stream(program("echo part; echo 'no such python' >&2; exit 3")) as arriving:
            assert b"".join([piece async for piece in arriving]) == b"part\n"


async def test_a_stream_left_early_ends_the_program(shell: RemoteShell, open_dir: Path) -> None:
    async with shell.stream(program(NOTE_PID + "yes"), str(open_dir / "pid")) as arriving:
        await anext(arriving)

    await has_ended(open_dir / "pid")


async def test_a_slow_reader_holds_the_program_back(shell: RemoteShell, open_dir: Path) -> None:
    text = 'head -c 100000000 /dev/zero; echo > "$1"'

    async with shell.stream(program(text, max_stdout_bytes=200 * MIB), str(open_dir / "all-sent")) as arriving:
        size = len(await anext(arriving))
        await asyncio.sleep(0.5)
        assert not (open_dir / "all-sent").exists()
        size += sum([len(piece) async for piece in arriving])

    assert size == 100_000_000


async def test_an_answer_without_its_end_marker_concludes_nothing(shell: RemoteShell) -> None:
    with pytest.raises(Unreachable, match="the answer is cut"):
        await shell.run(program("echo all jobs; kill -9 $$"))


async def test_more_programs_than_sessions_wait_their_turn(shell: RemoteShell) -> None:
    answers = await asyncio.gather(*(shell.run(program('sleep 0.1; echo "$1"'), str(number)) for number in range(30)))

    assert [answer.stdout for answer in answers] == [f"{number}\n".encode() for number in range(30)]
    assert shell.commands_run == 30


async def test_our_own_settings_are_not_for_programs(shell: RemoteShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTHUT_OUTPUTS_DATABASE_URL", "postgresql://secret")

    answer = await shell.run(program("env"))

    assert b"secret" not in answer.stdout


async def test_what_waits_for_a_slow_reader_stays_bounded_however_much_follows(shell: RemoteShell) -> None:
    size_bytes, most_bytes = 256 * MIB, 0
    tracemalloc.start()

    async with shell.stream(program(f"head -c {size_bytes} /dev/zero", max_stdout_bytes=size_bytes)) as pieces:
        arrived_bytes = 0
        async for piece in pieces:
            arrived_bytes += len(piece)
            await asyncio.sleep(len(piece) / (64 * MIB))  # slower than the program writes
            most_bytes = max(most_bytes, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert arrived_bytes == size_bytes
    assert most_bytes < 32 * MIB
