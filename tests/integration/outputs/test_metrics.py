"""What is counted of requests: by route and never by what a caller writes; refused ones too."""

import asyncio
from typing import Any

import httpx
from sqlalchemy import text

from scripthut_common.bus import OUTPUTS_EVENTS, QUEUES, Message, Queue
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.database import Database
from scripthut_common.errors import BadMessage, Error
from scripthut_common.gauging import Lag, Pools
from scripthut_common.outbox import Outbox
from scripthut_outputs.controllers.burials import Burials
from scripthut_outputs.controllers.counting import AuditCollector
from scripthut_outputs.tables import OUTBOX
from tests.integration.outputs.house import ORIGIN, House, document, ended, raw_get

REQUESTS = "scripthut_outputs_http_requests_total"


def counted(house: House) -> dict[tuple[str, str, str], float]:
    """Requests by route, method and status."""
    return {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for metric in house.registry.collect()
        for sample in metric.samples
        if sample.name == REQUESTS
    }


def refused(house: House, kind: str) -> float:
    return house.registry.get_sample_value("scripthut_outputs_login_refusals_total", {"kind": kind}) or 0.0


async def test_requests_are_counted_by_the_template_of_their_route(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"text")
    for path in (
        "/runs/r1",
        "/runs/r9",
        "/runs/r1/tasks/t0/outputs/file/a.txt",
        "/runs/r1/tasks/t0/outputs/file/b.txt",
        "/runs/r1/archive",
        "/ui/runs/r1",
        "/nowhere/at/all",
        "/health/live",
    ):
        await house.get(path)
    async with house.client() as client:
        await client.head("/runs/r1/events")
    await house.post("/runs", document())

    assert counted(house) == {
        ("/runs/{run_id}", "GET", "2xx"): 1,
        ("/runs/{run_id}", "GET", "4xx"): 1,
        ("/runs/{run_id}/tasks/{task_id}/outputs/file/{path}", "GET", "2xx"): 1,
        ("/runs/{run_id}/tasks/{task_id}/outputs/file/{path}", "GET", "4xx"): 1,
        ("/runs/{run_id}/archive", "GET", "2xx"): 1,
        ("/runs/{run_id}/events", "HEAD", "2xx"): 1,
        ("/ui/runs/{run_id}", "GET", "2xx"): 1,
        ("none", "GET", "4xx"): 1,
        ("/health/live", "GET", "2xx"): 1,
        ("/runs", "POST", "2xx"): 1,
    }


async def test_nothing_that_a_caller_writes_becomes_a_label(house: House) -> None:
    for number in range(50):
        await raw_get(house, b"/%d/\xff\x00%%0a" % number)
        await house.get(f"/runs/x{number}/tasks/y/outputs/file/{number}")
        async with house.client() as client:
            await client.request(f"MADE{number}", f"/runs/{number}")
            await client.request(f"MADE{number}", f"/runs/r/tasks/t/outputs/file/{number}")

    assert {method for _, method, _ in counted(house)} <= {"GET", "other"}
    assert len(counted(house)) < 8


async def test_how_soon_answers_begin_is_told_by_route(house: House) -> None:
    await house.get("/health/live")

    name = "scripthut_outputs_http_request_duration_seconds_count"
    assert house.registry.get_sample_value(name, {"route": "/health/live"}) == 1


async def test_what_the_door_refuses_is_counted(house: House) -> None:
    await house.get("/runs", None, authorization="Bearer wrong")
    await house.get("/runs", None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(house.app), base_url=ORIGIN) as client:  # type: ignore[arg-type]  # two spellings of ASGI
        await client.post("/login", data={"token": "wrong"}, headers={"origin": ORIGIN})
        await client.get("/login?code=old")
        await client.get("/login")

    assert (refused(house, "token"), refused(house, "login")) == (1, 2)
    assert counted(house)["none", "GET", "4xx"] == 1


async def test_the_connections_of_a_database_are_told(database: Database) -> None:
    pools = Pools("outputs", {"main": database})

    def told() -> dict[str, float]:
        return {sample.labels["state"]: sample.value for sample in next(iter(pools.collect())).samples}

    async with database.transaction():
        within = told()["in_use"]

    assert (within, told()["in_use"]) == (1, 0)
    assert told()["idle"] >= 1


async def test_how_far_the_relay_is_behind_is_told(house: House) -> None:
    lag = Lag(house.database, Outbox(OUTBOX), house.registry)

    def told() -> list[float | None]:
        names = ("scripthut_outputs_outbox_waiting_events", "scripthut_outputs_outbox_oldest_age_seconds")
        return [house.registry.get_sample_value(name) for name in names]

    await lag.step()
    before = told()
    await house.post("/runs", document())
    async with house.database.transaction() as connection:
        await connection.execute(text("UPDATE outputs.outbox SET added_at = added_at - interval '1 hour'"))
    await lag.step()
    waiting, oldest_s = told()

    assert before == [0, 0]
    assert waiting == 1
    assert 3600 <= (oldest_s or 0) < 3700


async def test_what_the_audit_log_waits_for_is_told(house: House) -> None:
    house.looks.note(("root", "file", "r1", "run.read", ""))
    collector = AuditCollector(house.looks)

    def told() -> dict[str, float]:
        samples = (sample for metric in collector.collect() for sample in metric.samples)
        return {sample.name.rpartition("audit_")[2]: sample.value for sample in samples}

    before = told()
    await house.looks.flush()

    assert (before["waiting_looks"], before["written_looks_total"]) == (1, 0)
    assert (told()["waiting_looks"], told()["written_looks_total"]) == (0, 1)


async def test_dead_letters_are_counted_on_the_broker(amqp_uri: str, house: House) -> None:
    bus = AmqpBus(amqp_uri)
    try:
        before = await bus.count_dead(QUEUES)
        nobodys = await bus.count_dead([Queue(name="nobodys", exchange="scripthut.events", bindings=())])
        await _bury(bus)

        async def count() -> Any:
            return await bus.count_dead(QUEUES)

        burials = Burials(count, house.registry)
        async with asyncio.timeout(20):
            while not burials.counts.get("outputs.events"):
                await burials.step()
    finally:
        await bus.close()

    assert before == dict.fromkeys((queue.name for queue in QUEUES), 0)
    assert nobodys == {}
    assert burials.counts["outputs.events"] == 1
    assert house.registry.get_sample_value("scripthut_outputs_dead_letters", {"queue": "outputs.events"}) == 1


async def _bury(bus: AmqpBus) -> None:
    """Let one message be refused for good."""
    message = Message(id="m1", exchange="scripthut.events", routing_key="item.x.y", body=b"{}", mandatory=True)
    refused = asyncio.Event()

    async def refuse(_: Message) -> None:
        refused.set()
        raise BadMessage("it is none")

    consuming = asyncio.create_task(bus.consume(OUTPUTS_EVENTS, refuse))
    async with asyncio.timeout(20):
        while not refused.is_set():
            try:
                await bus.publish(message)
                await refused.wait()
            except Error:  # the queue is not declared yet
                await asyncio.sleep(0.05)
    await asyncio.sleep(0)
    consuming.cancel()
