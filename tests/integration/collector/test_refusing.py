"""What stands of an item of which nothing may be read, until somebody has mended why."""

from scripthut_outputs.catalog.collections import Collections, Refusal
from tests.integration.collector.scene import CLUSTER, Scene

WHY = "its output directory belongs to the account ben"


async def refused(scene: Scene, *, is_asked_again: bool = False) -> Collections:
    """Have an item that was claimed and refused."""
    collections = Collections(scene.database)
    await scene.want("r1", "t1")
    (claim,) = await collections.claim_due(CLUSTER, limit=1, lease_s=30.0)
    await collections.show_collecting([claim])
    if is_asked_again:
        await scene.want("r1", "t1")
    await collections.refuse([Refusal(claim=claim, reason=WHY, delay_s=60.0)])
    return collections


async def test_a_refused_item_stands_as_failed_with_the_reason_and_is_due_later(scene: Scene) -> None:
    collections = await refused(scene)

    row = await scene.collection("t1")
    assert (await scene.item("t1")).outputs_state == "failed"
    assert (row.reason, row.failures, row.lease, row.is_alone) == (WHY, 1, None, False)
    assert row.due_at is not None
    assert await collections.claim_due(CLUSTER, limit=1, lease_s=30.0) == []


async def test_who_asks_again_is_not_told_of_a_refusal_that_was_on_its_way(scene: Scene) -> None:
    collections = await refused(scene, is_asked_again=True)

    row = await scene.collection("t1")
    assert (await scene.item("t1")).outputs_state == "pending"
    assert (row.reason, row.failures) == (None, 0)
    assert len(await collections.claim_due(CLUSTER, limit=1, lease_s=30.0)) == 1


async def test_a_refusal_of_a_lost_claim_changes_nothing(scene: Scene) -> None:
    collections = Collections(scene.database)
    await scene.want("r1", "t1")
    (lost,) = await collections.claim_due(CLUSTER, limit=1, lease_s=0.0)
    (ours,) = await collections.claim_due(CLUSTER, limit=1, lease_s=30.0)

    await collections.refuse([Refusal(claim=lost, reason=WHY, delay_s=60.0)])

    row = await scene.collection("t1")
    assert (row.lease, row.reason, row.failures) == (ours.lease, None, 0)


async def test_a_refused_item_is_collected_at_once_when_it_is_asked_for_again(scene: Scene) -> None:
    await scene.task("t1", {b"a": b"x"})
    await refused(scene)

    await scene.want("r1", "t1")
    await scene.collect()

    assert await scene.stored("t1") == {b"a": b"x"}
    assert (await scene.item("t1")).outputs_state == "collected"


async def test_it_is_given_up_with_the_reason_after_a_day_of_attempts(scene: Scene) -> None:
    scene.reopen(give_up_after_s=0.0)
    scene.run_columns = {"owner": "nobody we know", "account": "ben"}
    await scene.task("t1", {b"a": b"x"})

    await scene.collect()

    row = await scene.collection("t1")
    assert row.due_at is None
    assert row.reason.startswith("given up after 1 attempts: its jobs ran as the account ben")
    assert [event.outputs_state for event in await scene.told()] == ["failed"]
    assert scene.shell.commands_run == 0
