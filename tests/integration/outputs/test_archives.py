"""An archive holds all that a task or a run has left, says what it lacks, and never looks whole when it is not."""

import hashlib
import re
import stat
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from scripthut_common.errors import StoreUnavailable
from scripthut_common.events import Outcome
from scripthut_outputs.ledger import FileState, Place
from scripthut_outputs.tables import FILES
from tests.integration.outputs import archived
from tests.integration.outputs.house import House, ended, item

TASK = "/runs/r1/tasks/t0/outputs/archive"
RUN = "/runs/r1/archive"
NOISE = hashlib.shake_128(b"noise").digest(3_000_000)
TEXT = b"1.0 2.0 3.0\n" * 100_000


async def test_a_tasks_archive_holds_its_files_its_logs_and_its_ledger(house: House) -> None:
    await house.apply(ended(exit_code=3, outcome=Outcome.FAILED))
    await house.store("r1", "t0", b"sub dir/plot.png", NOISE, modified_at=1_700_000_001.5)
    await house.store("r1", "t0", b"task-summary.md", b"# Done")
    await house.store("r1", "t0", b"t0.out", TEXT, Place.STDOUT)
    await house.store("r1", "t0", b"t0.err", b"warned", Place.STDERR)
    await house.store("r1", "t0", b"t0.md", b"- done", Place.RUN_SUMMARY)
    left_out: dict[str, Any] = {
        "state": FileState.TOO_LARGE,
        "sha256": None,
        "stored_bytes": None,
        "size_bytes": 11,
        "reason": "why",
    }
    await house.store("r1", "t0", b"big", b"", **left_out)

    answer = await house.get(TASK)

    archive = archived.opened(answer.content)
    assert archive.namelist() == [
        "ledger.json",
        "outputs/task-summary.md",
        "outputs/sub dir/plot.png",
        "run-summary.md",
        "stdout.txt",
        "stderr.txt",
    ]
    assert archived.outputs(archive) == {b"task-summary.md": b"# Done", b"sub dir/plot.png": NOISE}
    assert archive.read("stdout.txt") == TEXT
    ledger = archived.ledger(archive)
    assert (ledger["run_id"], ledger["task"]["task_id"], ledger["task"]["outcome"]) == ("r1", "t0", "failed")
    (big,) = (file for file in ledger["files"] if file["path"] == "big")
    assert (big["entry"], big["state"], big["reason"], big["size"]) == (None, "too_large", "why", 11)
    (plot,) = (file for file in ledger["files"] if file["path"] == "sub dir/plot.png")
    assert plot["sha256"] == hashlib.sha256(NOISE).hexdigest()
    assert archive.getinfo("outputs/sub dir/plot.png").date_time == (2023, 11, 14, 22, 13, 20)


async def test_its_entries_are_plain_files_with_names_in_utf_8(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", "é.txt".encode(), b"x")

    archive = archived.opened((await house.get(TASK)).content)

    for entry in archive.infolist():
        assert entry.external_attr >> 16 == stat.S_IFREG | 0o644
        assert entry.flag_bits & 0x800


async def test_what_does_not_shrink_is_not_compressed(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", TEXT)
    await house.store("r1", "t0", b"b.png", NOISE)

    archive = archived.opened((await house.get(TASK)).content)

    assert archive.getinfo("outputs/a.txt").compress_size < len(TEXT) / 20
    assert archive.getinfo("outputs/b.png").compress_size < len(NOISE) * 1.001


async def test_its_headers_say_that_it_is_to_be_saved(house: House) -> None:
    await house.apply(ended())
    async with house.client() as client:
        head, get = await client.head(TASK), await client.get(TASK)
        refused = await client.post(TASK)

    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers == get.headers
    assert get.headers["content-type"] == "application/zip"
    assert get.headers["content-disposition"] == 'attachment; filename="scripthut-r1-t0.zip"'
    assert get.headers["cache-control"] == "private, no-store"
    assert get.headers["x-content-type-options"] == "nosniff"
    assert get.headers["accept-ranges"] == "none"
    assert "content-encoding" not in get.headers
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_the_same_content_makes_the_same_bytes(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", TEXT)

    assert (await house.get(RUN)).content == (await house.get(RUN)).content


@pytest.mark.parametrize("path", [RUN, TASK])
async def test_archives_of_others_and_of_nobody_look_alike(house: House, path: str) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"secret")

    theirs = await house.get(path, actor="bob")
    missing = await house.get(path.replace("r1", "r2"), actor="bob")
    stranger = await house.get(path, actor=None)

    assert (theirs.status_code, theirs.content, theirs.headers) == (404, missing.content, missing.headers)
    assert stranger.status_code == 401
    assert (await house.get(path, actor="root")).status_code == 200
    assert (await house.get(TASK.replace("t0", "t9"))).status_code == 404
    assert (await house.get("/runs/r1/tasks/_run/outputs/archive")).status_code == 404


async def test_hostile_names_are_safe_and_found_by_the_ledger(house: House) -> None:
    await house.apply(ended())
    names = [b"../../x", b"/etc/passwd", b"A", b"a", b"a/b", b"\xff", b"c:\\x", b"con", b"ledger.json", b"e.", b"x\ny"]
    for name in names:
        await house.store("r1", "t0", name, b"in " + name)

    archive = archived.opened((await house.get(TASK)).content)

    assert archived.outputs(archive) == {name: b"in " + name for name in names}
    assert len({name.casefold() for name in archive.namelist()}) == len(names) + 1
    assert all(name == "ledger.json" or name.startswith("outputs/") for name in archive.namelist())
    assert not any({"..", ""} & set(name.split("/")) for name in archive.namelist())


async def test_logs_of_several_attempts_are_all_there(house: House) -> None:
    await house.apply(ended(attempt=2))
    await house.store("r1", "t0", b"slurm-1.out", b"first", Place.STDOUT)
    await house.store("r1", "t0", b"slurm-2.out", b"second", Place.STDOUT)

    archive = archived.opened((await house.get(TASK)).content)

    assert (archive.read("stdout.txt"), archive.read("stdout~2.txt")) == (b"first", b"second")


async def test_a_runs_archive_has_a_folder_for_each_task(house: House) -> None:
    await house.apply(*(ended(task_id, position=at) for at, task_id in enumerate(("b", "B", "con", "run.json"))))
    await house.apply(item("waits", position=4))
    for task_id in ("b", "B", "con", "run.json"):
        await house.store("r1", task_id, b"a.txt", task_id.encode())

    archive = archived.opened((await house.get(RUN)).content)

    told = msgspec.json.decode(archive.read("run.json"))
    folders = {task["task_id"]: task["folder"] for task in told["tasks"]}
    assert archive.namelist()[0] == "run.json"
    assert told["run"]["counts"] == {"succeeded": 4, "submitted": 1}
    assert folders == {
        "b": "tasks/b/",
        "B": "tasks/B~2/",
        "con": "tasks/%63on/",
        "run.json": "tasks/run.json/",
        "waits": "tasks/waits/",
    }
    for task_id in ("b", "B", "con", "run.json"):
        assert archived.outputs(archive, folders[task_id]) == {b"a.txt": task_id.encode()}
    assert archived.ledger(archive, folders["waits"])["files"] == []


async def test_a_run_is_read_a_page_of_tasks_at_a_time_and_a_ledger_whole(house: House) -> None:
    await house.apply(*(ended(f"t{number:03}", position=number) for number in range(250)))
    sha256 = house.keep(b"x")
    rows = [
        _row(f"t{task:03}", b"%05d" % number, sha256)
        for task, count in ((0, 5200), (1, 1), (7, 4000), (8, 1500), (120, 3), (249, 2))
        for number in range(count)
    ]
    async with house.database.transaction() as connection:
        await connection.execute(FILES.insert(), rows)

    archive = archived.opened((await house.get(RUN)).content)

    counts = {number: len(archived.outputs(archive, f"tasks/t{number:03}/")) for number in range(250)}
    assert {task: count for task, count in counts.items() if count} == {0: 5200, 1: 1, 7: 4000, 8: 1500, 120: 3, 249: 2}


async def test_what_retention_removed_is_told_and_not_missed(house: House) -> None:
    await house.apply(ended())
    house.lose(await house.store("r1", "t0", b"gone.txt", b"removed"))
    async with house.database.transaction() as connection:
        await connection.execute(update(FILES).values(removed_at=datetime(2026, 1, 2, tzinfo=UTC)))

    archive = archived.opened((await house.get(TASK)).content)

    (gone,) = archived.ledger(archive)["files"]
    assert (gone["entry"], gone["removed_at"]) == (None, "2026-01-02T00:00:00Z")
    assert archive.namelist() == ["ledger.json"]


async def test_a_missing_blob_is_told_before_anything_is_sent(house: House) -> None:
    await house.apply(ended())
    house.lose(await house.store("r1", "t0", b"a.txt", b"x"))

    answer = await house.get(TASK)

    assert answer.status_code == 503
    assert "missing from the store" in answer.json()["detail"]


@pytest.mark.parametrize("size", [10, 2_000_000])
@pytest.mark.parametrize("fault", ["missing", "damaged"])
async def test_a_fault_later_cuts_the_answer(house: House, size: int, fault: str) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.png", NOISE)
    sha256 = await house.store("r1", "t0", b"b.png", NOISE[:size])
    if fault == "missing":
        house.lose(sha256)
    else:
        path = house.blobs.local_path(sha256)
        with open(str(path), "r+b") as file:  # noqa: ASYNC230, PTH123
            file.write(b"!")

    with pytest.raises(StoreUnavailable, match=fault):
        await house.get(TASK)


@pytest.mark.parametrize(
    ("page", "archive", "size"),
    [("/ui/runs/r1", RUN, "2.0 KiB"), ("/ui/runs/r1/tasks/t0", TASK, "1.5 KiB")],
)
async def test_pages_offer_everything_at_once(house: House, page: str, archive: str, size: str) -> None:
    await house.apply(ended(), ended("t1", position=1))
    assert "Download all" not in (await house.get(page)).text

    await house.store("r1", "t0", b"a.bin", b"x" * 1024)
    await house.store("r1", "t0", b"t0.out", b"x" * 512, Place.STDOUT)
    await house.store("r1", "t1", b"a.bin", b"x" * 512)

    html = (await house.get(page)).text
    assert re.search(rf'<a href="{archive}" download>.*?Download all \(zip, {size}\)</a>', html, re.DOTALL)


async def test_the_schema_knows_archives(house: House) -> None:
    paths = (await house.get("/schema/openapi.json")).json()["paths"]

    for path in ("/runs/{run_id}/archive", "/runs/{run_id}/tasks/{task_id}/outputs/archive"):
        assert "application/zip" in paths[path]["get"]["responses"]["200"]["content"]


def _row(task_id: str, path: bytes, sha256: str) -> dict[str, Any]:
    """A stored file of one byte."""
    row = {"run_id": "r1", "task_id": task_id, "place": Place.OUTPUT, "path": path, "kind": "other", "attempt": 1}
    return row | {"state": FileState.STORED, "size_bytes": 1, "stored_bytes": 1, "sha256": sha256}
