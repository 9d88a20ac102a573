"""What the API says of tasks that run and are followed."""

from pathlib import Path

from tests.integration.following.scene import FollowedScene
from tests.integration.outputs.house import House


async def test_answers_carry_the_time_and_browsers_ask_anew_for_what_may_change(
    scene: FollowedScene, tmp_path: Path
) -> None:
    folder = await scene.runs("t1", {b"plot.png": b"1"})
    house = House(scene.database, tmp_path, scene.blobs)
    await scene.look()

    outputs = (await house.get("/runs/r1/tasks/t1/outputs", "root")).json()
    task = (await house.get("/runs/r1/tasks/t1", "root")).json()
    (listed,) = (await house.get("/runs/r1", "root")).json()["items"]
    file = await house.get(outputs["outputs"][0]["url"], "root")
    (folder / "plot.png").write_bytes(b"22")
    await scene.look()
    asked = await house.get(outputs["outputs"][0]["url"], "root", **{"if-none-match": file.headers["etag"]})

    at = outputs["followed_at"]
    assert at is not None
    assert (task["followed_at"], listed["followed_at"], outputs["outputs"][0]["followed_at"]) == (at, at, at)
    assert (file.content, file.headers["cache-control"]) == (b"1", "private, no-cache")
    assert (asked.status_code, asked.content) == (200, b"22")


async def test_once_collected_nothing_speaks_of_it_any_more(scene: FollowedScene, tmp_path: Path) -> None:
    await scene.runs("t1", {b"plot.png": b"1"})
    house = House(scene.database, tmp_path, scene.blobs)
    await scene.look()
    await scene.end("t1")
    await scene.collect()

    outputs = (await house.get("/runs/r1/tasks/t1/outputs", "root")).json()
    file = await house.get(outputs["outputs"][0]["url"], "root")

    assert outputs["followed_at"] is None
    assert "followed_at" not in outputs["outputs"][0]
    assert file.headers["cache-control"] == "private, max-age=60"


async def test_a_run_whose_tasks_are_followed_is_not_being_collected(scene: FollowedScene) -> None:
    await scene.runs("t0", {b"plot.png": b"P"})
    await scene.look()
    followed = await scene.reading.run("r1")
    await scene.end("t0")
    ended = await scene.reading.run("r1")

    assert (await scene.item("t0")).outputs_state == "pending"
    assert (followed.is_collecting, ended.is_collecting) == (False, True)
