"""The service on a real port: bytes by the server's own path, changes at once, orderly ends."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripthut_common.database import Database
from scripthut_common.events import ItemState, Outcome
from scripthut_outputs import wiring
from scripthut_outputs.ledger import Place
from tests.integration.outputs.house import TOKENS, House, document, ended, item, paths
from tests.integration.outputs.running import Running

LARGE = bytes(number % 251 for number in range(1_500_000))


@pytest.fixture
async def running(house: House, migrated_uri: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with Running(migrated_uri, tmp_path).up() as running:
        yield running


async def ask(running: Running, raw: bytes) -> bytes:
    """Send bytes as they are and read all that comes back."""
    address = urlsplit(running.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = b"Host: localhost\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n" % TOKENS["ada"].encode()
    writer.write(raw + b"\r\n" + head)
    async with asyncio.timeout(30):
        answer = await reader.read(-1)
    writer.close()
    return answer


@pytest.mark.parametrize("size", [0, 1, 131_072, 131_073, 1_500_000])
async def test_files_of_every_size_come_whole(house: House, running: Running, size: int) -> None:
    await house.apply(ended())
    sha256 = await house.store("r1", "t0", b"a.bin", LARGE[:size])

    async with running.client() as client:
        get = await client.get("/runs/r1/tasks/t0/outputs/file/a.bin")
        head = await client.head("/runs/r1/tasks/t0/outputs/file/a.bin")
        part = await client.get("/runs/r1/tasks/t0/outputs/file/a.bin", headers={"range": "bytes=0-99"})

    assert hashlib.sha256(get.content).hexdigest() == sha256
    assert get.headers["content-length"] == head.headers["content-length"] == str(size)
    assert head.content == b""
    assert part.content == LARGE[: min(size, 100)] if size else part.status_code == 416


async def test_one_connection_serves_many_requests(house: House, running: Running) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.bin", LARGE)

    async with running.client() as client:
        answers = [await client.get("/runs/r1/tasks/t0/outputs/file/a.bin") for _ in range(3)]
        streams = {answer.extensions["network_stream"] for answer in answers}

    assert len(streams) == 1
    assert {answer.content for answer in answers} == {LARGE}


@pytest.mark.parametrize(
    "path",
    [
        b"/runs/r1/tasks/t0/outputs/file/../../../../../../etc/passwd",
        b"/runs/r1/tasks/t0/outputs/file/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        b"/runs/r1/tasks/t0/outputs/file//etc/passwd",
        b"/runs/r1/tasks/t0/outputs/file/a%00.txt",
        b"/runs/r1/tasks/t0/outputs/file/%ff%fe",
        b"/runs/r1/tasks/t0/outputs/file/%25%32%65",
    ],
)
async def test_hostile_paths_lead_nowhere_on_the_wire(house: House, running: Running, path: bytes) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"x")

    answer = await ask(running, b"GET " + path + b" HTTP/1.1")

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"root:" not in answer


async def test_a_name_of_any_bytes_is_found_on_the_wire(house: House, running: Running) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"\xff \n?#%20.txt", b"found")

    answer = await ask(running, b"GET /runs/r1/tasks/t0/outputs/file/%FF%20%0A%3F%23%2520.txt HTTP/1.1")

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"found")


async def test_what_another_process_writes_is_seen_at_once(house: House, running: Running) -> None:
    await house.apply(item(state=ItemState.QUEUED))
    async with running.client() as client:
        assert (await client.get("/runs/r1")).json()["items"][0]["state"] == "queued"

        for sequence in range(10, 30):
            state = ItemState.RUNNING if sequence % 2 else ItemState.QUEUED
            await house.apply(item(sequence=sequence, state=state))
            async with asyncio.timeout(10):
                while (await client.get("/runs/r1")).json()["items"][0]["state"] != state:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)


async def test_reading_starts_no_command_on_any_cluster(house: House, running: Running) -> None:
    await house.apply(ended(outcome=Outcome.DEPENDENCY_FAILED))
    await house.store("r1", "t0", b"a.png", b"x")
    await house.store("r1", "t0", b"", b"- done", Place.RUN_SUMMARY, kind="markdown")

    async with running.client() as client:
        for rest in ("", "/summary", "/tasks/t0", "/tasks/t0/outputs", "/tasks/t0/outputs/file/a.png"):
            for _ in range(5):
                assert (await client.get(f"/runs/r1{rest}")).status_code == 200

    assert len(running.shells) == 2
    assert sum(shell.commands_run for shell in running.shells) == 0


async def test_an_end_is_collected_by_the_same_process_and_shown(
    house: House, running: Running, tmp_path: Path
) -> None:
    where = paths(tmp_path)
    folder = tmp_path / "outputs" / "r1" / "t0"
    folder.mkdir(parents=True)
    (folder / "task-summary.md").write_text("# Done\n\n![plot](plot.png)\n")
    (folder / "plot.png").write_bytes(b"\x89PNG")

    await house.apply(ended(**where))

    async with running.client() as client, asyncio.timeout(60):
        while True:
            outputs = (await client.get("/runs/r1/tasks/t0/outputs")).json()["outputs"]
            if outputs and outputs[0].get("rendered_html"):
                break
            await asyncio.sleep(0.05)
        assert 'src="/runs/r1/tasks/t0/outputs/file/plot.png"' in outputs[0]["rendered_html"]
        assert (await client.get(outputs[1]["url"])).content == b"\x89PNG"


async def test_a_stop_lets_requests_end(house: House, running: Running) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.bin", LARGE * 4)
    async with running.client() as client, client.stream("GET", "/runs/r1/tasks/t0/outputs/file/a.bin") as answer:
        running.stop.set()

        content = b"".join([piece async for piece in answer.aiter_bytes()])

    assert content == LARGE * 4


async def test_a_login_link_opens_the_pages(running: Running) -> None:
    link = await wiring.login_url(running.settings)

    async with running.client() as client:
        del client.headers["authorization"]
        answer = await client.get(link, follow_redirects=True)

    assert answer.status_code == 200
    assert answer.url.path == "/ui/"


@pytest.mark.parametrize("length", ["announced", "unknown"])
async def test_a_body_over_the_limit_is_told_so_on_the_wire(running: Running, length: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(33):
            yield b" " * 1024 * 1024

    async with running.client() as client:
        answer = await client.post("/runs", content=pieces() if length == "unknown" else b" " * (33 * 1024 * 1024))

    assert answer.status_code == 413
    assert "at most 33554432 bytes" in answer.json()["detail"]


async def test_a_run_that_is_created_is_offered_to_the_poller(running: Running, database: Database) -> None:
    async with running.client() as client:
        created = await client.post("/runs", json=document(run_id="r1"))

    assert created.status_code == 201
    assert running.bus.fault is not None
    assert "poller.run-requested" in running.bus.fault
    await database.ping()
