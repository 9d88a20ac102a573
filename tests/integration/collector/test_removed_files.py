"""Collecting again brings back what was removed; what the cluster has no longer keeps its row."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import update

from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.catalog.retention import Retained
from scripthut_outputs.catalog.verifying import Scope, Verified
from scripthut_outputs.ledger import Place, Removal
from scripthut_outputs.retention.mending import Mender
from scripthut_outputs.tables import ITEMS
from scripthut_outputs.verifying import Verifier
from tests.integration.collector.scene import Scene

REASON = "removed on 2026-11-26: older than 90 days"


async def remove(scene: Scene) -> None:
    """Let retention remove everything of the run."""
    removed = await Retained(scene.database).remove("r1", Removal.AGE, REASON)
    assert removed.files


def damage(scene: Scene, sha256: str) -> None:
    Path(str(scene.blobs.local_path(sha256))).write_bytes(b"what is this")


async def repair(scene: Scene) -> None:
    """Let what is lost be collected again."""
    async for _ in Verifier(Verified(scene.database), scene.blobs, is_repairing=True).look(Scope()):
        pass


async def test_what_was_removed_comes_back_when_the_cluster_still_has_it(scene: Scene) -> None:
    files = {b"task-summary.md": b"# hi", b"a": b"a"}
    await scene.task("t1", files, stdout=b"out\n", stderr=b"err\n")
    await scene.collect()
    await remove(scene)
    assert await scene.stored("t1") == {}

    await scene.want("r1", "t1")
    await scene.collect()

    assert await scene.stored("t1") == files
    assert list((await scene.stored("t1", Place.STDOUT)).values()) == [b"out\n"]
    row = (await scene.ledger("t1"))[b"a"]
    assert (row.reason, row.removed_at, row.removal) == (None, None, None)


async def test_what_the_cluster_has_no_longer_stays_removed_with_hash_and_reason(scene: Scene) -> None:
    output_dir = await scene.task("t1", {b"a": b"a", b"b": b"b"})
    await scene.collect()
    before = await scene.ledger("t1")
    await remove(scene)
    (output_dir / "a").unlink()
    (output_dir / "b").write_bytes(b"x" * 2000)
    scene.limit(max_file_bytes=1000)

    await scene.want("r1", "t1")
    await scene.collect()

    after = await scene.ledger("t1")
    for path in (b"a", b"b"):
        row = after[path]
        assert (row.state, row.reason, row.sha256) == ("purged", REASON, before[path].sha256)
        assert row.removed_at is not None
    assert (await scene.item("t1")).outputs_state == "collected"
    assert (await scene.collection("t1")).reason is None


@pytest.mark.parametrize("looks", [1, 2])
async def test_a_task_of_which_nothing_is_left_on_the_cluster_keeps_its_rows(scene: Scene, looks: int) -> None:
    output_dir = await scene.task("t1", {b"a": b"a"}, stdout=None, stderr=None, is_recorded=looks == 1)
    for _ in range(looks):
        await scene.collect()
        await scene.let_pass(5)
    await remove(scene)
    shutil.rmtree(output_dir)

    await scene.want("r1", "t1")
    for look in range(looks):
        assert (await scene.item("t1")).outputs_state == ("partial" if look else "pending")
        await scene.collect()
        await scene.let_pass(5)

    row = (await scene.ledger("t1"))[b"a"]
    assert (row.state, row.reason) == ("purged", REASON)
    assert (await scene.item("t1")).outputs_state == "collected"
    assert (await scene.collection("t1")).reason is None
    assert [event.outputs_state for event in await scene.told()] == ["collected", "collected"]


async def test_what_came_after_the_removal_is_still_waited_for(scene: Scene) -> None:
    output_dir = await scene.task("t1", {b"a": b"a"}, stdout=None, stderr=None)
    await scene.collect()
    await remove(scene)
    (output_dir / "a").unlink()
    scene.record("t1", {b"a": 1, b"late": 1})

    await scene.want("r1", "t1")
    await scene.collect()

    assert await scene.states("t1") == {b"a": "purged", b"late": "not_yet_visible"}
    assert (await scene.collection("t1")).reason.startswith("1 of 2 files not yet visible")


async def test_what_is_damaged_is_not_called_gone_while_it_is_looked_for(scene: Scene) -> None:
    gone = await scene.task("t1", {b"a": b"only here"}, stdout=None, stderr=None, is_recorded=False)
    await scene.collect()
    damage(scene, (await scene.ledger("t1"))[b"a"].sha256)
    shutil.rmtree(gone)

    await repair(scene)
    await scene.collect()

    assert (await scene.ledger("t1"))[b"a"].reason.endswith("; being collected again")
    await scene.let_pass(5)
    await scene.collect()
    assert (await scene.ledger("t1"))[b"a"].reason.endswith("; the cluster has it no longer")


async def test_what_is_damaged_and_cannot_be_collected_again_says_so(scene: Scene) -> None:
    await scene.task("t1", {b"a": b"only here"}, stdout=None, stderr=None)
    await scene.collect()
    damage(scene, (await scene.ledger("t1"))[b"a"].sha256)
    async with scene.database.transaction() as connection:
        await connection.execute(update(ITEMS).values(output_dir="no/such/place"))

    await repair(scene)
    await scene.collect()

    assert (await scene.item("t1")).outputs_state == "failed"
    assert (await scene.ledger("t1"))[b"a"].reason.endswith("; it could not be collected again")


async def test_damaged_bytes_are_collected_again_and_heal_the_tasks_that_cannot_be(scene: Scene) -> None:
    gone = await scene.task("t1", {b"same": b"precious", b"lost": b"only here"}, stdout=None, stderr=None)
    await scene.task("t2", {b"same": b"precious"}, stdout=None, stderr=None)
    await scene.collect()
    for row in (await scene.ledger("t1")).values():
        damage(scene, row.sha256)
    shutil.rmtree(gone)

    await repair(scene)
    await scene.collect()
    await Mender(Verified(scene.database), Relied(scene.database), scene.blobs).mend()

    assert await scene.stored("t1") == await scene.stored("t2") == {b"same": b"precious"}
    lost = (await scene.ledger("t1"))[b"lost"]
    assert lost.state == "purged"
    assert lost.reason.startswith("damaged in the store on 20")
    assert lost.reason.endswith("; the cluster has it no longer")
