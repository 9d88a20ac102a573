"""The outputs service without its database or its broker: it stays up, says so, and goes on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from scripthut_common import migrating
from scripthut_common.bus import message_of
from scripthut_common.database import Database
from scripthut_outputs.migrations import MIGRATIONS
from tests.integration.outputs.house import TOKENS, document, ended, said
from tests.integration.outputs.running import CLUSTERS, Running
from tests.testbed.ports import reserve_port
from tests.testbed.postgres import PostgresServer
from tests.testbed.rabbitmq import RabbitMq


@pytest.fixture
async def running(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Running]:
    """A service on a database server that this test may stop."""
    uri = await _migrated(postgres)
    lines = [f"{name} user {token}\n" for name, token in TOKENS.items()]
    (tmp_path / "tokens").write_text("".join(lines))
    async with Running(uri, tmp_path).up() as running:
        yield running


async def _migrated(postgres: PostgresServer) -> str:
    uri = postgres.databases.create()
    database = Database(uri)
    await migrating.upgrade(database, MIGRATIONS)
    await database.close()
    return uri


async def status(client: httpx.AsyncClient, path: str, expected: int) -> httpx.Response:
    """Ask until the answer has this status."""
    async with asyncio.timeout(60):
        while True:
            answer = await client.get(path)
            if answer.status_code == expected:
                return answer
            await asyncio.sleep(0.05)


async def test_a_stopped_database_is_told_and_waited_out(running: Running, postgres: PostgresServer) -> None:
    # Who brings a token is looked up in the database; health is told to whoever brings none.
    async with running.client() as client, running.client(None) as stranger:
        await client.post("/runs", json=document(run_id="r1"))
        assert (await client.get("/runs/r1")).status_code == 200

        postgres.daemon.stop()
        refused = await status(client, "/runs/r1", 503)
        unready = await status(stranger, "/health/ready", 503)

        assert refused.headers["content-type"] == "application/problem+json"
        assert "retry-after" in refused.headers
        assert {"name": "outputs.database"} in unready.json()["faults"]
        assert (await client.post("/runs", json=document(run_id="r2"))).status_code == 503
        assert (await stranger.get("/health/live")).status_code == 200

        postgres.daemon.start()
        await status(client, "/runs/r1", 200)
        assert (await client.get("/runs/r2")).status_code == 404
        assert (await client.post("/runs", json=document(run_id="r2"))).status_code == 201


async def test_an_event_that_came_while_the_database_was_away_is_taken_once_it_is_back(
    running: Running, postgres: PostgresServer
) -> None:
    postgres.daemon.stop()
    async with asyncio.TaskGroup() as group, running.client() as client:
        publishing = group.create_task(running.bus.publish(message_of(said(ended()))))
        await status(client, "/health/ready", 503)
        assert not publishing.done()

        postgres.daemon.start()
        await publishing

        assert (await client.get("/runs/r1")).json()["counts"] == {"succeeded": 1}
    assert running.bus.dead == []


async def test_nothing_old_is_shown_after_an_outage(running: Running, postgres: PostgresServer) -> None:
    other = Database(running.settings.database_url)
    async with running.client() as client:
        await client.post("/runs", json=document(run_id="r1"))
        assert (await client.get("/runs/r1")).json()["counts"] == {"pending": 1}

        postgres.daemon.restart()
        await status(client, "/runs", 200)
        await running.bus.publish(message_of(said(ended())))

        async with asyncio.timeout(30):
            while (await client.get("/runs/r1")).json()["counts"] != {"succeeded": 1}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await other.close()


@contextmanager
def process(role: str, folder: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """One role of the service as a program of its own."""
    environment = os.environ | {f"SCRIPTHUT_OUTPUTS_{name.upper()}": value for name, value in variables.items()}
    with (folder / f"{role}.log").open("ab") as log:
        command = [sys.executable, "-m", "scripthut_outputs", role]
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as started:
            try:
                yield started
            finally:
                started.kill()


async def test_both_roles_as_programs_come_up_wait_out_the_broker_and_end_in_order(
    postgres: PostgresServer, rabbitmq: RabbitMq, amqp_uri: str, tmp_path: Path
) -> None:
    (tmp_path / "clusters.toml").write_text(CLUSTERS)
    (tmp_path / "tokens").write_text(f"ada user {TOKENS['ada']}\n")
    port, health = reserve_port(), {"api": reserve_port(), "collect": reserve_port()}
    variables = {
        "database_url": await _migrated(postgres),
        "amqp_url": amqp_uri,
        "clusters_file": str(tmp_path / "clusters.toml"),
        "blobs_url": str(tmp_path / "blobs"),
        "tokens_file": str(tmp_path / "tokens"),
        "listen_port": str(port),
    }
    with (
        process("api", tmp_path, **variables, health_port=str(health["api"])) as api,
        process("collect", tmp_path, **variables, health_port=str(health["collect"])) as collect,
    ):
        headers = {"authorization": f"Bearer {TOKENS['ada']}"}
        transport = httpx.AsyncHTTPTransport(retries=0)
        async with httpx.AsyncClient(transport=transport, headers=headers) as client:
            for number in health.values():
                await _comes_up(client, f"http://127.0.0.1:{number}/health/ready")
            url = f"http://127.0.0.1:{port}"
            assert (await client.post(f"{url}/runs", json=document(run_id="r1"))).status_code == 201

            rabbitmq.daemon.stop()
            unready = await status(client, f"{url}/health/ready", 503)
            assert "outputs.bus" in {fault["name"] for fault in unready.json()["faults"]}
            assert (await client.post(f"{url}/runs", json=document(run_id="r2"))).status_code == 201

            rabbitmq.daemon.start()
            await status(client, f"{url}/health/ready", 200)
            assert (await client.get(f"{url}/runs/r2")).status_code == 200
        for started in (api, collect):
            started.send_signal(signal.SIGTERM)
        ends = [await asyncio.to_thread(started.wait, 30) for started in (api, collect)]

    assert ends == [0, 0]


async def _comes_up(client: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
