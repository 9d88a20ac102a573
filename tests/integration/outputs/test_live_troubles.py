"""Streams of real processes that are killed, stopped, cut off from the database and read by nobody."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from sqlalchemy import text

from scripthut_common.database import Database
from scripthut_common.events import ItemState
from scripthut_outputs.catalog.changes import touch
from tests.eventually import eventually
from tests.integration.outputs.api import HOST, Api
from tests.integration.outputs.house import TOKENS, House, item
from tests.integration.outputs.streams import Told, opened

TASKS = 6


@pytest.fixture
def api(house: House, migrated_uri: str) -> Iterator[Api]:
    with Api(migrated_uri) as api:
        yield api


@pytest.fixture
def other(house: House, migrated_uri: str) -> Iterator[Api]:
    with Api(migrated_uri) as api:
        yield api


async def change(house: House, sequence: int) -> None:
    """Let one task wait or run."""
    state = ItemState.RUNNING if sequence % 2 else ItemState.QUEUED
    number = sequence % TASKS
    await house.apply(item(f"t{number}", sequence=sequence, state=state, position=number, reason=str(sequence)))


async def cut(database: Database) -> None:
    """Close every other connection to the database."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    async with database.transaction() as connection:
        await connection.execute(text(f"{others} AND pid <> pg_backend_pid()"))


def reasons(told: list[Told]) -> list[str]:
    return [event.said["reason"] for event in told if event.name == "item"]


async def version_of(house: House) -> int:
    (row,) = await house.rows("SELECT version FROM outputs.runs WHERE run_id = 'r1'")
    return int(row[0])


async def test_viewers_of_two_processes_are_told_the_same(house: House, api: Api, other: Api) -> None:
    await change(house, 1)

    async with api.client() as one, other.client() as two, opened(one) as left, opened(two) as right:
        await left.next()
        await right.next()
        for sequence in range(2, 40):
            await change(house, sequence)
        version = await version_of(house)
        told = [await stream.until("run", version=version) for stream in (left, right)]

    for seen in told:
        assert {"39", "38", "37", "36", "35", "34"} <= set(reasons(seen))
        assert len(set(reasons(seen))) == len(reasons(seen))


async def test_who_is_cut_off_goes_on_at_another_process(house: House, api: Api, other: Api) -> None:
    await change(house, 1)
    seen: list[Told] = []

    async with api.client() as client, opened(client, since=0) as stream:
        await change(house, 2)
        seen += await stream.until("run")
        await change(house, 3)
        api.daemon.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            seen += await stream.rest()
        last = stream.version
    for sequence in range(4, 20):
        await change(house, sequence)
    async with other.client() as client, opened(client, since=0, last=last) as stream:
        seen += await stream.until("run", version=await version_of(house))

    assert {"19", "18", "17", "16", "15", "14"} <= set(reasons(seen))
    assert len(reasons(seen)) <= 3 + TASKS


async def test_a_stop_ends_every_stream_in_good_order(house: House, api: Api) -> None:
    await change(house, 1)

    async with api.client() as client, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(opened(client)) for _ in range(20)]
        for stream in streams:
            await stream.next()
        stopping = asyncio.create_task(asyncio.to_thread(api.daemon.stop))
        ends = [await stream.rest() for stream in streams]
        await stopping

    assert ends == [[]] * 20
    assert "not_stopped" not in api.daemon.tail(100)


async def test_changes_while_the_database_cannot_be_heard_are_told_later(house: House, api: Api) -> None:
    await change(house, 1)

    async with api.client() as client, opened(client) as stream:
        await stream.next()
        for sequence in range(2, 12):
            await cut(house.database)
            await change(house, sequence)
        told = await stream.until("run", version=await version_of(house))

    assert {"11", "10", "9", "8", "7", "6"} <= set(reasons(told))
    assert len(set(reasons(told))) == len(reasons(told))


async def test_who_reads_nothing_is_dropped_and_comes_back(house: House, migrated_uri: str) -> None:
    await house.apply(*(item(f"t{n}", position=n, reason="x" * 60_000) for n in range(50)))
    request = f"GET /runs/r1/events HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKENS['ada']}\r\n\r\n"

    with Api(migrated_uri, live_waiting_bytes=1024, stream_stalled_s=3600) as api, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((HOST, api.port))
        slow.sendall(request.encode())
        async with api.client() as client, opened(client) as quick:
            version = (await quick.next()).version
            while not api.counted('scripthut_outputs_live_dropped_total{reason="full"}'):
                async with house.database.transaction() as connection:
                    await touch(connection, "r1", items=[f"t{n}" for n in range(50)])
                await quick.until("run")
            async with opened(client, last=version) as again:
                told = await again.until("run")

    assert {event.said["task_id"] for event in told if event.name == "item"} == {f"t{n}" for n in range(50)}


async def test_who_takes_nothing_for_long_is_cut_off(house: House, migrated_uri: str) -> None:
    await house.apply(*(item(f"t{n}", position=n, reason="x" * 60_000) for n in range(400)))
    request = f"GET /runs/r1/events?since=0 HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKENS['ada']}\r\n\r\n"

    with Api(migrated_uri, stream_stalled_s=0.2, live_heartbeat_s=0.02) as api, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((HOST, api.port))
        slow.sendall(request.encode())

        await eventually(lambda: api.counted('scripthut_outputs_live_dropped_total{reason="stalled"}') == 1)

        await eventually(lambda: api.counted("scripthut_outputs_live_streams") == 0)


async def test_many_streams_leave_room_for_other_requests(house: House, migrated_uri: str) -> None:
    await change(house, 1)

    with Api(migrated_uri, streams_each=300) as api:
        async with api.client() as client, AsyncExitStack() as stack:
            for _ in range(300):
                stream = await stack.enter_async_context(opened(client))
                await stream.next()

            answer = await client.get("/runs/r1")

    assert answer.status_code == 200
