"""A run's events on a real port: what they are called and say, who may have them, what nobody can forge."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, text

from scripthut_common.errors import DatabaseUnavailable
from scripthut_common.events import ItemState
from scripthut_outputs.access import Actor
from scripthut_outputs.access.callers import Callers, Presented
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.tables import RUNS
from tests.eventually import eventually
from tests.integration.outputs.house import TOKENS, House, ended, item, raw_ask
from tests.integration.outputs.running import Running
from tests.integration.outputs.streams import Stream, Told, opened

HOSTILE = "a\r\n\r\ndata: forged\r\nevent: reset\n\nid: 9\n\u2028\u2029\x85\x0b</script>\x1b[31m\ufeff"


@pytest.fixture
async def running(house: House, migrated_uri: str, tmp_path: Path) -> AsyncIterator[Running]:
    changes = {"streams_each": 3, "streams_at_once": 4, "live_heartbeat_s": 0.2}
    async with Running(migrated_uri, tmp_path, **changes).up() as running:
        yield running


async def touch_outputs(house: House, *task_ids: str, is_summary: bool = False) -> None:
    async with house.database.transaction() as connection:
        await touch(connection, "r1", outputs=task_ids, is_summary=is_summary)


async def all_left(admin: httpx.AsyncClient) -> None:
    """Wait until the server has noticed that nobody listens any more."""
    async with asyncio.timeout(30):
        none = "scripthut_outputs_live_streams 0.0"
        while none not in (await admin.get("/metrics")).text:  # noqa: ASYNC110  it notices by itself
            await asyncio.sleep(0.01)


def names(told: list[Told]) -> list[str]:
    return [event.name for event in told]


async def test_a_new_viewer_is_told_where_the_run_stands_and_what_changes_then(house: House, running: Running) -> None:
    await house.apply(item("t0"), item("t1", position=1))

    async with running.client() as client, opened(client) as stream:
        first = await stream.next()
        await house.apply(item("t1", sequence=2, state=ItemState.RUNNING))
        told = await stream.until("run")
        shown = (await client.get("/runs/r1")).json()

    version = first.said.pop("version")
    assert stream.retry_ms == 3000
    assert first == Told(
        "run", {"run_id": "r1", "state": "pending", "counts": {"submitted": 2}, "is_collecting": False}, version
    )
    assert names(told) == ["item", "run"]
    assert told[0].said == shown["items"][1]
    assert told[1].said["counts"] == {"submitted": 1, "running": 1}
    assert told[1].version == told[1].said["version"] == shown["version"] == version + 1


async def test_files_and_summaries_have_events_of_their_own(house: House, running: Running) -> None:
    await house.apply(item("t0"), item("t1", position=1, state=ItemState.RUNNING))

    async with running.client() as client, opened(client) as stream:
        await stream.next()
        await touch_outputs(house, "t1", is_summary=True)
        told = await stream.until("run")

    assert names(told) == ["item", "outputs", "summary", "run"]
    expected = {"task_id": "t1", "outputs_state": "none", "has_outputs": False, "followed_at": None}
    assert told[1].said == expected
    assert told[2].said == {}
    assert [event.version for event in told[:3]] == [None] * 3


async def test_a_cluster_is_told_of_when_it_does_otherwise(house: House, running: Running) -> None:
    await house.observe()
    await house.apply(item())

    async with running.client() as client, opened(client, last=1) as stream:
        first = await stream.next()
        await house.observe(sequence=2)
        await house.observe("unreachable", sequence=3, error="no route")
        later = (await stream.until("cluster"))[-1]

    assert first == Told("cluster", {"name": "daint", "state": "reachable", "stale": False}, None)
    assert later == Told("cluster", {"name": "daint", "state": "unreachable", "stale": False}, None)


@pytest.mark.parametrize("asked", [{"since": 2}, {"last": 2}, {"since": 99999, "last": 2}])
async def test_who_comes_back_is_told_what_changed_meanwhile_each_item_once(
    house: House, running: Running, asked: dict[str, Any]
) -> None:
    await house.apply(item("t0"), item("t1", sequence=2, state=ItemState.RUNNING), item("t2", position=2), ended("t1"))

    async with running.client() as client, opened(client, **asked) as stream:
        told = await stream.until("run")

    # How its cluster does has no version: who was away is told of it in any case.
    assert names(told) == [*(["cluster"] if "last" in asked else []), "item", "item", "run"]
    assert [event.said["task_id"] for event in told[-3:-1]] == ["t2", "t1"]
    assert told[-2].said["outcome"] == "succeeded"


async def test_all_of_a_run_can_be_had_from_its_stream(house: House, running: Running) -> None:
    async with running.client() as client:
        tasks = [{"id": f"t{number}", "command": "true"} for number in range(3)]
        created = await client.post("/runs", json={"run_id": "r1", "name": "a", "cluster": "daint", "tasks": tasks})
        assert created.json()["version"] == 1

        async with opened(client, since=0) as stream:
            told = await stream.until("run")

    assert [event.said["task_id"] for event in told if event.name == "item"] == ["t0", "t1", "t2"]


async def test_a_run_without_tasks_can_be_followed(house: House, running: Running) -> None:
    async with house.database.transaction() as connection:
        await connection.execute(insert(RUNS).values(run_id="r1", name="a run", cluster="daint", owner="ada"))

    async with running.client() as client, opened(client) as stream:
        told = await stream.next()

    assert told.name == "run"
    assert told.said["counts"] == {}


@pytest.mark.parametrize("since", ["", "x", "-1", "1.5", "+1", " 1", "٣", "9999", "99999999999999999999999", "1\x00"])
async def test_a_version_that_there_is_not_means_to_load_again(house: House, running: Running, since: str) -> None:
    await house.apply(item())

    async with running.client() as client, opened(client, since=since) as stream:
        told = await stream.until("run")

    assert names(told) == ["reset", "run"]
    assert stream.version == told[-1].said["version"]


async def test_a_version_among_too_much_else_means_to_load_again(house: House, running: Running) -> None:
    await house.apply(item())

    async with (
        running.client() as client,
        client.stream("GET", "/runs/r1/events?" + "a=1&" * 200 + "since=1") as answer,
    ):
        told = await Stream(answer).until("run")

    assert names(told) == ["reset", "run"]


async def test_a_silent_stream_is_kept_alive(house: House, running: Running) -> None:
    await house.apply(item())

    async with running.client() as client, opened(client) as stream:
        await stream.next()
        await stream.comment()
        await stream.comment()
        await house.apply(item(sequence=2, state=ItemState.QUEUED))

        assert names(await stream.until("run")) == ["item", "run"]


async def test_no_name_can_forge_an_event(house: House, running: Running) -> None:
    await house.apply(item("t0", task_name=HOSTILE, reason=HOSTILE, run_name=HOSTILE))

    async with running.client() as client, opened(client, since=0) as stream:
        told = await stream.until("run")

    assert names(told) == ["item", "run"]
    assert told[0].said["task_name"] == told[0].said["reason"] == HOSTILE
    assert [event.version for event in told] == [None, told[-1].said["version"]]


async def test_its_headers_keep_it_out_of_caches_and_buffers(house: House, running: Running) -> None:
    await house.apply(item())

    async with running.client() as client, opened(client) as stream:
        head = await client.head("/runs/r1/events")

    for answer in (stream.answer, head):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert head.content == b""


async def test_another_persons_run_looks_like_none(house: House) -> None:
    await house.apply(item())

    theirs = await house.get("/runs/r1/events", actor="bob")
    missing = await house.get("/runs/r2/events", actor="bob")

    assert theirs.status_code == missing.status_code == 404
    assert (theirs.content, theirs.headers) == (missing.content, missing.headers)
    assert (await house.get("/runs/r1/events", actor=None)).status_code == 401
    assert (await house.get("/runs/r1/events", actor=None, authorization="Bearer wrong")).status_code == 401


@pytest.mark.parametrize("path", [b"/runs/../events", b"/runs/.r/events", b"/runs/%72%31/events", b"/runs//events"])
async def test_odd_addresses_lead_to_no_stream(house: House, path: bytes) -> None:
    await house.apply(item())

    answer = await raw_ask(house, "GET", path, {"type": "http.request", "body": b"", "more_body": False})

    assert answer.status_code == 404


async def test_a_stream_takes_no_other_method(house: House) -> None:
    await house.apply(item())

    answer = await house.post("/runs/r1/events")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "lose",
    [
        lambda path: path.write_text(path.read_text().replace(TOKENS["ada"], "another-token-0123456789")),
        lambda path: path.write_text("\n".join(line for line in path.read_text().splitlines() if "ada" not in line)),
    ],
    ids=["another token", "another person"],
)
async def test_whose_token_is_taken_away_hears_no_more(
    house: House, running: Running, lose: Callable[[Path], Any]
) -> None:
    await house.apply(item())

    async with running.client() as client, opened(client) as stream:
        await stream.next()
        lose(house.tokens_file)

        assert await stream.rest() == []
        assert (await client.get("/runs/r1/events")).status_code == 401


async def test_a_stream_outlives_that_nobody_can_be_looked_up(
    house: House, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.apply(item("t0"))
    find, is_away, failed = Callers.find, True, 0

    async def looking(callers: Callers, presented: Presented) -> Actor | None:
        nonlocal failed
        if is_away:
            failed += 1
            raise DatabaseUnavailable("it does not answer")
        return await find(callers, presented)

    async with running.client() as client, opened(client) as stream:
        await stream.next()
        monkeypatch.setattr(Callers, "find", looking)
        await stream.comment()
        await house.apply(item("t0", sequence=2, state=ItemState.RUNNING))
        before = failed
        await eventually(lambda: failed >= before + 3)
        is_away = False
        told = await stream.until("run")

    assert names(told) == ["item", "run"]


async def test_who_lost_the_run_hears_no_more_of_it(house: House, running: Running) -> None:
    await house.apply(item())

    async with running.client() as client, opened(client) as stream:
        await stream.next()
        async with house.database.transaction() as connection:
            await connection.execute(text("UPDATE outputs.runs SET owner = 'bob'"))
            await touch(connection, "r1", items=["t0"])

        assert await stream.rest() == []
        assert (await client.get("/runs/r1/events")).status_code == 404


async def test_a_run_that_is_gone_ends_its_stream(house: House, running: Running) -> None:
    await house.apply(item())

    async with running.client() as client, opened(client) as stream:
        await stream.next()
        async with house.database.transaction() as connection:
            await touch(connection, "r1")
            await connection.execute(text("DELETE FROM outputs.runs"))

        assert await stream.rest() == []


async def test_there_are_so_many_streams_and_no_more(house: House, running: Running) -> None:
    await house.apply(item())

    async with running.client() as ada, running.client("root") as root:
        async with opened(ada) as one, opened(ada) as two, opened(ada) as three:
            assert [(await stream.next()).name for stream in (one, two, three)] == ["run"] * 3
            too_many = await ada.get("/runs/r1/events")
            async with opened(root) as other:
                await other.next()
                full = await root.get("/runs/r1/events")
                metrics = (await root.get("/metrics")).text
        await all_left(root)
        async with opened(ada) as again:
            assert (await again.next()).name == "run"

    assert (too_many.status_code, full.status_code) == (429, 503)
    assert "close a page" in too_many.json()["detail"]
    assert too_many.headers["retry-after"] == full.headers["retry-after"] == "5"
    assert "scripthut_outputs_live_streams 4.0" in metrics


async def test_streams_that_were_left_are_forgotten(house: House, running: Running) -> None:
    await house.apply(item())

    async with running.client() as client, running.client("root") as root:
        for _ in range(8):
            async with opened(client) as stream:
                await stream.next()
        await all_left(root)
        metrics = (await root.get("/metrics")).text

    assert "scripthut_outputs_live_dropped_total{" not in metrics


async def test_the_schema_knows_the_stream_and_its_events(house: House) -> None:
    schema = (await house.get("/schema/openapi.json")).json()

    read = schema["paths"]["/runs/{run_id}/events"]["get"]
    answer = read["responses"]["200"]
    assert set(answer["content"]) == {"text/event-stream"}
    assert set(answer["x-events"]) == {"run", "item", "outputs", "summary", "cluster", "reset"}
    assert "RunToldJson" in schema["components"]["schemas"]
    assert {(one["name"], one["in"]) for one in read["parameters"]} == {
        ("run_id", "path"),
        ("since", "query"),
        ("last-event-id", "header"),
    }
    assert "head" in schema["paths"]["/runs/{run_id}/events"]


async def test_open_runs_are_noted_while_something_of_them_may_change(house: House, running: Running) -> None:
    await house.apply(item("t0"), ended("t0", run_id="r2"))

    async with running.client() as client, opened(client, "r2") as over, opened(client, "r1") as alive:
        await over.next()
        await alive.next()
        rows: list[Any] = []
        while not rows:
            rows = await house.rows("SELECT run_id, until > now() + interval '30 s' FROM outputs.watched")

    assert [tuple(row) for row in rows] == [("r1", True)]


async def test_ten_thousand_items_come_in_pages(house: House, running: Running) -> None:
    await house.apply(item("t"))
    await house.rows(
        "INSERT INTO outputs.items (run_id, task_id, task_name, position) "
        "SELECT 'r1', 't' || n, 'task', n FROM generate_series(0, 9998) n RETURNING 1"
    )
    largest = 0
    async for batch in house.hub.view("r1", 0):
        told_at_once = b"".join(batch.pieces)
        largest = max(largest, told_at_once.count(b"event: item\n"))
        if b"event: run\n" in told_at_once:
            break

    async with running.client() as client, opened(client, since=0) as stream:
        told = await stream.until("run")

    assert largest == 500
    assert len({event.said["task_id"] for event in told if event.name == "item"}) == 10_000
    assert len(told) == 10_001
    assert [event.version is not None for event in told].index(True) == 10_000
