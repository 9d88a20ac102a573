"""What both readers promise, python3 and, where there is none, sh with GNU find and tar: one ledger for one tree."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import BadOutput
from scripthut_common.shell.local import LocalShell
from scripthut_common.shell.ssh import SshShell
from scripthut_outputs.ledger import Place
from tests.integration.collector.scene import CLUSTER, Scene
from tests.integration.collector.shells import Interrupted
from tests.integration.collector.test_collecting import HOSTILE
from tests.integration.collector.test_hostile_trees import again_and_again
from tests.testbed.accounts import ALICE
from tests.testbed.exit_records import write_record
from tests.testbed.rooms import FLOOR, make_room
from tests.testbed.sshd import Sshd

MIB = 1024 * 1024


@pytest.fixture
def floor(tmp_path: Path) -> Interrupted:
    """This machine's shell without python3."""
    return Interrupted(LocalShell(environment={"PATH": make_room(tmp_path / "room")}))


@pytest.fixture(params=["python3", "floor"])
def shell(request: pytest.FixtureRequest) -> Interrupted:
    """This machine's shell, with and without python3."""
    if request.param == "python3":
        return Interrupted(LocalShell())
    found: Interrupted = request.getfixturevalue("floor")
    return found


@pytest.fixture
async def floor_far(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    """Tasks of an unprivileged account behind a real sshd, where sessions know no python3."""
    room = make_room(tmp_path / "room")
    for parent in Path(room).parents:
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    with Sshd({"PATH": room}) as sshd:
        cluster = Cluster(
            name=CLUSTER,
            scheduler=SchedulerKind.SLURM,
            host=sshd.host,
            port=sshd.port,
            user=ALICE,
            key_file=str(sshd.key(ALICE)),
            known_hosts_file=str(sshd.known_hosts),
        )
        shell = SshShell(cluster)
        scene = Scene(database, sshd.directory / "scene", shell, owner=ALICE)
        yield scene
        scene.collector.close()
        await shell.close()


async def whole_ledger(scene: Scene, task_id: str) -> dict[Any, Any]:
    names = ("state", "count", "size_bytes", "modified_at", "sha256", "stored_bytes", "remote_path", "reason")
    return {
        (place, path): tuple(
            round(value, 5) if isinstance(value, float) else value for value in (getattr(row, name) for name in names)
        )
        for place in Place
        for path, row in (await scene.ledger(task_id, place)).items()
    }


async def test_everything_arrives_byte_by_byte(scene: Scene) -> None:
    files = {b"task-summary.md": b"# hi\n", b"plot.png": bytes(range(256)) * 100, b"empty": b"", b"a/b/c": b"deep"}
    await scene.task("t1", files, fragment=b"- done\n", stdout=b"out\n", stderr=b"err\n")

    await scene.collect()

    assert await scene.stored("t1") == files
    assert await scene.stored("t1", Place.RUN_SUMMARY) == {b"t1.md": b"- done\n"}
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [b"out\n"]
    assert list((await scene.stored("t1", Place.STDERR)).values()) == [b"err\n"]
    assert (await scene.item("t1")).outputs_state == "collected"


async def test_names_are_bytes(scene: Scene) -> None:
    names = [b"n" + bytes([byte]) + b"n" for byte in range(1, 256) if byte != ord("/")]
    names += [bytes([byte]) * 255 for byte in (0xFF, ord("-"), ord(" "), ord("\n"), ord("\\"))]
    names += [b"-", b"-T", b"\\101", b"a\n", b"deep\n/-x\xff/" + b"n" * 200, b"d" * 200 + b"/" + b"n" * 200, *HOSTILE]
    files = {name: b"content of " + name for name in names}
    await scene.task("t1", files)

    await scene.collect()

    assert await scene.stored("t1") == files


async def test_large_files_and_many_small_ones_pass_whole(scene: Scene) -> None:
    files = {b"large": os.urandom(9 * MIB + 17)} | {b"%03d" % number: os.urandom(number * 97) for number in range(300)}
    await scene.task("t1", files)

    await scene.collect()

    assert await scene.stored("t1") == files


async def test_links_pipes_sockets_and_devices_are_named_and_not_opened(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x"}, stdout=None)
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "folder").symlink_to("/etc")
    (scene.log_dir / "scripthut_r1_t1.out").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    if os.geteuid() == 0:
        os.mknod(folder / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        await scene.collect()

    states = await scene.states("t1")
    assert states.pop(b"a") == "stored"
    assert set(states.values()) == {"not_regular"}
    assert len(states) >= 5
    assert [row.state for row in (await scene.ledger("t1", Place.STDOUT)).values()] == ["not_regular"]


@pytest.mark.parametrize("component", ["outputs", "outputs/r1", "outputs/r1/t1", "outputs/r1/_run"])
async def test_a_directory_of_ours_that_became_a_link_leads_nowhere(
    scene: Scene, tmp_path: Path, component: str
) -> None:
    await scene.task("t1", {b"a": b"x"}, fragment=b"- f")
    ours, elsewhere = scene.log_dir / component, tmp_path / "elsewhere"
    ours.rename(elsewhere)
    ours.symlink_to(elsewhere)

    await scene.collect()

    stored = {**await scene.stored("t1"), **await scene.stored("t1", Place.RUN_SUMMARY)}
    assert stored == {"outputs/r1/t1": {b"t1.md": b"- f"}, "outputs/r1/_run": {b"a": b"x"}}.get(component, {})


@pytest.mark.parametrize("component", ["outputs/r1/t1/sub", "outputs/r1", "outputs/r1/t1/sub/key"])
async def test_what_is_swapped_for_a_link_all_the_while_never_leads_out(
    scene: Scene, tmp_path: Path, component: str
) -> None:
    for twin in ("", "t1/sub/", "sub/"):
        scene.write(tmp_path / "secret", f"{twin}key".encode(), b"secret")
    await scene.task("t1", {b"sub/key": b"inside", b"key": b"inside"})
    there, aside, link = (scene.log_dir / name for name in (component, f"{component}-aside", f"{component}-link"))
    link.symlink_to(tmp_path / "secret/key" if component.endswith("key") else tmp_path / "secret")

    with again_and_again(
        lambda: there.rename(aside), lambda: link.rename(there), lambda: there.rename(link), lambda: aside.rename(there)
    ) as swaps:
        for _ in range(5):
            await scene.want("r1", "t1")
            await scene.make_due()
            await scene.collect()

    assert swaps[0] > 200
    assert set((await scene.stored("t1")).values()) <= {b"inside"}


async def test_a_log_directory_behind_a_link_is_as_good_as_any(scene: Scene, tmp_path: Path) -> None:
    await scene.task("t1", {b"a": b"x"})
    scene.log_dir.rename(tmp_path / "scratch\n")
    scene.log_dir.symlink_to(tmp_path / "scratch\n")

    await scene.collect()

    assert await scene.stored("t1") == {b"a": b"x"}


async def test_the_end_of_a_long_log_is_kept(scene: Scene) -> None:
    await scene.task("t1", {}, stdout=b"a" * 100 + b"the end", stderr=b"short")
    scene.limit(log_tail_bytes=7)

    await scene.collect()

    (log,) = (await scene.ledger("t1", Place.STDOUT)).values()
    assert (log.size_bytes, log.stored_bytes) == (107, 7)
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [b"the end"]
    assert list((await scene.stored("t1", Place.STDERR)).values()) == [b"short"]


async def test_what_happens_between_listing_and_reading_is_said(scene: Scene, shell: Interrupted) -> None:
    files = {b"same": b"x", b"gone": b"x", b"grown": b"x", b"linked": b"x", b"sub/a": b"x", b"dir/a": b"x"}
    folder = await scene.task("t1", files, stdout=b"log", stderr=b"err")
    happens = "; ".join(
        [
            "import os, shutil",
            f"os.chdir({str(folder)!r})",
            "os.unlink('gone')",
            "open('grown', 'w').write('much more')",
            "os.unlink('linked')",
            "os.symlink('/etc/passwd', 'linked')",
            "shutil.rmtree('sub')",
            "os.rename('dir', '../dir')",
            "os.symlink('../dir', 'dir')",
            f"open({str(scene.log_dir / 'scripthut_r1_t1.out')!r}, 'a').write(' goes on')",
        ]
    )
    act = [sys.executable, "-c", happens]
    (scene.log_dir / "outputs" / "r0").mkdir()
    await scene.task("t0", {b"a": b"x"}, run_id="r0")
    await scene.step()
    await scene.want("r1", "t1")
    await scene.make_due()
    shell.before[shell.commands_run + 2] = lambda: subprocess.run(act, check=True)

    await scene.step()

    ledger = await scene.ledger("t1")
    said = {path: row.reason or row.state for path, row in ledger.items()}
    held = "the cluster has it no longer as it was: "
    assert said == {
        b"same": "stored",
        b"gone": f"{held}purged",
        b"grown": f"{held}changed_while_reading",
        b"linked": f"{held}not_regular",
        b"sub/a": f"{held}purged",
        b"dir/a": f"{held}not_regular",
    }
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [b"log goes on"]


async def test_a_crowd_of_files_is_counted_and_the_summary_still_found(scene: Scene) -> None:
    await scene.task("t1", {b"%05d" % number: b"" for number in range(300)} | {b"task-summary.md": b"# here"})
    scene.limit(max_files=5, max_named_rows=20)

    await scene.collect()

    ledger = await scene.ledger("t1")
    assert (await scene.stored("t1"))[b"task-summary.md"] == b"# here"
    assert (ledger[b"/over_count"].count, ledger[b"/over_count"].state) == (281, "over_count")
    assert sum(row.count for row in ledger.values()) == 301


@pytest.mark.parametrize("shell", ["python3"], indirect=True)
async def test_the_ledgers_are_the_same(scene: Scene, floor: Interrupted, tmp_path: Path) -> None:
    files = {
        b"task-summary.md": b"# s",
        b"1/2/3/4/deep": b"x",
        b"1/2/3/fits": b"x",
        b"large": b"x" * 101,
        b"\xff\n odd": b"y",
        b"sub/task-summary.md": b"# not the one",
    }
    folder = await scene.task("t1", files, fragment=b"- f", stdout=b"o" * 300)
    (folder / "link").symlink_to("large")
    write_record(str(scene.log_dir), "r1", "t1", [(b"large", 101, b"1.5"), (b"not/yet", 7, b"1.5")])
    if os.geteuid() == 0:
        (folder / "theirs").write_bytes(b"z")
        os.chown(folder / "theirs", 12345, 12345)
    parent = os.open(folder, os.O_RDONLY)
    for depth in range(80):
        os.mkdir("d" * 60, dir_fd=parent)
        deeper = os.open("d" * 60, os.O_RDONLY, dir_fd=parent)
        os.close(os.open(f"file-{depth}", os.O_CREAT, dir_fd=parent))
        os.close(parent)
        parent = deeper
    os.close(parent)
    scene.limit(max_file_bytes=100, log_tail_bytes=10)
    await scene.collect()
    one = await whole_ledger(scene, "t1")

    scene.shell = floor
    scene.reopen()
    await scene.want("r1", "t1")
    await scene.collect()

    assert await whole_ledger(scene, "t1") == one
    assert len(one) > 30


@pytest.mark.parametrize("shell", ["python3"], indirect=True)
async def test_a_hundred_thousand_files_are_counted_alike(scene: Scene, floor: Interrupted) -> None:
    folder = await scene.task("t1", {b"task-summary.md": b"# here"}, stdout=None, stderr=None)
    for number in range(100_000):
        os.close(os.open(f"{folder}/{number:06d}", os.O_CREAT | os.O_WRONLY))
    await scene.collect()
    one = await whole_ledger(scene, "t1")

    scene.shell = floor
    scene.reopen()
    await scene.want("r1", "t1")
    await scene.collect()

    assert await whole_ledger(scene, "t1") == one
    assert sum(row[1] for row in one.values()) == 100_001


async def test_the_floor_reads_over_ssh_what_the_account_owns(floor_far: Scene) -> None:
    files = {b"a": b"x", b"sub/\xff\n": b"y", b"large": os.urandom(5 * MIB), b"closed/in": b"z", b"listed/in": b"z"}
    folder = await floor_far.task("t1", files, fragment=b"- f", stdout=b"out")
    (folder / "closed").chmod(0o000)
    (folder / "listed").chmod(0o444)

    await floor_far.collect()

    assert await floor_far.stored("t1") == {b"a": b"x", b"sub/\xff\n": b"y", b"large": files[b"large"]}
    states = await floor_far.states("t1")
    assert (states[b"closed"], states[b"listed"]) == ("unreadable", "unreadable")
    assert (states[b"closed/in"], states[b"listed/in"]) == ("not_yet_visible", "not_yet_visible")
    assert len(states) == 7
    assert list((await floor_far.stored("t1", Place.STDOUT)).values()) == [b"out"]
    assert floor_far.shell.commands_run == 3


async def test_the_floor_refuses_what_belongs_to_another_account(floor_far: Scene) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    folder = await floor_far.task("t1", {b"a": b"x"}, stdout=b"out")
    await floor_far.task("t2", {b"b": b"y"})
    os.chown(folder, 12345, 12345)

    await floor_far.collect()

    item = await floor_far.item("t1")
    assert item.outputs_state == "failed"
    assert "a strict reader is needed to read other people's files" in (await floor_far.collection("t1")).reason
    assert await floor_far.ledger("t1") == {}
    assert await floor_far.stored("t2") == {b"b": b"y"}


@pytest.mark.parametrize("shell", ["python3"], indirect=True)
@pytest.mark.parametrize("lacking", ["find", "tar", "dd"])
async def test_without_its_tools_the_floor_is_refused_in_words(scene: Scene, tmp_path: Path, lacking: str) -> None:
    await scene.task("t1", {b"a": b"x"})
    scene.shell = LocalShell(
        environment={"PATH": make_room(tmp_path / "poor", [tool for tool in FLOOR if tool != lacking])}
    )
    scene.reopen()

    with pytest.raises(BadOutput, match="has neither python3 nor GNU find and tar"):
        await scene.collect()

    assert "has neither python3 nor GNU find and tar" in str(await scene.cluster_error())


@pytest.mark.parametrize("shell", ["python3"], indirect=True)
async def test_an_old_python_is_as_good_as_none(scene: Scene, tmp_path: Path) -> None:
    room = Path(make_room(tmp_path / "old"))
    (room / "python3").write_text("#!/bin/sh\necho no python3\n")
    (room / "python3").chmod(0o755)
    scene.shell = LocalShell(environment={"PATH": str(room)})
    scene.reopen()
    await scene.task("t1", {b"a": b"x"})
    await scene.task("t2", {b"a": b"x"})

    await scene.collect()
    await scene.want("r1", "t1")
    await scene.collect()

    assert await scene.stored("t1") == {b"a": b"x"}
    assert scene.shell.commands_run == 5
