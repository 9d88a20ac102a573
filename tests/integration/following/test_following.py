"""What a running task writes is shown while it runs."""

from scripthut_outputs.ledger import Place
from tests.integration.following.scene import FollowedScene


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
