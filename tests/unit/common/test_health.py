"""Live, ready and metrics, from the pulse and from checks."""

import asyncio
from http import HTTPStatus

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter

from scripthut_common import health as health_room
from scripthut_common.errors import DatabaseUnavailable, SettingsError
from scripthut_common.health import Check, Fault, Health
from scripthut_common.serving import serve
from scripthut_common.supervision import Loop, Pulse
from tests.eventually import eventually
from tests.testbed import ports

LOOP = Loop(name="watching daint", step=asyncio.Event().wait, interval_s=30)


class Clock:
    """Monotonic seconds that stand still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def health(pulse: Pulse, clock: Clock, **checks: Check) -> Health:
    return Health(pulse, checks, CollectorRegistry(), clock=clock, check_timeout_s=0.05)


@pytest.mark.parametrize(
    ("interval_s", "silence_s", "is_alive"), [(30, 89, True), (30, 91, False), (0.5, 59, True), (0.5, 61, False)]
)
def test_a_loop_silent_for_three_intervals_and_a_minute_is_dead(
    interval_s: float, silence_s: float, *, is_alive: bool
) -> None:
    pulse, clock = Pulse(), Clock()
    pulse.beats["watching daint"], pulse.pauses_s["watching daint"] = clock.now, interval_s

    clock.now += silence_s
    status, report = health(pulse, clock).live()

    assert (status == HTTPStatus.OK) is is_alive
    assert [fault.name for fault in report.faults] == ([] if is_alive else ["watching daint"])


async def test_ready_lists_every_fault_in_words() -> None:
    pulse = Pulse()
    pulse.note(LOOP, "daint: the host key has changed")

    async def database() -> str | None:
        raise DatabaseUnavailable("PostgreSQL: connection refused")

    async def bus() -> str | None:
        return None

    async def slow() -> str | None:
        await asyncio.Event().wait()
        return None

    status, report = await health(pulse, Clock(), database=database, bus=bus, store=slow).ready()

    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert report.status == "not ready"
    assert report.faults == (
        Fault(name="watching daint", fault="daint: the host key has changed"),
        Fault(name="database", fault="PostgreSQL: connection refused"),
        Fault(name="store", fault="no answer within 0.05 s"),
    )


async def test_checks_are_asked_once_in_a_while_and_by_one_at_a_time() -> None:
    clock, asked = Clock(), 0

    async def check() -> str | None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return None

    found = health(Pulse(), clock, check=check)
    answers = await asyncio.gather(*(found.ready() for _ in range(20)))
    asked_at_once = asked
    clock.now += 10
    await found.ready()

    assert {status for status, _ in answers} == {HTTPStatus.OK}
    assert (asked_at_once, asked) == (1, 2)


async def test_faults_with_broken_text_can_be_told() -> None:
    pulse = Pulse()
    pulse.note(LOOP, "daint says \udcff\x1b[31m\n")

    _, report = await health(pulse, Clock()).ready()

    assert b"daint says ?" in msgspec.json.encode(report)


def test_metrics_show_the_pulse_and_what_the_process_counts() -> None:
    pulse, clock, registry = Pulse(), Clock(), CollectorRegistry()
    found = Health(pulse, {}, registry, clock=clock)
    Counter("things", "Things seen", registry=registry).inc()
    pulse.beats["relay"], pulse.pauses_s["relay"] = clock.now - 7, 1
    pulse.note(LOOP, "away")

    lines = found.metrics().decode().splitlines()

    assert "things_total 1.0" in lines
    assert 'scripthut_loop_silence_seconds{loop="relay"} 7.0' in lines
    assert 'scripthut_loop_failing{loop="relay"} 0.0' in lines
    assert 'scripthut_loop_failing{loop="watching daint"} 1.0' in lines


async def test_a_process_answers_on_its_own_port_until_it_is_stopped() -> None:
    pulse, clock, port = Pulse(), Clock(), ports.reserve_port()
    loop = health_room.loop(health(pulse, clock), "127.0.0.1", port)
    serving = asyncio.create_task(_step(loop))
    await eventually(lambda: ports.is_open(port))

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
        pulse.note(LOOP, "daint: away")
        failing, head = await client.get("/health/ready"), await client.head("/health/ready")
        metrics, other, post = (
            await client.get("/metrics"),
            await client.get("/etc/passwd"),
            await client.post("/health/live"),
        )
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
            await _step(loop)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)

    assert (live.status_code, live.json()) == (200, {"status": "live", "faults": []})
    assert ready.json() == {"status": "ready", "faults": []}
    assert failing.status_code == head.status_code == 503
    assert failing.json() == {"status": "not ready", "faults": [{"name": "watching daint", "fault": "daint: away"}]}
    assert head.content == b""
    assert metrics.headers["content-type"].startswith("text/plain")
    assert (other.status_code, post.status_code) == (404, 405)
    assert not ports.is_open(port)


async def test_a_stream_that_nobody_ends_does_not_keep_the_server_from_stopping() -> None:
    port, begun, cut = ports.reserve_port(), asyncio.Event(), asyncio.Event()

    async def app(_scope: object, _receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"x", "more_body": True})  # type: ignore[operator]
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    serving = asyncio.create_task(serve(app, "127.0.0.1", port, grace_s=0.1))
    await eventually(lambda: ports.is_open(port))
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await begun.wait()
    serving.cancel()
    await asyncio.wait_for(asyncio.gather(serving, return_exceptions=True), 20)
    writer.close()

    assert cut.is_set()


async def _step(loop: Loop) -> None:
    await loop.step()
