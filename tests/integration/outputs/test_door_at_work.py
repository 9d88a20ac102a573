"""The door of a process as it runs in production: what it logs, and what an upload costs it."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.outputs.api import HOST, Api
from tests.integration.outputs.house import TOKENS

GIB = 1024**3
SECRET = "sho_" + "kUw0" * 16
ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b31m"
# A server takes no others in a header.
HEADER = "\x9b31mred\xff\t"


@pytest.fixture(scope="module", params=["text", "json"])
def api(request: pytest.FixtureRequest, migrated_uri: str) -> Iterator[Api]:
    """A process that logs all it has to say."""
    with Api(migrated_uri, logs=request.param) as api:
        yield api


def raw(api: Api, head: str, body: bytes = b"", *, pieces: int = 0) -> tuple[bytes, int]:
    """Send a request as it stands, then `pieces` more of its body; gives the answer's head, and what was taken."""
    taken_bytes = 0
    with socket.create_connection((HOST, api.port), timeout=60) as connection:
        connection.sendall(head.encode("latin-1") + b"\r\n" + body)
        try:
            for _ in range(pieces):
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
                taken_bytes += 65536
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            return connection.recv(65536), taken_bytes
        except ConnectionResetError:
            return b"", taken_bytes


def head(method: str, target: str, *lines: str) -> str:
    return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "connection: close", *lines))


def logged(api: Api) -> str:
    return api.daemon.log.read_text(errors="surrogateescape")


def resident_bytes(api: Api) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{api.daemon.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_a_token_in_an_address_is_in_no_log(api: Api) -> None:
    host = f"host: {HOST}:{api.port}"
    for target, lines in (
        (f"/runs?token={SECRET}", (host,)),
        (f"/ui/?access_token={SECRET}", (host,)),
        (f"/nowhere/{SECRET}?token={SECRET}", (host,)),
        (f"http://ada:{SECRET}@{HOST}:{api.port}/runs?token={SECRET}", (host,)),
        ("/runs", (f"host: ada:{SECRET}@{HOST}:{api.port}",)),
        ("/runs", (host, f"authorization: Basic {SECRET}")),
    ):
        answer, _ = raw(api, head("GET", target, *lines))
        assert answer.startswith(b"HTTP/1.1 400"), (target, answer[:100])
        assert SECRET.encode() not in answer
    wrong = httpx.get(f"{api.url}/runs", headers={"authorization": f"Bearer {SECRET}"})

    assert wrong.status_code == 401
    log = logged(api)
    assert "login_refused" in log
    assert SECRET not in log
    assert not any(token in log for token in TOKENS.values())


def test_nothing_that_a_request_says_ends_a_line_of_the_log_or_colours_it(api: Api) -> None:
    mark = "forged_line"
    hostile = f"x%0A{mark}%20level=error%0D%1B[31m"
    host = f"host: {HOST}:{api.port}"
    for target in (f"/runs/{hostile}", f"/ui/runs/{hostile}", f"/login?code={hostile}&next={hostile}", f"/{hostile}"):
        raw(api, head("GET", target, host, f"authorization: Bearer {HEADER}", f"user-agent: {HEADER}"))
    for label in (f"x\n{mark}", ESCAPES):
        httpx.post(
            f"{api.url}/tokens",
            json={"label": label, "scopes": ["read"]},
            headers={"authorization": f"Bearer {TOKENS['ada']}"},
        )

    log = logged(api)
    assert "login_refused" in log
    assert not any(line.startswith(mark) for line in log.splitlines())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", log)


@pytest.mark.parametrize("path", ["/runs", "/runs/r1/cancel", "/login", "/tokens", "/ui/tokens", "/nowhere"])
def test_a_gibibyte_costs_neither_memory_nor_time(api: Api, path: str) -> None:
    lines = (f"host: {HOST}:{api.port}", f"authorization: Bearer {TOKENS['ada']}")
    before = resident_bytes(api)

    told, _ = raw(api, head("POST", path, *lines, f"content-length: {GIB}"))
    untold, taken_bytes = raw(api, head("POST", path, *lines, "transfer-encoding: chunked"), pieces=GIB // 65536)

    assert told.startswith(b"HTTP/1.1 413")
    assert untold[:12] in {b"HTTP/1.1 413", b""}
    assert taken_bytes < GIB // 4
    assert resident_bytes(api) - before < 128 * 1024 * 1024
    assert httpx.get(f"{api.url}/health/live").is_success
