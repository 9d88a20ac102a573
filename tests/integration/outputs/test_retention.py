"""What is too old or too much is removed, and everybody who looks for it is told; what is pinned stays."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from scripthut_outputs.catalog.retention import Retained
from scripthut_outputs.ledger import Place, Removal
from scripthut_outputs.retention import Keeper, Terms
from tests.integration.outputs.house import House, item
from tests.integration.outputs.keeping import change, cluster, ended_task, keep_files, keeper, states

UNITS = ("bytes", "files")
FILE = "/runs/r1/tasks/t0/outputs/file/plot.png"


async def an_old_task(house: House) -> dict[bytes, str]:
    """Everything that a task may leave, 100 days ago."""
    await ended_task(house, days_ago=100)
    kept = await keep_files(house, {b"plot.png": b"png", b"task-summary.md": b"# All went well"})
    await keep_files(house, {b"t0.md": b"- my fragment"}, place=Place.RUN_SUMMARY)
    await keep_files(house, {b"out": b"my output"}, place=Place.STDOUT)
    return kept


async def test_files_of_tasks_that_ended_too_long_ago_are_removed_and_their_rows_stay(house: House) -> None:
    kept = await an_old_task(house)
    await ended_task(house, "t1", days_ago=80)
    await keep_files(house, {b"young": b"y"}, "t1")
    registry = CollectorRegistry()

    done = await keeper(house, registry, max_age_days=90).work()

    assert done is not None
    assert [(taken.run_id, taken.removal, taken.files) for taken in done.removed] == [("r1", Removal.AGE, 4)]
    assert (await states(house))[b"young"] == "stored"
    outputs = (await house.get("/runs/r1/tasks/t0/outputs")).json()
    assert (outputs["outputs_state"], outputs["truncated"], outputs["counts"]) == ("pending", True, {"purged": 2})
    summary, plot = outputs["outputs"]
    assert (plot["state"], plot["sha256"], plot["size"], plot["url"]) == ("purged", kept[b"plot.png"], 3, None)
    assert plot["reason"].startswith("removed on 20")
    assert plot["reason"].endswith(": older than 90 days")
    assert plot["removed_at"] is not None
    assert "rendered_html" not in summary
    removed = registry.get_sample_value("scripthut_outputs_removed_files_total", {"cluster": "daint", "removal": "age"})
    assert removed == 4


@pytest.mark.parametrize(
    "path", [FILE, "/runs/r1/tasks/t0/outputs/rendered?path=dGFzay1zdW1tYXJ5Lm1k"], ids=["file", "document"]
)
async def test_who_may_see_the_task_is_told_why_a_file_is_gone_and_nobody_else(house: House, path: str) -> None:
    await an_old_task(house)
    assert (await house.get(path)).status_code == 200
    await keeper(house, max_age_days=90).work()

    ours, others = await house.get(path), await house.get(path, "bob")

    assert (ours.status_code, others.status_code) == (404, 404)
    assert "no longer here: removed on" in ours.json()["detail"]
    assert "removed" not in others.text


async def test_pages_summary_and_logs_say_what_was_removed(house: House) -> None:
    await an_old_task(house)
    await keeper(house, max_age_days=90).work()

    run_page, task_page = (await house.get("/ui/runs/r1")).text, (await house.get("/ui/runs/r1/tasks/t0")).text
    log_page = await house.get("/ui/runs/r1/tasks/t0/stdout")
    log = (await house.get("/runs/r1/tasks/t0/detail/output")).json()
    summary = (await house.get("/runs/r1/summary")).json()
    raw = (await house.get("/runs/r1/summary?format=md")).text
    older = (await house.get("/runs/r1/tasks/t0/detail/outputs")).json()

    for page in (run_page, task_page):
        assert "2 files were removed" in page
        assert page.count(": older than 90 days") >= 3
        assert "All went well" not in page
    assert (log_page.status_code, "no longer here: removed on" in log_page.text) == (404, True)
    assert (log["content"], log["error"].startswith("removed on")) == (None, True)
    assert "is no longer here: removed on" in summary["sections"][0]["rendered_html"]
    assert "my fragment" not in raw
    assert "removed on" in raw
    assert older["outputs"] == []


async def test_open_pages_are_told_and_portions_are_small(house: House) -> None:
    await ended_task(house, days_ago=100)
    await keep_files(house, {b"f%d" % number: b"x" for number in range(25)})
    version = (await house.reading.head("r1")).version
    retained = Retained(house.database)

    removed = [(await retained.remove("r1", Removal.AGE, "old", limit=10)).files for _ in range(4)]

    assert removed == [10, 10, 5, 0]
    assert (await house.reading.head("r1")).version == version + 3


async def test_a_pinned_run_keeps_everything_until_it_is_unpinned(house: House) -> None:
    await an_old_task(house)
    async with house.client() as client:
        pinned = await client.put("/runs/r1/pin")
        again = await client.put("/runs/r1/pin")
    assert (pinned.status_code, pinned.json()["pinned"], pinned.json()["pinned_by"]) == (200, True, "ada")
    assert again.json()["pinned_at"] == pinned.json()["pinned_at"]
    assert (await house.get("/runs/r1")).json()["pinned"] is True
    assert (await house.get("/runs")).json()["runs"][0]["pinned"] is True
    for retention in ({"max_age_days": 90}, {"max_total_bytes": 1}):
        await keeper(house, None, **retention).work()
    assert set((await states(house)).values()) == {"stored"}

    async with house.client() as client:
        unpinned = await client.delete("/runs/r1/pin")
    await keeper(house, max_age_days=90).work()

    assert (unpinned.status_code, unpinned.json()["pinned"], unpinned.json()["pinned_at"]) == (200, False, None)
    assert set((await states(house)).values()) == {"purged"}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("run_id", ["r1", "nowhere"])
async def test_a_pin_on_what_one_may_not_see_is_not_found(house: House, method: str, run_id: str) -> None:
    await ended_task(house)

    async with house.client("bob") as client:
        answer = await client.request(method, f"/runs/{run_id}/pin")

    assert (answer.status_code, "or none that you may see" in answer.json()["detail"]) == (404, True)
    assert (await house.reading.head("r1")).pinned_at is None


async def test_the_page_of_a_run_has_a_button_that_pins(house: House) -> None:
    await ended_task(house)
    assert 'action="/ui/runs/r1/pin"' in (await house.get("/ui/runs/r1")).text

    pinned = await house.post("/ui/runs/r1/pin")
    page = (await house.get("/ui/runs/r1")).text
    assert (pinned.status_code, pinned.headers["location"]) == (303, "/ui/runs/r1")
    assert "Pinned by <bdi>ada</bdi>" in page
    assert "pinned" in (await house.get("/ui/")).text

    await house.post("/ui/runs/r1/unpin")
    assert "Pinned by" not in (await house.get("/ui/runs/r1")).text


async def test_who_pins_while_files_are_being_removed_keeps_them(house: House) -> None:
    await an_old_task(house)
    async with asyncio.TaskGroup() as group, house.database.transaction() as pinning:
        await pinning.execute(text("UPDATE outputs.runs SET pinned_at = now() WHERE run_id = 'r1'"))
        removing = group.create_task(Retained(house.database).remove("r1", Removal.AGE, "old"))
        await _is_waiting(house)

    assert removing.result().files == 0
    assert set((await states(house)).values()) == {"stored"}


async def test_the_oldest_runs_go_when_a_cluster_holds_too_much(house: House) -> None:
    for number, days_ago in enumerate((30, 20, 10)):
        await ended_task(house, run_id=f"r{number}", days_ago=days_ago)
    shared = b"s" * 1000
    await keep_files(house, {b"own": b"0" * 500, b"shared": shared}, run_id="r0")
    await keep_files(house, {b"own": b"1" * 500}, run_id="r1")
    await keep_files(house, {b"own": b"2" * 500, b"shared": shared}, run_id="r2")

    fits = await keeper(house, max_total_bytes=2500).work()
    done = await keeper(house, max_total_bytes=2000).work()

    assert fits is not None
    assert done is not None
    assert fits.removed == ()
    assert [(taken.run_id, taken.removal) for taken in done.removed] == [("r0", Removal.TOTAL_SIZE)]
    assert [set((await states(house, run_id)).values()) for run_id in ("r0", "r1", "r2")] == [
        {"purged"},
        {"stored"},
        {"stored"},
    ]
    assert [holding.stored_bytes for holding in await Retained(house.database).measure()] == [2000]
    reason = (await house.rows("SELECT DISTINCT reason FROM outputs.files WHERE state = 'purged'"))[0][0]
    assert reason.endswith(": the files of this cluster took more than 1.953 KiB, and the oldest runs went")


async def test_what_still_runs_is_left_alone(house: House) -> None:
    await ended_task(house, days_ago=100)
    await house.apply(item("t1", ended_at=None))
    await keep_files(house, {b"a": b"a"})
    await keep_files(house, {b"b": b"b"}, "t1")
    await change(house, "UPDATE outputs.items SET state = 'running' WHERE task_id = 't1'")

    await keeper(house, max_total_bytes=1).work()
    assert await states(house) == {b"a": "stored", b"b": "stored"}
    await keeper(house, max_age_days=1).work()

    assert await states(house) == {b"a": "purged", b"b": "stored"}


async def test_a_task_whose_end_nobody_knows_is_as_old_as_its_run(house: House) -> None:
    await ended_task(house, days_ago=100)
    await change(house, "UPDATE outputs.items SET ended_at = NULL")
    await keep_files(house, {b"a": b"a"})

    await keeper(house, max_age_days=90).work()

    assert await states(house) == {b"a": "purged"}


async def test_nothing_is_removed_unless_something_is_set(house: House) -> None:
    await ended_task(house, days_ago=10_000)
    await keep_files(house, {b"a": b"a"})

    await keeper(house).work()

    assert await states(house) == {b"a": "stored"}


async def test_one_process_at_a_time_removes(house: House) -> None:
    await an_old_task(house)
    async with Retained(house.database).alone() as is_ours:
        assert is_ours
        assert await keeper(house, max_age_days=1).work() is None
    assert set((await states(house)).values()) == {"stored"}

    assert await keeper(house, max_age_days=1).work() is not None


async def test_a_preview_removes_nothing(house: House) -> None:
    await an_old_task(house)

    done = await keeper(house, max_age_days=1).preview()

    assert [(taken.run_id, taken.files) for taken in done.removed] == [("r1", 4)]
    assert set((await states(house)).values()) == {"stored"}


async def test_a_task_that_is_being_written_just_now_waits_for_the_next_time(house: House) -> None:
    await ended_task(house, days_ago=100)
    await ended_task(house, "t1", days_ago=100)
    await keep_files(house, {b"a": b"a"})
    await keep_files(house, {b"b": b"b"}, "t1")

    async with house.database.transaction() as writing:
        await writing.execute(text("SELECT 1 FROM outputs.items WHERE task_id = 't0' FOR UPDATE"))
        await keeper(house, max_age_days=1).work()

    assert await states(house) == {b"a": "stored", b"b": "purged"}


async def test_passes_come_by_the_clock_and_measure_what_is_left(house: House) -> None:
    await an_old_task(house)
    await ended_task(house, "t1")
    await keep_files(house, {b"young": b"12345", b"equal": b"12345"}, "t1")
    registry, now = CollectorRegistry(), [100.0]
    terms = Terms(interval_s=3600, delay_s=300)
    clusters = {"daint": cluster(max_age_days=90)}
    kept = Keeper(house.database, house.blobs, clusters, terms, registry, clock=lambda: now[0])
    step = next(loop.step for loop in kept.loops() if loop.name == "outputs.retention")

    await step()
    assert (await states(house))[b"out"] == "stored"
    now[0] += 300
    await step()
    assert (await states(house))[b"out"] == "purged"
    measured = [registry.get_sample_value(f"scripthut_outputs_stored_{what}", {"cluster": "daint"}) for what in UNITS]
    assert measured == [5, 2]

    await change(house, "UPDATE outputs.items SET ended_at = now() - interval '91 days'")
    now[0] += 3599
    await step()
    assert (await states(house))[b"young"] == "stored"
    now[0] += 1
    await step()
    assert (await states(house))[b"young"] == "purged"


async def test_a_run_of_many_files_is_removed_whole(house: House) -> None:
    await ended_task(house, days_ago=100)
    many = (
        "INSERT INTO outputs.files (run_id, task_id, place, path, kind, state, sha256, stored_bytes, attempt) "
        "SELECT 'r1', 't0', 'output', g::text::bytea, 'other', 'stored', 'x', 1, 1 FROM generate_series(1, 2500) g"
    )
    await change(house, many)

    done = await keeper(house, max_age_days=90).work()

    assert done is not None
    assert [taken.files for taken in done.removed] == [2500]
    assert set((await states(house)).values()) == {"purged"}


async def _is_waiting(house: House) -> None:
    """Return once a transaction waits for another one's lock."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(20):
        while not (await house.rows(waits))[0][0]:  # noqa: ASYNC110  a lock sets no event
            await asyncio.sleep(0.02)
