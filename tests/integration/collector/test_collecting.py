"""From a cluster's files to ledger, blobs and event."""

import os
import socket
from pathlib import Path

import pytest
from sqlalchemy import select

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost
from scripthut_outputs.catalog.changes import Cache
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.keeping import Keeping, Result
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.ledger import OutputsState, Place
from scripthut_outputs.tables import DOCUMENTS, RUNS
from tests.integration.collector.scene import CLUSTER, Scene

HOSTILE = [
    b"with space.txt",
    b"quote'\".md",
    b"new\nline",
    b"tab\there",
    b"-rf",
    b"--help",
    b"$(id)`id`;|&",
    b"\xff\xfe invalid",
    "snow☃😀.png".encode(),
    b"*",
    b"...",
    b"sub dir/-x\n/file",
]


async def test_everything_a_task_wrote_arrives_byte_by_byte(scene: Scene) -> None:
    files = {b"task-summary.md": b"# hi\n", b"plot.png": bytes(range(256)) * 100, b"empty": b"", b"a/b/c": b"deep"}
    await scene.task("t1", files, fragment=b"- done\n", stdout=b"out\n", stderr=b"err\n")

    await scene.collect()

    assert await scene.stored("t1") == files
    assert await scene.stored("t1", Place.RUN_SUMMARY) == {b"t1.md": b"- done\n"}
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [b"out\n"]
    assert list((await scene.stored("t1", Place.STDERR)).values()) == [b"err\n"]


async def test_hostile_names_survive_the_round_trip(scene: Scene) -> None:
    files = {name: b"content of " + name for name in HOSTILE}
    await scene.task("t1", files)

    await scene.collect()

    assert await scene.stored("t1") == files


async def test_a_batch_takes_two_commands_whatever_its_tasks_and_files(scene: Scene) -> None:
    for number in range(30):
        await scene.task(f"t{number}", {b"a": b"x%d" % number, b"sub/b": b"y"}, fragment=b"z")

    await scene.collect()

    assert scene.shell.commands_run == 2
    for number in range(30):
        assert await scene.stored(f"t{number}") == {b"a": b"x%d" % number, b"sub/b": b"y"}


async def test_the_item_says_what_was_found_and_an_event_tells_it(scene: Scene) -> None:
    await scene.task("t1", {b"a.md": b"# a", b"big": b"x" * 2000}, fragment=b"- f")
    scene.limit(max_file_bytes=1000)

    await scene.collect()

    item = await scene.item("t1")
    assert (item.outputs_state, item.has_outputs, item.has_run_summary) == ("collected", True, True)
    assert item.collected_at is not None
    (event,) = await scene.told()
    expected = {"outputs_state": "collected", "stored_files": 4, "left_out_files": 1, "stored_bytes": 6}
    assert {name: getattr(event, name) for name in expected} == expected
    assert (event.run_id, event.task_id, event.owner, event.attempt) == ("r1", "t1", "alice", 1)


async def test_a_fragment_that_was_left_out_is_a_section_that_says_why(scene: Scene, database: Database) -> None:
    await scene.task("t1", {}, fragment=b"x" * 2000)
    scene.limit(max_file_bytes=1000)

    await scene.collect()

    item = await scene.item("t1")
    assert (item.has_outputs, item.has_run_summary) == (False, True)
    (section,) = (await Reading(database, Cache(), renderer="test-1").summary("r1")).sections
    assert section.sha256 is None
    assert section.rendered.reason == "too_large: 2000 bytes; at most 1000 a file"


async def test_markdown_waits_for_its_rendering_once_per_content(scene: Scene, database: Database) -> None:
    await scene.task("t1", {b"a.md": b"# same", b"b.MARKDOWN": b"# same", b"c.txt": b"no"}, fragment=b"- f")

    await scene.collect()

    async with database.transaction() as connection:
        rows = (await connection.execute(select(DOCUMENTS))).all()
    assert len(rows) == 2
    assert {(row.renderer, row.state, row.due_at is not None) for row in rows} == {("test-1", "pending", True)}


async def test_the_runs_version_rises_so_that_readers_read_again(scene: Scene, database: Database) -> None:
    await scene.task("t1", {b"a": b"x"})
    version = select(RUNS.c.version)
    async with database.transaction() as connection:
        before = (await connection.execute(version)).scalar_one()

    await scene.collect()

    async with database.transaction() as connection:
        assert (await connection.execute(version)).scalar_one() > before


async def test_a_task_that_wrote_nothing_costs_nothing(scene: Scene) -> None:
    scene.record("t1")
    await scene.want("r1", "t1")

    await scene.collect()

    item = await scene.item("t1")
    assert (item.outputs_state, item.has_outputs, item.has_run_summary) == ("none", False, False)
    assert scene.shell.commands_run == 1


async def test_an_item_without_an_output_directory_ends_without_a_command(scene: Scene) -> None:
    await scene.want("r1", "t1", output_dir=None)

    await scene.collect()

    assert (await scene.item("t1")).outputs_state == "none"
    assert scene.shell.commands_run == 0


async def test_a_path_that_steps_upwards_is_refused_in_words(scene: Scene) -> None:
    await scene.want("r1", "t1", stdout_path="/logs/../etc/shadow")

    await scene.collect()

    assert (await scene.item("t1")).outputs_state == "failed"
    assert "'/logs/../etc/shadow' is not absolute and plain" in (await scene.collection("t1")).reason


async def test_links_are_never_followed_in_no_component(scene: Scene, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    folder = await scene.task("t1", {b"a": b"x"}, stdout=None)
    (folder / "file-link").symlink_to(secret / "key")
    (folder / "dir-link").symlink_to(secret)
    (folder / "up").symlink_to("..")
    (scene.log_dir / "scripthut_r1_t1.out").symlink_to(secret / "key")

    await scene.collect()

    assert await scene.states("t1") == {
        b"a": "stored",
        b"file-link": "not_regular",
        b"dir-link": "not_regular",
        b"up": "not_regular",
    }
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
    assert stored == {b"outputs/r1/t1": {b"t1.md": b"- f"}, b"outputs/r1/_run": {b"a": b"x"}}.get(
        component.encode(), {}
    )


async def test_a_log_directory_behind_a_link_is_as_good_as_any(scene: Scene, tmp_path: Path) -> None:
    await scene.task("t1", {b"a": b"x"})
    scene.log_dir.rename(tmp_path / "scratch")
    scene.log_dir.symlink_to(tmp_path / "scratch")

    await scene.collect()

    assert await scene.stored("t1") == {b"a": b"x"}


async def test_pipes_sockets_and_devices_are_named_and_never_opened(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x"})
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))

    await scene.collect()

    assert await scene.states("t1") == {b"a": "stored", b"pipe": "not_regular", b"socket": "not_regular"}


async def test_somebody_elses_file_is_left_out(scene: Scene) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    folder = await scene.task("t1", {b"a": b"x", b"theirs": b"y"})
    os.chown(folder / "theirs", 12345, 12345)

    await scene.collect()

    assert await scene.states("t1") == {b"a": "stored", b"theirs": "not_owned"}


async def test_every_limit_leaves_a_row_with_its_reason(scene: Scene) -> None:
    files = {
        b"a-large": b"x" * 101,
        b"b": b"x" * 90,
        b"c": b"x" * 90,
        b"d": b"x" * 50,
        b"e": b"x",
        b"f": b"x",
        b"task-summary.md": b"#",
        b"1/2/3/4": b"x",
    }
    await scene.task("t1", files, stdout=b"log" * 100)
    scene.limit(max_file_bytes=100, max_files=3, max_total_bytes=200, log_tail_bytes=10)

    await scene.collect()

    assert await scene.states("t1") == {
        b"task-summary.md": "stored",
        b"1/2/3/4": "too_deep",
        b"a-large": "too_large",
        b"b": "stored",
        b"c": "stored",
        b"d": "over_total",
        b"e": "stored",
        b"f": "over_count",
    }
    ledger = await scene.ledger("t1")
    assert ledger[b"a-large"].reason == "101 bytes; at most 100 a file"
    assert ledger[b"a-large"].remote_path == f"{scene.log_dir}/outputs/r1/t1/a-large"
    (log,) = (await scene.ledger("t1", Place.STDOUT)).values()
    assert (log.size_bytes, log.stored_bytes) == (300, 10)
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [(b"log" * 100)[-10:]]


async def test_a_crowd_of_files_is_counted_and_the_summary_still_found(scene: Scene) -> None:
    await scene.task("t1", {b"%05d" % number: b"" for number in range(300)} | {b"task-summary.md": b"# here"})
    scene.limit(max_files=5, max_named_rows=20)

    await scene.collect()

    ledger = await scene.ledger("t1")
    assert (await scene.stored("t1"))[b"task-summary.md"] == b"# here"
    assert [row.state for row in ledger.values()].count("stored") == 6
    assert (ledger[b"/over_count"].count, ledger[b"/over_count"].state) == (281, "over_count")
    assert sum(row.count for row in ledger.values()) == 301


async def test_collecting_again_never_removes_what_is_stored(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"1", b"b": b"1", b"c": b"1", b"d": b"1"})
    await scene.collect()
    (folder / "a").unlink()
    (folder / "b").write_bytes(b"2")
    (folder / "c").unlink()
    (folder / "c").symlink_to("/etc/passwd")

    await scene.want("r1", "t1")
    await scene.collect()

    ledger = await scene.ledger("t1")
    assert await scene.stored("t1") == {b"a": b"1", b"b": b"2", b"c": b"1", b"d": b"1"}
    assert ledger[b"a"].reason == "it is no longer on the cluster"
    assert ledger[b"c"].reason == "the cluster has it no longer as it was: not_regular"
    assert (ledger[b"b"].reason, ledger[b"d"].reason) == (None, None)
    assert [event.sequence for event in await scene.told()] == [1, 2]


async def test_outputs_that_were_purged_stay_with_us(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"1"}, stdout=None, stderr=None)
    await scene.collect()
    (folder / "a").unlink()
    folder.rmdir()

    await scene.want("r1", "t1")
    await scene.collect()

    assert await scene.stored("t1") == {b"a": b"1"}
    item = await scene.item("t1")
    assert (item.outputs_state, item.has_outputs) == ("collected", True)


async def test_a_wish_that_arrives_in_the_middle_is_not_lost(scene: Scene, database: Database) -> None:
    await scene.task("t1", {b"a": b"1"})
    (claim,) = await Collections(database).claim_due(CLUSTER, limit=10, lease_s=60)
    scene.record("t1", attempt=2)
    await scene.want("r1", "t1", attempt=2)

    lost = await Keeping(database, "test-1").finish([Result(claim=claim, state=OutputsState.NONE)])

    assert lost == []
    assert (await scene.collection("t1")).due_at is not None
    await scene.collect()
    assert (await scene.collection("t1")).due_at is None
    assert [event.sequence for event in await scene.told()] == [1, 2]


async def test_a_result_whose_lease_has_passed_to_another_writes_nothing(scene: Scene, database: Database) -> None:
    await scene.task("t1", {b"a": b"1"})
    (late,) = await Collections(database).claim_due(CLUSTER, limit=10, lease_s=-1)
    await scene.collect()

    lost = await Keeping(database, "test-1").finish([Result(claim=late, state=OutputsState.FAILED, reason="late")])

    assert lost == [late]
    assert (await scene.item("t1")).outputs_state == "collected"
    assert len(await scene.told()) == 1


async def test_a_claim_belongs_to_one_process_until_its_lease_ends(scene: Scene, database: Database) -> None:
    await scene.task("t1", {b"a": b"1"})
    collections = Collections(database)
    claims = await collections.claim_due(CLUSTER, limit=10, lease_s=60)

    assert [claim.task_id for claim in claims] == ["t1"]
    assert await collections.claim_due(CLUSTER, limit=10, lease_s=60) == []
    await collections.renew(claims, lease_s=-1)
    again = await collections.claim_due(CLUSTER, limit=10, lease_s=60)
    assert [claim.task_id for claim in again] == ["t1"]
    with pytest.raises(LeaseLost):
        await collections.renew(claims, lease_s=60)


async def test_a_maze_of_long_names_is_counted_and_harms_nobody(scene: Scene) -> None:
    folder = await scene.task("t1", {b"a": b"x"})
    await scene.task("t2", {b"b": b"y"})
    parent = os.open(folder, os.O_RDONLY)
    for depth in range(30):
        name = os.urandom(120).hex()
        os.mkdir(name, dir_fd=parent)
        deeper = os.open(name, os.O_RDONLY, dir_fd=parent)
        os.close(parent)
        parent = deeper
        os.close(os.open(f"file-{depth}", os.O_CREAT, dir_fd=parent))
    os.close(parent)

    await scene.collect()

    states = await scene.states("t1")
    assert states[b"a"] == "stored"
    assert sum(row.count for row in (await scene.ledger("t1")).values()) == 31
    assert await scene.stored("t2") == {b"b": b"y"}


async def test_large_files_pass_whole(scene: Scene) -> None:
    files = {b"large": os.urandom(9 * 1024 * 1024 + 17), b"small": b"x"}
    await scene.task("t1", files)

    await scene.collect()

    assert await scene.stored("t1") == files


async def test_more_than_one_transfer_takes_is_fetched_in_several(scene: Scene) -> None:
    for number in range(10):
        await scene.task(f"t{number}", {b"a": b"%d" % number * 700}, stdout=None, stderr=None)
    scene.reopen(max_batch_bytes=3000)

    await scene.collect()

    assert scene.shell.commands_run == 8
    for number in range(10):
        assert await scene.stored(f"t{number}") == {b"a": b"%d" % number * 700}
