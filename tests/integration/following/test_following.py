"""What a running task writes is shown while it runs."""

import asyncio

import msgspec
from sqlalchemy import select, text

from scripthut_common.database import Database
from scripthut_common.events import ItemState
from scripthut_common.shell.local import LocalShell
from scripthut_common.shell.ssh import SshShell
from scripthut_common.supervision import Pulse, run
from scripthut_outputs.controllers.shapes import output_json, task_json
from scripthut_outputs.ledger import Place
from scripthut_outputs.tables import BLOBS, DOCUMENTS
from tests.eventually import eventually
from tests.integration.following.scene import FollowedScene
from tests.testbed.rooms import make_room

MIB = 1024 * 1024


async def test_what_a_running_task_wrote_is_shown_with_the_time_of_the_look(scene: FollowedScene) -> None:
    files = {b"task-summary.md": b"# step 1\n", b"plot.png": bytes(range(256)) * 100, b"a/b": b"deep"}
    await scene.runs("t1", files, fragment=b"- begun\n", stdout=b"out\n", stderr=b"err\n")

    await scene.look()

    assert await scene.stored("t1") == files
    assert await scene.stored("t1", Place.RUN_SUMMARY) == {b"t1.md": b"- begun\n"}
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [b"out\n"]
    assert list((await scene.stored("t1", Place.STDERR)).values()) == [b"err\n"]
    item = await scene.item("t1")
    assert (item.outputs_state, item.has_outputs, item.has_run_summary) == ("partial", True, True)
    assert item.followed_at is not None
    assert {row.followed_at for row in (await scene.ledger("t1")).values()} == {item.followed_at}


async def test_answers_say_as_of_when_files_are_shown(scene: FollowedScene) -> None:
    await scene.runs("t1", {b"task-summary.md": b"# hi"})
    await scene.look()

    item = await scene.reading.item("r1", "t1")
    outputs = await scene.reading.outputs("r1", "t1", limit=10, cursor=None)

    assert task_json(item).followed_at == item.followed_at is not None
    assert output_json("r1", "t1", outputs.files[0].row).followed_at == item.followed_at


async def test_all_running_items_take_one_command(scene: FollowedScene) -> None:
    for number in range(60):
        await scene.runs(f"t{number}", {b"a": b"%d" % number}, fragment=b"z", stdout=b"o", run_id=f"r{number % 3}")

    await scene.look()

    assert scene.shell.commands_run == 1
    for number in range(60):
        assert await scene.stored(f"t{number}", run_id=f"r{number % 3}") == {b"a": b"%d" % number}


async def test_everything_works_over_ssh_with_one_command(far_scene: FollowedScene) -> None:
    for number in range(10):
        await far_scene.runs(f"t{number}", {b"f": b"%d" % number})

    await far_scene.look()

    assert far_scene.shell.commands_run == 1
    assert await far_scene.stored("t7") == {b"f": b"7"}


async def test_only_what_has_changed_is_sent_and_told(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"a": b"1", b"b": b"1"})
    await scene.runs("t2", {b"c": b"1"})
    await scene.look()
    before = await scene.ledger("t1"), await scene.item("t2")

    (folder / "a").write_bytes(b"22")
    await scene.look()

    after = await scene.ledger("t1")
    assert await scene.stored("t1") == {b"a": b"22", b"b": b"1"}
    assert after[b"b"] == before[0][b"b"]
    assert after[b"a"].followed_at > before[0][b"a"].followed_at
    assert await scene.item("t2") == before[1]


async def test_where_nothing_changes_nobody_is_told(scene: FollowedScene) -> None:
    await scene.runs("t1", {b"a": b"1", b"link": b""}, stdout=b"o")
    await scene.look()
    version = await scene.version()

    await scene.look()
    await scene.look()

    assert await scene.version() == version


async def test_a_task_that_has_written_nothing_has_nothing_to_show(scene: FollowedScene) -> None:
    await scene.runs("t1")

    await scene.look()

    item = await scene.item("t1")
    assert (item.outputs_state, item.has_outputs, item.followed_at) == ("none", False, None)


async def test_what_is_removed_or_renamed_meanwhile_vanishes_under_its_old_name(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"a": b"1", b"b": b"2", b"sub/c": b"3"}, fragment=b"- x")
    await scene.look()

    (folder / "a").unlink()
    (folder / "b").rename(folder / "renamed")
    (folder / "sub" / "c").unlink()
    (scene.log_dir / "outputs/r1/_run/t1.md").unlink()
    await scene.look()

    assert await scene.stored("t1") == {b"renamed": b"2"}
    assert await scene.ledger("t1", Place.RUN_SUMMARY) == {}
    assert (await scene.item("t1")).has_run_summary is False


async def test_a_purged_directory_leaves_nothing_to_show(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"a": b"1"})
    await scene.look()

    (folder / "a").unlink()
    folder.rmdir()
    await scene.look()

    assert await scene.ledger("t1") == {}
    assert (await scene.item("t1")).has_outputs is False


async def test_of_a_log_its_end_is_shown_as_it_grows(scene: FollowedScene) -> None:
    await scene.runs("t1", stdout=b"begin\n" + b"x" * MIB)
    await scene.look()
    log = scene.log_dir / "scripthut_r1_t1.out"

    with log.open("ab") as file:
        file.write(b"the last line\n")
    await scene.look()

    (row,) = (await scene.ledger("t1", Place.STDOUT)).values()
    (content,) = (await scene.stored("t1", Place.STDOUT)).values()
    assert (row.size_bytes, row.stored_bytes) == (MIB + 20, 64 * 1024)
    assert content.endswith(b"xxthe last line\n")


async def test_nothing_is_asked_of_a_cluster_whose_runs_nobody_watches(scene: FollowedScene) -> None:
    await scene.runs("t1", {b"a": b"1"}, is_watched=False)
    await scene.runs("t2", {b"a": b"1"}, run_id="r2")
    await scene.open("r2", seconds=-1)
    await scene.runs("t3", {b"a": b"1"}, run_id="r3", state=ItemState.QUEUED)
    await scene.runs("t4", {b"a": b"1"}, run_id="r3", state=ItemState.FINAL)
    await scene.runs("t5", {b"a": b"1"}, run_id="r3", output_dir=None)

    await scene.look()

    assert scene.shell.commands_run == 0


async def test_a_run_that_asked_for_it_is_followed_unwatched(scene: FollowedScene, database: Database) -> None:
    await scene.runs("t1", {b"a": b"1"}, is_watched=False)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE outputs.runs SET follow = true"))

    await scene.look()

    assert await scene.stored("t1") == {b"a": b"1"}


async def test_markdown_is_wanted_for_every_version_and_superseded_versions_are_let_go(
    scene: FollowedScene, database: Database
) -> None:
    folder = await scene.runs("t1", {b"task-summary.md": b"# 0"})
    for number in range(1, 5):
        await scene.look()
        (folder / "task-summary.md").write_bytes(b"# step %d" % number)
    await scene.look()

    (row,) = (await scene.ledger("t1")).values()
    async with database.transaction() as connection:
        assert list(await connection.scalars(select(DOCUMENTS.c.sha256))) == [row.sha256]
        touched = dict((await connection.execute(select(BLOBS.c.sha256, BLOBS.c.touched_at))).all())
    assert len(touched) == 5
    others = [at for sha256, at in touched.items() if sha256 != row.sha256]
    assert (touched[row.sha256] - max(others)).total_seconds() > 80_000


async def test_a_version_that_another_task_still_shows_stays(scene: FollowedScene, database: Database) -> None:
    folder = await scene.runs("t1", {b"task-summary.md": b"# same"})
    await scene.runs("t2", {b"task-summary.md": b"# same"})
    await scene.look()

    (folder / "task-summary.md").write_bytes(b"# other")
    await scene.look()

    async with database.transaction() as connection:
        assert len(list(await connection.scalars(select(DOCUMENTS.c.sha256)))) == 2


async def test_what_somebody_opens_is_looked_at_at_once(scene: FollowedScene, database: Database) -> None:
    scene.followers.close()
    scene.followers = scene.follow(follow_interval_s=3600.0)
    await scene.runs("early", {b"a": b"1"})
    pulse, stop = Pulse(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run(scene.followers.loops(), pulse, stop))
        await eventually(lambda: scene.shell.commands_run > 0)
        before = scene.shell.commands_run
        await scene.runs("late", {b"a": b"2"}, run_id="r2")

        async with database.transaction() as connection:
            await connection.execute(text("SELECT pg_notify('outputs_watched', 'r2')"))
        await scene.is_shown("late", run_id="r2")
        stop.set()

    assert scene.shell.commands_run == before + 1


async def test_a_cluster_on_which_following_is_off_has_no_loop(scene: FollowedScene) -> None:
    for off in ("off", 0.0):
        followers = scene.follow(follow_interval_s=off)
        assert followers.loops() == []
        followers.close()


async def test_a_cluster_without_python3_is_not_followed_and_nobody_is_to_blame(scene: FollowedScene) -> None:
    scene.shell = LocalShell(environment={"PATH": make_room(scene.folder / "room")})
    scene.followers.close()
    scene.followers = scene.follow()
    await scene.runs("t1", {b"a": b"1"})

    await scene.look()
    await scene.look()

    assert scene.shell.commands_run == 1
    assert await scene.ledger("t1") == {}
    assert await scene.cluster_error() is None


async def test_a_cluster_that_cannot_be_reached_changes_nothing(far_scene: FollowedScene) -> None:
    folder = await far_scene.runs("t1", {b"a": b"1"})
    await far_scene.look()
    before = await far_scene.item("t1"), await far_scene.ledger("t1")
    (folder / "a").write_bytes(b"22")
    await far_scene.shell.close()
    far_scene.cluster = msgspec.structs.replace(far_scene.cluster, port=1)
    far_scene.shell = SshShell(far_scene.cluster)
    followers = far_scene.follow()

    await far_scene.look_of(followers)

    followers.close()
    assert (await far_scene.item("t1"), await far_scene.ledger("t1")) == before
    assert await far_scene.cluster_error() is None
