"""Of whoever has had their part nothing more is shown while it runs; what is shown counts when it is collected."""

from scripthut_outputs.catalog.quotas import Holdings
from tests.integration.following.scene import FollowedScene

KIB = 1024


async def test_who_has_nothing_left_is_not_followed(scene: FollowedScene) -> None:
    scene.followers.limit(lambda owner: 0 if owner == "alice" else None)
    await scene.runs("t1", {b"a": b"a"})

    await scene.look()

    assert await scene.states("t1") == {}


async def test_what_was_shown_while_it_ran_takes_no_room_from_its_collection(scene: FollowedScene) -> None:
    for room in (scene.followers, scene.collector):
        room.limit(lambda _: 10 * KIB)
    await scene.runs("t1", {b"a": b"a" * 8 * KIB})
    await scene.look()
    shown, counted = await scene.states("t1"), await Holdings(scene.database).measure("alice")

    await scene.end("t1")
    await scene.collect()

    assert (shown, counted) == ({b"a": "stored"}, (0, True))
    assert await scene.states("t1") == {b"a": "stored"}
    assert (await scene.item("t1")).outputs_state == "collected"
