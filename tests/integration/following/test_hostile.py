"""Trees that somebody built to lead a look astray, to hold it up or to wear it out."""

import os
import pwd
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from scripthut_common.errors import StoreUnavailable
from scripthut_outputs.ledger import Place
from tests.integration.collector.test_collecting import HOSTILE
from tests.integration.collector.test_hostile_trees import SECRET, again_and_again, as_root
from tests.integration.collector.trouble import CRASH, HANG, SILENCE, troubled
from tests.integration.following.scene import FollowedScene

MIB = 1024 * 1024


async def test_hostile_names_survive(scene: FollowedScene) -> None:
    files = {name: b"content of " + name for name in HOSTILE}
    await scene.runs("t1", files)

    await scene.look()
    await scene.look()

    assert await scene.stored("t1") == files


async def test_a_link_is_no_way_out_at_any_component_over_ssh(far_scene: FollowedScene) -> None:
    folder = await far_scene.runs("t1", {b"a": b"x"})
    for at, target in enumerate(["/etc/passwd", "/etc", "../../../../../../../etc/passwd", "/proc/self/root", "."]):
        (folder / f"link-{at}").symlink_to(target)
    (far_scene.log_dir / "scripthut_r1_t1.out").symlink_to("/etc/passwd")
    (far_scene.log_dir / "outputs/r1/_run").mkdir(parents=True, exist_ok=True)
    (far_scene.log_dir / "outputs/r1/_run/t1.md").symlink_to("/etc/passwd")

    await far_scene.look()

    assert await far_scene.stored("t1") == {b"a": b"x"}
    assert set((await far_scene.states("t1")).values()) == {"stored", "not_regular"}
    for place in (Place.STDOUT, Place.RUN_SUMMARY):
        assert [row.state for row in (await far_scene.ledger("t1", place)).values()] == ["not_regular"]


async def test_a_directory_that_is_swapped_all_the_while_never_leads_out(scene: FollowedScene, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    (secret / "deep").mkdir(parents=True)
    (secret / "deep" / "key").write_bytes(SECRET)
    folder = await scene.runs("t1", {b"sub/deep/key": b"inside"})
    place, away, link = folder / "sub", tmp_path / "away", tmp_path / "link"
    link.symlink_to(secret)

    def swap() -> None:
        place.rename(away)
        link.rename(place)

    def swap_back() -> None:
        place.rename(link)
        away.rename(place)

    seen = set()
    with again_and_again(swap, swap_back):
        for _ in range(15):
            await scene.look()
            seen |= set((await scene.stored("t1")).values())

    assert seen <= {b"inside"}


async def test_somebody_elses_file_is_not_read(scene: FollowedScene) -> None:
    as_root()
    nobody = pwd.getpwnam("nobody").pw_uid
    folder = await scene.runs("t1", {b"mine": b"x", b"theirs": b"y"})
    os.chown(folder / "theirs", nobody, -1)

    await scene.look()

    assert await scene.states("t1") == {b"mine": "stored", b"theirs": "not_owned"}


async def test_a_pipe_is_not_opened(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"a": b"x"})
    os.mkfifo(folder / "pipe")

    await scene.look()

    assert await scene.states("t1") == {b"a": "stored", b"pipe": "not_regular"}


async def test_a_file_that_changes_all_the_while_is_whole_when_it_is_shown_and_never_an_error(
    scene: FollowedScene,
) -> None:
    folder = await scene.runs("t1", {b"steady": b"x", b"moving": b"0" * MIB})
    contents = [letter * MIB for letter in (b"0", b"1", b"2", b"3")]
    states = set()
    with _rewriting(folder / "moving", contents):
        for _ in range(10):
            await scene.look()
            stored = await scene.stored("t1")
            states |= set((await scene.states("t1")).values())
            assert stored.get(b"moving", contents[0]) in [*contents, b""]

    assert states == {"stored"}
    assert (await scene.item("t1")).outputs_state == "partial"


async def test_a_directory_that_hangs_is_said_and_left_alone_for_a_while_and_others_are_shown(
    scene: FollowedScene, tmp_path: Path
) -> None:
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=3.0)
    scene.shell = troubled(tmp_path / "bin", mode="follow", what=SILENCE)
    scene.followers.close()
    scene.followers = scene.follow()
    await scene.runs("a", {b"f": b"1"})
    await scene.runs("b", {b"hanging/f": b"1", b"g": b"1"})
    await scene.runs("c", {b"f": b"1"})

    await scene.look()
    shown = await scene.stored("a"), await scene.stored("c"), await scene.ledger("b")
    running = await scene.followers._catalog.running(scene.name)
    picked = scene.followers._followers[0]._turns.pick(running, only_new=False)

    assert shown[:2] == ({b"f": b"1"}, {b"f": b"1"})
    assert {row.reason for row in shown[2].values() if row.state == "unreadable"} == {
        "the file system did not answer within 1 s"
    }
    assert {item.task_id for item in picked} == {"a", "c"}


@pytest.mark.parametrize("what", [CRASH, HANG])
async def test_an_item_at_which_the_reader_stops_does_not_keep_others_waiting(
    scene: FollowedScene, tmp_path: Path, what: str
) -> None:
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=2.0)
    scene.shell = troubled(tmp_path / "bin", mode="follow", what=what)
    scene.followers.close()
    scene.followers = scene.follow()
    await scene.runs("a", {b"hanging/f": b"1"})
    await scene.runs("b", {b"f": b"1"})

    await scene.look()
    await scene.look()

    assert await scene.stored("b") == {b"f": b"1"}
    assert (await scene.item("a")).outputs_state == "none"
    assert await scene.cluster_error() is None


@pytest.mark.parametrize("what", [CRASH, HANG])
async def test_a_file_at_which_the_reader_stops_does_not_keep_others_waiting(
    scene: FollowedScene, tmp_path: Path, what: str
) -> None:
    scene.cluster = msgspec.structs.replace(scene.cluster, command_timeout_s=2.0)
    scene.shell = troubled(tmp_path / "bin", mode="follow", what=what)
    scene.followers.close()
    scene.followers = scene.follow()
    await scene.runs("a", {b"hanging": b"1"})
    await scene.runs("b", {b"f": b"more"})

    await scene.look()
    await scene.look()

    assert await scene.stored("b") == {b"f": b"more"}


async def test_a_full_store_is_told_and_what_was_seen_before_stays(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"a": b"1"})
    await scene.look()
    (folder / "a").write_bytes(b"22")
    (scene.folder / "blobs").rename(scene.folder / "away")
    (scene.folder / "blobs").write_bytes(b"no folder")

    with pytest.raises(StoreUnavailable):
        await scene.look()
    (scene.folder / "blobs").unlink()
    (scene.folder / "away").rename(scene.folder / "blobs")
    seen = await scene.stored("t1")
    await scene.look()

    assert seen == {b"a": b"1"}
    assert await scene.stored("t1") == {b"a": b"22"}


async def test_an_unreadable_directory_does_not_make_what_was_seen_in_it_vanish(far_scene: FollowedScene) -> None:
    folder = await far_scene.runs("t1", {b"sub/a": b"1", b"b": b"1"})
    await far_scene.look()
    (folder / "sub").chmod(0)

    await far_scene.look()
    (folder / "sub").chmod(0o755)

    assert (await far_scene.states("t1"))[b"sub/a"] == "stored"
    assert (await far_scene.states("t1"))[b"sub"] == "unreadable"


async def test_an_impossible_place_keeps_nobody_else_from_being_followed(scene: FollowedScene) -> None:
    await scene.runs("bad", output_dir="relative/../place")
    await scene.runs("good", {b"a": b"1"})

    await scene.look()

    assert await scene.stored("good") == {b"a": b"1"}


@contextmanager
def _rewriting(path: Path, contents: list[bytes]) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        at = 0
        while not over.is_set():
            at += 1
            path.write_bytes(contents[at % len(contents)])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
