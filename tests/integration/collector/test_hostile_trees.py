"""Trees that somebody built to lead the reader astray, to hold it up or to wear it out."""

import fcntl
import itertools
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from scripthut_outputs.ledger import Place
from tests.integration.collector.scene import Scene
from tests.testbed.hanging import HangingDirectory, lacking

MIB = 1024 * 1024
SECRET = b"the secret of somebody else"
BEHIND = "the task saw it when it ended; a directory above it cannot be read"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A directory outside, with a file that everybody can read."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "key").write_bytes(SECRET)
    return folder


@contextmanager
def again_and_again(*acts: Callable[[], object]) -> Iterator[list[int]]:
    """Do these things in turn, all the while; counts how often."""
    done, is_over = [0], threading.Event()

    def work() -> None:
        for act in itertools.cycle(acts):
            if is_over.is_set():
                return
            act()
            done[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        is_over.set()
        thread.join()


def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can do this")


async def test_a_link_is_no_way_out_at_any_component_over_ssh(far_scene: Scene) -> None:
    folder = await far_scene.task("t1", {b"a": b"x"}, stdout=None)
    for at, target in enumerate(["/etc/passwd", "/etc", "../../../../../../../etc/passwd", "/proc/self/root", "."]):
        (folder / f"link-{at}").symlink_to(target)
    (far_scene.log_dir / "scripthut_r1_t1.out").symlink_to("/etc/passwd")

    await far_scene.collect()

    assert await far_scene.stored("t1") == {b"a": b"x"}
    assert set((await far_scene.states("t1")).values()) == {"stored", "not_regular"}
    assert [row.state for row in (await far_scene.ledger("t1", Place.STDOUT)).values()] == ["not_regular"]


@pytest.mark.parametrize("component", ["outputs/r1/t1", "outputs/r1/t1/sub", "outputs/r1", "outputs/r1/t1/sub/deep"])
async def test_a_directory_that_is_swapped_all_the_while_never_leads_out(
    scene: Scene, secret: Path, component: str
) -> None:
    inside = {b"sub/deep/key": b"inside", b"sub/key": b"inside", b"key": b"inside"}
    for twin in ("sub/deep", "sub", "t1/sub/deep", "t1/sub", "deep"):
        (secret / twin).mkdir(parents=True, exist_ok=True)
        (secret / twin / "key").write_bytes(SECRET)
    await scene.task("t1", inside)
    there, aside, link = (scene.log_dir / name for name in (component, f"{component}-aside", f"{component}-link"))
    link.symlink_to(secret)

    with again_and_again(
        lambda: there.rename(aside), lambda: link.rename(there), lambda: there.rename(link), lambda: aside.rename(there)
    ) as swaps:
        for _ in range(6):
            await scene.want("r1", "t1")
            await scene.make_due()
            await scene.collect()

    assert swaps[0] > 200
    assert set((await scene.stored("t1")).values()) <= {b"inside"}


async def test_a_file_that_is_swapped_for_a_link_while_it_is_read_never_leads_out(scene: Scene, secret: Path) -> None:
    folder = await scene.task("t1", {b"big": b"i" * MIB})
    link, aside = folder / "link", folder / "aside"
    link.symlink_to(secret / "key")

    with again_and_again(
        lambda: (folder / "big").rename(aside),
        lambda: link.rename(folder / "big"),
        lambda: (folder / "big").rename(link),
        lambda: aside.rename(folder / "big"),
    ) as swaps:
        for _ in range(6):
            await scene.want("r1", "t1")
            await scene.make_due()
            await scene.collect()

    assert swaps[0] > 200
    assert set((await scene.stored("t1")).values()) <= {b"i" * MIB}


async def test_hard_links_to_other_peoples_files_are_left_out(far_scene: Scene) -> None:
    as_root()
    folder = await far_scene.task("t1", {b"a": b"x"}, stdout=None)
    theirs = far_scene.folder / "root-owned"
    theirs.write_bytes(SECRET)
    theirs.chmod(0o644)
    os.link(theirs, folder / "hard")
    os.link(theirs, far_scene.log_dir / "scripthut_r1_t1.out")

    await far_scene.collect()

    assert await far_scene.states("t1") == {b"a": "stored", b"hard": "not_owned"}
    assert [row.state for row in (await far_scene.ledger("t1", Place.STDOUT)).values()] == ["not_owned"]


async def test_without_an_output_directory_a_log_must_still_belong_to_whose_run_it_is(far_scene: Scene) -> None:
    as_root()
    folder = await far_scene.task("t1", {}, stdout=None, stderr=b"mine")
    folder.rmdir()
    theirs = far_scene.folder / "root-owned"
    theirs.write_bytes(SECRET)
    os.link(theirs, far_scene.log_dir / "scripthut_r1_t1.out")

    await far_scene.collect()

    assert [row.state for row in (await far_scene.ledger("t1", Place.STDOUT)).values()] == ["not_owned"]
    assert list((await far_scene.stored("t1", Place.STDERR)).values()) == [b"mine"]


async def test_nothing_but_plain_files_is_opened_and_nothing_waits(scene: Scene) -> None:
    as_root()
    folder = await scene.task("t1", {b"a": b"x"}, stdout=None, stderr=None, is_recorded=False)
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "task-summary.md")
    os.mkfifo(scene.log_dir / "scripthut_r1_t1.out")
    (scene.log_dir / "outputs/r1/_run").mkdir()
    os.mkfifo(scene.log_dir / "outputs/r1/_run/t1.manifest")
    os.mknod(folder / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(folder / "block", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        await scene.collect()

    assert await scene.stored("t1") == {b"a": b"x"}
    assert set((await scene.states("t1")).values()) == {"stored", "not_regular"}
    assert len(await scene.states("t1")) == 6
    assert "exit record cannot be read: it is not a plain file" in (await scene.collection("t1")).reason


async def test_a_file_under_somebodys_lease_is_named_and_not_waited_for(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x", b"leased": b"y"})
    with (folder / "leased").open("r+b") as held:
        fcntl.fcntl(held, fcntl.F_SETSIG, 28)
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        await scene.collect()

    assert await scene.states("t1") == {b"a": "stored", b"leased": "unreadable"}


async def test_a_file_of_a_terabyte_of_nothing_is_too_large(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x"})
    with (folder / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)

    await scene.collect()

    assert await scene.states("t1") == {b"a": "stored", b"sparse": "too_large"}
    assert (await scene.ledger("t1"))[b"sparse"].size_bytes == 1 << 40


async def test_a_sparse_log_of_a_terabyte_has_an_end(scene: Scene) -> None:
    await scene.task("t1", {b"a": b"x"})
    with (scene.log_dir / "scripthut_r1_t1.out").open("wb") as log:
        log.truncate(1 << 40)
        log.seek(0, os.SEEK_END)
        log.write(b"the end")

    await scene.collect()

    (log_end,) = (await scene.stored("t1", Place.STDOUT)).values()
    assert (len(log_end), log_end[-7:]) == (MIB, b"the end")


async def test_closed_directories_and_files_are_named_over_ssh(far_scene: Scene) -> None:
    as_root()
    files = {b"a": b"x", b"closed/in": b"x", b"listed/in": b"x", b"entered/in": b"x", b"file": b"x"}
    folder = await far_scene.task("t1", files)
    for name, mode in {"closed": 0o000, "listed": 0o444, "entered": 0o111, "file": 0o000}.items():
        (folder / name).chmod(mode)

    await far_scene.collect()

    named = {
        b"a": "stored",
        b"closed": "unreadable",
        b"listed": "unreadable",
        b"entered": "unreadable",
        b"file": "unreadable",
        b"closed/in": "not_yet_visible",
        b"listed/in": "not_yet_visible",
        b"entered/in": "not_yet_visible",
    }
    assert await far_scene.states("t1") == named
    assert (await far_scene.ledger("t1"))[b"closed/in"].reason == BEHIND
    assert (await far_scene.item("t1")).outputs_state == "partial"
    await far_scene.let_pass(600)
    await far_scene.collect()

    assert await far_scene.states("t1") == named
    assert (await far_scene.item("t1")).outputs_state == "incomplete"


async def test_what_is_opened_in_time_is_collected_over_ssh(far_scene: Scene) -> None:
    as_root()
    folder = await far_scene.task("t1", {b"closed/in": b"x", b"file": b"y"})
    (folder / "closed").chmod(0)
    (folder / "file").chmod(0)
    await far_scene.collect()

    (folder / "closed").chmod(0o755)
    (folder / "file").chmod(0o644)
    await far_scene.let_pass(10)
    await far_scene.collect()

    assert await far_scene.stored("t1") == {b"closed/in": b"x", b"file": b"y"}
    assert (await far_scene.item("t1")).outputs_state == "collected"


async def test_what_we_hold_is_not_called_gone_where_nobody_may_look_any_more(far_scene: Scene) -> None:
    as_root()
    folder = await far_scene.task("t1", {b"gone": b"x", b"closed/a": b"x", b"closed/b/c": b"x"})
    await far_scene.collect()
    (folder / "closed").chmod(0)
    (folder / "gone").unlink()

    await far_scene.want("r1", "t1")
    await far_scene.collect()

    ledger = await far_scene.ledger("t1")
    assert {path: (row.state, row.reason) for path, row in ledger.items() if path != b"closed"} == {
        b"gone": ("stored", "it is no longer on the cluster"),
        b"closed/a": ("stored", None),
        b"closed/b/c": ("stored", None),
    }
    assert ledger[b"closed"].state == "unreadable"
    assert (await far_scene.item("t1")).outputs_state == "incomplete"


async def test_directories_above_need_only_let_us_enter(far_scene: Scene) -> None:
    as_root()
    await far_scene.task("t1", {b"a": b"x"}, stdout=b"out")
    for path in (far_scene.log_dir, far_scene.log_dir / "outputs", far_scene.log_dir / "outputs/r1"):
        path.chmod(0o111)

    await far_scene.collect()

    assert await far_scene.stored("t1") == {b"a": b"x"}
    assert list((await far_scene.stored("t1", Place.STDOUT)).values()) == [b"out"]


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        ("f.write(b'more'); f.flush()", {"changed_while_reading"}),
        ("f.truncate(10)", {"stored"}),
        ("os.replace(f.name + '.new', f.name) if os.path.exists(f.name + '.new') else None", {"stored"}),
        ("os.unlink(f.name) if os.path.exists(f.name) else None", {"purged"}),
    ],
)
async def test_what_happens_between_listing_and_reading_is_said(scene: Scene, happens: str, expected: set[str]) -> None:
    folder = await scene.task("t1", {b"f": b"x" * 100, b"f.new": b"n" * 50}, stdout=None, stderr=None)
    act = f"import os; f = open({str(folder / 'f')!r}, 'ab'); {happens}"
    scene.shell.before[2] = lambda: subprocess.run([sys.executable, "-c", act], check=True)  # type: ignore[attr-defined]

    await scene.step()

    assert (await scene.states("t1"))[b"f"] in expected


async def test_a_file_that_grows_shrinks_or_goes_while_it_is_read_is_never_passed_off_as_whole(scene: Scene) -> None:
    size = 8 * MIB
    folder = await scene.task("t1", {b"growing": b"g" * size, b"shrinking": b"s" * size, b"going": b"d" * size})
    growing, shrinking, going = (folder / name for name in ("growing", "shrinking", "going"))

    def grow() -> None:
        with growing.open("ab") as file:
            file.write(b"+")

    with again_and_again(
        grow,
        lambda: os.truncate(shrinking, size - 1),
        lambda: os.truncate(shrinking, size),
        lambda: going.rename(folder / "gone"),
        lambda: (folder / "gone").rename(going),
    ):
        for _ in range(4):
            await scene.want("r1", "t1")
            await scene.make_due()
            await scene.collect()
            states = await scene.states("t1")
            assert set(states.values()) <= {"stored", "changed_while_reading", "purged", "not_yet_visible"}
            assert states[b"growing"] == "changed_while_reading"
            assert (await scene.item("t1")).outputs_state == "partial"
    stored = await scene.stored("t1")
    assert stored.get(b"going", b"d" * size) == b"d" * size
    assert len(stored.get(b"shrinking", b"s" * size)) in {size, size - 1}


@pytest.mark.parametrize(
    ("happens", "returns"),
    [
        ("open(name, 'ab').write(b'more')", "pass"),
        ("os.rename(name, name + '.away')", "os.rename(name + '.away', name)"),
    ],
)
async def test_what_was_promised_and_is_disturbed_while_it_is_read_is_fetched_again(
    scene: Scene, happens: str, returns: str
) -> None:
    folder = await scene.task("t1", {b"a": b"a", b"f": b"x" * 100})

    def act(what: str) -> None:
        subprocess.run([sys.executable, "-c", f"import os; name = {str(folder / 'f')!r}; {what}"], check=True)

    scene.shell.before[2] = lambda: act(happens)  # type: ignore[attr-defined]
    await scene.step()
    assert (await scene.states("t1"))[b"f"] in {"changed_while_reading", "purged"}
    assert (await scene.item("t1")).outputs_state == "partial"
    collection = await scene.collection("t1")
    assert collection.reason.startswith("1 of the promised files could not be read whole, will look again at ")
    assert (collection.looks, collection.failures) == (1, 0)
    assert await scene.told() == []
    act(returns)

    await scene.let_pass(10)
    await scene.step()

    assert set(await scene.stored("t1")) == {b"a", b"f"}
    assert (await scene.item("t1")).outputs_state == "collected"
    assert (await scene.collection("t1")).reason is None


async def test_what_is_disturbed_each_time_rests_at_the_deadline(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"a", b"f": b"x" * 100})

    def grow() -> None:
        with (folder / "f").open("ab") as file:
            file.write(b"+")

    scene.shell.before.update({2: grow, 4: grow})  # type: ignore[attr-defined]
    await scene.step()
    await scene.let_pass(600)
    await scene.step()

    assert await scene.states("t1") == {b"a": "stored", b"f": "changed_while_reading"}
    assert (await scene.item("t1")).outputs_state == "incomplete"
    collection = await scene.collection("t1")
    assert collection.due_at is None
    assert collection.reason == "1 of the promised files could not be read whole within 600 s"
    assert [event.outputs_state for event in await scene.told()] == ["incomplete"]


async def test_a_hundred_thousand_files_in_one_directory_are_counted(scene: Scene) -> None:
    folder = await scene.task("t1", {b"task-summary.md": b"# here"}, stdout=None, stderr=None)
    for number in range(100_000):
        os.close(os.open(f"{folder}/{number:06d}", os.O_CREAT | os.O_WRONLY))
    began = time.monotonic()

    await scene.collect()

    print(f"100,001 files in one directory: {time.monotonic() - began:.1f} s")
    ledger = await scene.ledger("t1")
    assert sum(row.count for row in ledger.values()) == 100_001
    assert sorted(path for path, row in ledger.items() if row.state == "stored") == sorted(
        [b"task-summary.md", *(b"%06d" % number for number in range(1000))]
    )
    assert ledger[b"/over_count"].count == 100_001 - 10_000


async def test_a_tree_of_two_hundred_levels_is_bounded(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x"}, stdout=None)
    parent = os.open(folder, os.O_RDONLY)
    for depth in range(200):
        os.mkdir("d" * 100, dir_fd=parent)
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=parent)
        os.close(os.open(f"file-{depth}", os.O_CREAT, dir_fd=parent))
        os.close(parent)
        parent = deeper
    os.close(parent)

    await scene.collect()

    ledger = await scene.ledger("t1")
    states = [row.state for row in ledger.values() for _ in range(row.count)]
    assert {state: states.count(state) for state in states} == {"stored": 4, "too_deep": 62}
    assert (await scene.item("t1")).outputs_state == "collected"


async def test_every_byte_that_a_name_may_hold_survives(scene: Scene) -> None:
    names = [b"n" + bytes([byte]) + b"n" for byte in range(1, 256) if byte != ord("/")]
    names += [bytes([byte]) * 255 for byte in (0xFF, ord("-"), ord(" "), ord("\n"))] + [b"-", b"--", b"-rf *", b"a\n"]
    files = {name: b"content of " + name for name in names}
    await scene.task("t1", files)

    await scene.collect()

    assert await scene.stored("t1") == files


@pytest.fixture
def hanging() -> Callable[[Path], HangingDirectory]:
    """Makes directories hang."""
    if lacking():
        pytest.skip(lacking())
    return HangingDirectory


async def test_a_file_system_that_hangs_costs_nothing_but_itself(
    scene: Scene, hanging: Callable[[Path], HangingDirectory]
) -> None:
    folder = await scene.task("t1", {b"a": b"1", b"dead/x": b"2", b"z": b"3"}, fragment=b"- f", stdout=b"out")
    await scene.task("t2", {b"b": b"2"})
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=6.0)
    scene.reopen()

    with hanging(folder / "dead"):
        await scene.collect()

    ledger = await scene.ledger("t1")
    assert {path: (row.state, row.reason) for path, row in ledger.items()} == {
        b"a": ("stored", None),
        b"dead": ("unreadable", "the file system did not answer within 2 s"),
        b"dead/x": ("not_yet_visible", BEHIND),
        b"z": ("not_yet_visible", "the task saw it when it ended; the cluster does not show it yet"),
    }
    assert await scene.stored("t1", Place.RUN_SUMMARY) == {b"t1.md": b"- f"}
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [b"out"]
    assert (await scene.item("t1")).outputs_state == "partial"
    assert (await scene.collection("t1")).reason.startswith("2 of 3 files not yet visible, will look again at ")
    assert (await scene.item("t2")).outputs_state == "collected"
    assert await scene.stored("t2") == {b"b": b"2"}

    await scene.let_pass(10)
    await scene.collect()

    assert await scene.stored("t1") == {b"a": b"1", b"dead/x": b"2", b"z": b"3"}
    assert (await scene.item("t1")).outputs_state == "collected"


async def test_what_we_hold_is_not_called_gone_behind_a_file_system_that_hangs(
    scene: Scene, hanging: Callable[[Path], HangingDirectory]
) -> None:
    folder = await scene.task("t1", {b"a": b"1", b"dead/x": b"2", b"z": b"3"}, stdout=b"out")
    await scene.collect()
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=6.0)
    scene.reopen()

    for path in (folder / "dead", scene.log_dir / "outputs"):
        await scene.want("r1", "t1")
        with hanging(path):
            await scene.collect()
        rows = {**await scene.ledger("t1"), **await scene.ledger("t1", Place.STDOUT)}
        assert [row.reason for row in rows.values() if row.state == "stored"] == [None] * 4


async def test_a_directory_that_begins_to_hang_after_the_listing_costs_nothing_but_itself(
    scene: Scene, hanging: Callable[[Path], HangingDirectory]
) -> None:
    folder = await scene.task("t1", {b"a": b"1", b"dead/x": b"2", b"z": b"3"})
    await scene.task("t2", {b"b": b"2"})
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=6.0)
    scene.reopen()
    dead = hanging(folder / "dead")
    scene.shell.before[2] = dead.__enter__  # type: ignore[attr-defined]

    await scene.step()
    dead.__exit__(None, None, None)

    assert await scene.states("t1") == {b"a": "stored", b"dead/x": "unreadable", b"z": "stored"}
    assert (await scene.ledger("t1"))[b"dead/x"].reason == "the file system did not answer within 2 s"
    assert await scene.stored("t2") == {b"b": b"2"}

    await scene.let_pass(10)
    await scene.collect()

    assert await scene.stored("t1") == {b"a": b"1", b"dead/x": b"2", b"z": b"3"}
    assert (await scene.item("t1")).outputs_state == "collected"


async def test_the_end_comes_when_everything_hangs(scene: Scene, hanging: Callable[[Path], HangingDirectory]) -> None:
    for number in range(20):
        await scene.task(f"t{number}", {b"a": b"1"})
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=1.5)
    scene.reopen()

    with hanging(scene.log_dir / "outputs"):
        await scene.collect()

        items = [await scene.item(f"t{number}") for number in range(20)]
        assert {item.outputs_state for item in items} == {"partial"}
        await scene.let_pass(600)
        await scene.collect()

    items = [await scene.item(f"t{number}") for number in range(20)]
    assert {item.outputs_state for item in items} == {"incomplete"}
    reasons = {(await scene.collection(f"t{number}")).reason for number in range(20)}
    assert reasons == {"no exit record, and the file system did not answer 600 s after the first look"}
