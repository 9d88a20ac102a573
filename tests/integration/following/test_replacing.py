"""The collection at its end replaces what was seen while a task ran, and nothing that comes late undoes that."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost
from scripthut_common.events import ItemState
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.following import Following, Running, Seen
from scripthut_outputs.catalog.keeping import Keeping, Result
from scripthut_outputs.catalog.verifying import Verified
from scripthut_outputs.ledger import FileState, Kind, LedgerRow, OutputsState, Place
from scripthut_outputs.tables import FOLLOWERS
from tests.integration.collector.scene import CLUSTER
from tests.integration.following.scene import GRACE_S, FollowedScene


async def test_what_is_collected_replaces_what_was_followed(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"same": b"1", b"grows": b"1", b"goes": b"1"}, fragment=b"- a", stdout=b"o")
    await scene.look()
    (folder / "grows").write_bytes(b"22")
    (folder / "goes").unlink()
    (folder / "comes").write_bytes(b"3")

    await scene.end("t1")
    await scene.collect()

    assert await scene.stored("t1") == {b"same": b"1", b"grows": b"22", b"comes": b"3"}
    rows = [*(await scene.ledger("t1")).values(), *(await scene.ledger("t1", Place.RUN_SUMMARY)).values()]
    assert {(row.followed_at, row.reason) for row in rows} == {(None, None)}
    item = await scene.item("t1")
    assert (item.outputs_state, item.followed_at, item.has_outputs) == ("collected", None, True)
    (event,) = await scene.told()
    assert (event.stored_files, event.outputs_state) == (5, "collected")


async def test_a_task_that_leaves_nothing_in_the_end_has_no_outputs(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"scratch": b"1"}, fragment=b"- a")
    await scene.look()
    (folder / "scratch").unlink()
    (scene.log_dir / "outputs/r1/_run/t1.md").unlink()

    await scene.end("t1")
    await scene.collect()

    item = await scene.item("t1")
    assert (item.outputs_state, item.followed_at, item.has_outputs, item.has_run_summary) == (
        "none",
        None,
        False,
        False,
    )
    assert await scene.ledger("t1") == {}


async def test_what_grew_too_large_in_the_end_is_left_out_with_its_reason(scene: FollowedScene) -> None:
    scene.limit(max_file_bytes=100)
    scene.followers = scene.follow()
    folder = await scene.runs("t1", {b"f": b"x" * 50})
    await scene.look()
    (folder / "f").write_bytes(b"x" * 500)

    await scene.end("t1")
    await scene.collect()

    (row,) = (await scene.ledger("t1")).values()
    assert (row.state, row.sha256, row.followed_at) == ("too_large", None, None)
    assert row.reason == "500 bytes; at most 100 a file"


async def test_while_the_collection_waits_for_files_what_was_followed_is_still_shown(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"a": b"1", b"goes": b"1"})
    await scene.look()
    (folder / "goes").unlink()
    scene.record("t1", {b"a": 1, b"late": 4})
    await scene.change("t1", state=ItemState.FINAL, outcome="succeeded")
    await scene.want("r1", "t1")

    await scene.step()
    waiting = await scene.states("t1")
    (folder / "late").write_bytes(b"late")
    await scene.make_due()
    await scene.collect()

    assert waiting == {b"a": "stored", b"goes": "stored", b"late": "not_yet_visible"}
    assert await scene.stored("t1") == {b"a": b"1", b"late": b"late"}


async def test_a_collection_that_fails_leaves_what_was_seen(scene: FollowedScene, database: Database) -> None:
    await scene.runs("t1", {b"a": b"1"})
    await scene.look()
    await scene.end("t1")
    (claim,) = await Collections(database).claim_due(CLUSTER, limit=1, lease_s=60)

    await Keeping(database, "test-1").finish([Result(claim=claim, state=OutputsState.FAILED, reason="gone for good")])

    item = await scene.item("t1")
    assert await scene.stored("t1") == {b"a": b"1"}
    assert (item.outputs_state, item.has_outputs) == ("failed", True)
    assert item.followed_at is not None


async def test_what_is_due_to_be_collected_is_not_followed(scene: FollowedScene) -> None:
    await scene.runs("t1", {b"a": b"1"})
    await scene.want("r1", "t1")

    await scene.look()

    assert scene.shell.commands_run == 0
    assert (await scene.item("t1")).outputs_state == "pending"


async def _running(scene: FollowedScene) -> Running:
    (running,) = await Following(scene.database, "test-1", grace_s=GRACE_S).running(CLUSTER)
    return running


def _seen(item: Running) -> Seen:
    row = LedgerRow(place=Place.OUTPUT, path=b"late", kind=Kind.OTHER, state=FileState.TOO_DEEP, attempt=item.attempt)
    return Seen(item=item, rows=(row,))


@pytest.mark.parametrize("now", [{"state": ItemState.FINAL}, {"attempt": 2}, {"state": ItemState.QUEUED, "attempt": 2}])
async def test_a_look_that_comes_late_writes_nothing(scene: FollowedScene, now: dict[str, Any]) -> None:
    await scene.runs("t1")
    seen, lease = _seen(await _running(scene)), uuid4()
    following = Following(scene.database, "test-1", grace_s=GRACE_S)
    assert await following.hold(CLUSTER, lease, lease_s=60)
    await scene.change("t1", **now)

    kept = await following.keep(CLUSTER, lease, [seen])

    assert kept == set()
    assert await scene.ledger("t1") == {}
    assert (await scene.item("t1")).followed_at is None


async def test_a_look_waits_for_whoever_ends_the_item_just_now_and_then_writes_nothing(scene: FollowedScene) -> None:
    await scene.runs("t1")
    seen, lease = _seen(await _running(scene)), uuid4()
    following = Following(scene.database, "test-1", grace_s=GRACE_S)
    assert await following.hold(CLUSTER, lease, lease_s=60)

    async with scene.ending("t1"):
        keeping = asyncio.create_task(following.keep(CLUSTER, lease, [seen]))
        await scene.somebody_waits()
    kept = await keeping

    assert kept == set()
    assert await scene.ledger("t1") == {}


async def test_whoever_ends_the_item_waits_for_a_look_that_is_written_just_now(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"goes": b"1"})
    await scene.look()
    (folder / "goes").unlink()
    async with scene.database.transaction() as other:
        await scene.hold_item(other, "t1")
        ending = asyncio.create_task(scene.end("t1"))
        await scene.somebody_waits()
    await ending
    await scene.collect()

    assert await scene.ledger("t1") == {}


async def test_a_look_of_somebody_whose_lease_is_lost_writes_nothing(scene: FollowedScene, database: Database) -> None:
    await scene.runs("t1")
    seen, lease = _seen(await _running(scene)), uuid4()
    following = Following(database, "test-1", grace_s=GRACE_S)
    assert await following.hold(CLUSTER, lease, lease_s=60)
    async with database.transaction() as connection:
        await connection.execute(update(FOLLOWERS).values(lease=uuid4()))

    with pytest.raises(LeaseLost, match="another process follows it now"):
        await following.keep(CLUSTER, lease, [seen])

    assert await scene.ledger("t1") == {}


async def test_of_the_next_attempt_new_files_replace_those_of_the_last_one(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"old": b"1", b"both": b"1"})
    await scene.look()
    await scene.change("t1", attempt=2)
    (folder / "both").write_bytes(b"22")

    await scene.look()

    rows = await scene.ledger("t1")
    assert {path: row.attempt for path, row in rows.items()} == {b"old": 1, b"both": 2}
    await scene.end("t1", attempt=2)
    await scene.collect()
    assert {(row.attempt, row.followed_at) for row in (await scene.ledger("t1")).values()} == {(2, None)}


async def test_what_an_earlier_attempt_left_collected_gives_way_to_new_content_alone(scene: FollowedScene) -> None:
    folder = await scene.task("t1", {b"kept": b"1", b"gone": b"1", b"new": b"1"})
    await scene.collect()
    await scene.change("t1", attempt=2, state=ItemState.RUNNING, outcome=None)
    await scene.open()
    (folder / "gone").unlink()
    (folder / "new").write_bytes(b"22")

    await scene.look()

    rows = await scene.ledger("t1")
    assert await scene.stored("t1") == {b"kept": b"1", b"gone": b"1", b"new": b"22"}
    assert {path: row.followed_at is not None for path, row in rows.items()} == {
        b"kept": False,
        b"gone": False,
        b"new": True,
    }


async def test_a_damaged_blob_of_a_running_task_is_read_again_at_the_next_look(scene: FollowedScene) -> None:
    await scene.runs("t1", {b"a": b"1"})
    await scene.look()
    (row,) = (await scene.ledger("t1")).values()
    await scene.blobs.remove(row.sha256)

    await Verified(scene.database).give_up(row.sha256, "it was damaged")
    lost = await scene.ledger("t1")
    await scene.look()

    assert lost == {}
    assert await scene.stored("t1") == {b"a": b"1"}
