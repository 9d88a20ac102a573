"""What one look may take, and how it is shared."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.integration.following.scene import FollowedScene

MIB = 1024 * 1024


async def test_what_does_not_fit_into_one_look_comes_with_the_next_ones_smaller_files_first(
    scene: FollowedScene,
) -> None:
    _with(scene, follow_max_bytes=1000)
    files = {b"small": b"s" * 100, b"middle": b"m" * 600, b"large": b"l" * 900}
    await scene.runs("t1", files)

    looks = []
    for _ in range(3):
        await scene.look()
        looks.append(set(await scene.stored("t1")))

    assert looks == [{b"small", b"middle"}, {b"small", b"middle", b"large"}, {b"small", b"middle", b"large"}]
    assert await scene.stored("t1") == files


async def test_a_large_file_is_not_kept_waiting_by_small_ones_that_change_all_the_while(scene: FollowedScene) -> None:
    _with(scene, follow_max_bytes=1000)
    folder = await scene.runs("t1", {b"large": b"l" * 900})
    for look in range(12):
        for number in range(10):
            (folder / f"small-{number}").write_bytes(b"%2d" % look * 50)
        await scene.look()

    assert b"large" in await scene.stored("t1")


async def test_a_large_file_that_is_written_all_the_while_is_not_sent_with_every_look(scene: FollowedScene) -> None:
    folder = await scene.runs("t1", {b"large": b"0" * 5 * MIB, b"small": b"0"})
    large, small = [], []
    for look in range(1, 13):
        await scene.look()
        stored = await scene.stored("t1")
        large.append(stored[b"large"][:1])
        small.append(stored[b"small"])
        (folder / "large").write_bytes(b"%x" % look * 5 * MIB)
        (folder / "small").write_bytes(b"%x" % look)

    assert small == [b"%x" % look for look in range(12)]
    assert set(large) == {b"0", b"6"}


async def test_items_take_turns_when_there_are_more_than_one_look_takes(scene: FollowedScene) -> None:
    _with(scene, follow_max_items=4)
    for number in range(8):
        await scene.runs(f"many-{number}", {b"f": b"1"}, run_id="a")
    await scene.runs("one", {b"f": b"1"}, run_id="b")

    followed = []
    for _ in range(3):
        await scene.look()
        followed.append({key async for key in _followed(scene)})

    assert [len(keys) for keys in followed] == [4, 8, 9]
    assert ("b", "one") in followed[0]


async def test_a_crowd_of_files_does_not_keep_other_items_from_their_turn(scene: FollowedScene) -> None:
    _with(scene, max_names=50)
    await _crowd(scene, "a", 40)
    await _crowd(scene, "b", 40)
    await scene.runs("c", {b"f": b"1"})

    for _ in range(3):
        await scene.look()

    assert await scene.stored("c") == {b"f": b"1"}
    assert len(await scene.stored("a")) == 40
    assert scene.shell.commands_run == 3


async def test_of_a_crowd_beyond_the_bound_the_first_are_shown_and_nothing_of_it_vanishes(scene: FollowedScene) -> None:
    _with(scene, max_names=50)
    folder = await _crowd(scene, "a", 200)
    await scene.look()
    first = await scene.stored("a")
    (folder / next(iter(first)).decode()).unlink()

    await scene.look()

    assert len(first) == 50
    assert (await scene.ledger("a"))[b"/over_count"].state == "over_count"
    assert set(await scene.stored("a")) >= set(first)


async def test_limits_are_those_of_the_collection(scene: FollowedScene) -> None:
    scene.limit(max_files=2, max_file_bytes=100, max_total_bytes=150, max_depth=2)
    _with(scene)
    await scene.runs("t1", {b"a": b"x" * 90, b"b": b"x" * 90, b"c": b"x", b"d": b"x", b"e": b"x" * 101, b"1/2/3": b"x"})
    await scene.look()
    followed = {path: (row.state, row.reason) for path, row in (await scene.ledger("t1")).items()}

    await scene.end("t1")
    await scene.collect()

    assert followed == {path: (row.state, row.reason) for path, row in (await scene.ledger("t1")).items()}
    assert {path: state for path, (state, _) in followed.items()} == {
        b"1/2/3": "too_deep",
        b"a": "stored",
        b"b": "over_total",
        b"c": "stored",
        b"d": "over_count",
        b"e": "too_large",
    }


def _with(scene: FollowedScene, **settings: Any) -> None:
    scene.followers.close()
    scene.followers = scene.follow(**settings)


async def _crowd(scene: FollowedScene, task_id: str, count: int) -> Path:
    return await scene.runs(task_id, {b"f%d" % number: b"x" for number in range(count)})


async def _followed(scene: FollowedScene) -> AsyncIterator[tuple[str, str]]:
    for run_id, task_id in [("a", f"many-{number}") for number in range(8)] + [("b", "one")]:
        if (await scene.item(task_id, run_id)).followed_at is not None:
            yield run_id, task_id
