"""The example proxies, nginx and Caddy: TLS, HTTP/2, streams as they come, and no client that speaks for the proxy."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.integration.deploy.fronts import CADDY, NGINX, Behind, Front, behind, client

CLAIMS = {
    "x-forwarded-user": "root",
    "X-Forwarded-Email": "root@example.org",
    "X-Forwarded-Groups": "admins",
    "X-Forwarded-Preferred-Username": "root",
    "X-Auth-Request-User": "root",
    "X-Auth-Request-Email": "root",
    "X-Auth-Request-Groups": "admins",
    "X-Remote-User": "root",
    "Remote-User": "root",
    "X-ScriptHut-Proxy-Secret": "guessed",
    "Cf-Access-Jwt-Assertion": "e30.e30.",
    "Forwarded": "for=10.0.0.1",
}


@pytest.fixture
async def service() -> AsyncIterator[Behind]:
    async with behind() as found:
        yield found


@pytest.fixture(params=[NGINX, CADDY], ids=["nginx", "caddy"])
async def front(request: pytest.FixtureRequest, service: Behind) -> AsyncIterator[Front]:
    program = request.param
    if not program.exists():
        reason = f"{program} is not installed: sh tests/testbed/install.sh"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with await asyncio.to_thread(Front, program.name, service.address) as found:
        yield found


async def test_no_header_of_a_client_claims_to_be_the_proxy(front: Front) -> None:
    lying = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "http", "X-Real-IP": "10.0.0.1"}
    async with client(front) as browser:
        seen = (await browser.get("/", headers=CLAIMS | lying | {"Authorization": "Bearer mine"})).json()

    assert not {name for name, value in seen.items() if value} & {name.lower() for name in CLAIMS}
    assert seen["authorization"] == "Bearer mine"
    assert seen["host"] == front.url.removeprefix("https://")
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"], seen["x-real-ip"]) == (
        "127.0.0.1",
        "https",
        "127.0.0.1",
    )


async def test_a_live_stream_comes_line_by_line(front: Front, service: Behind) -> None:
    async with client(front) as browser, browser.stream("GET", "/stream") as answer:
        lines = answer.aiter_lines()
        for word in ("one", "two", "three"):
            service.tell.put_nowait(word)
            async with asyncio.timeout(20):
                assert await anext(lines) == f"data: {word}"
                assert not await anext(lines)
        service.tell.put_nowait("")


async def test_an_upload_of_a_gigabyte_is_refused_before_it_is_sent(front: Front, service: Behind) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(2**30 // 65536):
            yield b"x" * 65536

    async with client(front) as browser:
        try:
            answer = await browser.post("/runs", content=endless(), headers={"Content-Length": str(2**30)})
        except httpx.TransportError:
            pass  # cut while it was sent
        else:
            assert answer.status_code in {413, 502}

    assert service.body_bytes < 40 * 2**20


async def test_a_document_of_32_mib_passes(front: Front, service: Behind) -> None:
    async with client(front) as browser:
        assert (await browser.post("/runs", content=b"x" * 32 * 2**20)).status_code == 200

    assert service.body_bytes == 32 * 2**20


async def test_a_large_answer_is_not_gathered_by_the_proxy(front: Front, service: Behind) -> None:
    async with client(front) as browser, browser.stream("GET", "/large") as answer:
        arriving = answer.aiter_bytes()
        received, held = len(await anext(arriving)), -1
        while held != service.sent_bytes:
            held = service.sent_bytes
            await asyncio.sleep(0.3)
        async for chunk in arriving:
            received += len(chunk)

    assert held < service.large_bytes // 2
    assert received == service.large_bytes


async def test_http_2_is_spoken(front: Front) -> None:
    argv = ["curl", "--silent", "--http2", "--cacert", str(front.ca_file), "-o", "/dev/null", "-w", "%{http_version}"]
    done = await asyncio.to_thread(subprocess.run, [*argv, front.url], capture_output=True, text=True, check=False)

    assert done.stdout == "2", done.stderr
