"""What goes wrong is told: what, where, and what to do; and nothing else is."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.outputs.client.scripted import Request, Scripted, Writer, say
from tests.integration.outputs.client.terminal import PROGRAM, Terminal
from tests.integration.outputs.house import TOKENS, House, item
from tests.testbed.ports import reserve_port

SERVER_SIDE = ("litestar", "sqlalchemy", "granian", "aio_pika", "asyncssh", "alembic", "obstore", "jinja2")


async def test_a_service_that_is_away_is_named_with_what_to_look_at(terminal: Terminal) -> None:
    url = f"http://127.0.0.1:{reserve_port()}"

    for command in (("runs",), ("show", "r1"), ("get", "r1"), ("cancel", "r1", "--yes"), ("submit", "-")):
        ended = await terminal.run(*command, "--url", url, stdin=b"{}")
        assert (ended.code, ended.out) == (1, "")
        assert f"nobody answers at {url}" in ended.err
    assert "--idempotency-key" in ended.err


async def test_who_asks_without_a_right_is_told_what_is_missing(
    house: House, terminal: Terminal, tmp_path: Path
) -> None:
    await house.apply(item())

    nobody = await terminal.run("runs", actor=None)
    wrong = await terminal.run("runs", SCRIPTHUT_TOKEN="wrong-token-0123456789")
    other = await terminal.run("show", "r1", actor="bob")
    by_file = await terminal.run("show", "r1", "--token-file", str(house.tokens_file), "--actor", "ada", actor=None)

    assert (nobody.code, "wants a token: set SCRIPTHUT_TOKEN" in nobody.err) == (6, True)
    assert (wrong.code, "does not know the token from SCRIPTHUT_TOKEN" in wrong.err) == (6, True)
    assert "wrong-token" not in wrong.err
    assert (other.code, other.out) == (6, "")
    assert by_file.code == 0


async def test_a_proxy_is_told_nothing_that_this_machine_says_to_itself(terminal: Terminal) -> None:
    async def answer(_: Request, writer: Writer) -> None:
        say(writer, b"{}")

    async with Scripted(answer).up() as proxy:
        listed = await terminal.run("runs", HTTP_PROXY=proxy.url, http_proxy=proxy.url, ALL_PROXY=proxy.url)

    assert (listed.code, proxy.asked) == (0, [])


@pytest.mark.parametrize(
    ("status", "kind", "body", "told"),
    [
        ("200 OK", "text/html", b"<h1>Welcome to nginx</h1>", "answers 200 OK as text/html, not in the service's JSON"),
        ("502 Bad Gateway", "text/html", b"\x1b[2J", "answers 502 Bad Gateway as text/html"),
        ("404 Not Found", "text/plain", b"", "answers 404 Not Found as text/plain"),
        ("200 OK", "application/json", b"[1, 2]", "what this program cannot read"),
        ("200 OK", "application/json", b'{"runs": [', "not in the service's JSON"),
        ("503 No", "application/problem+json", b'{"status": 503, "detail": "\\u001b[2Jdown"}', ": down"),
        ("302 Found", "text/plain", b"", "sends us to https://login.example/\ufffd"),
    ],
)
async def test_an_answer_that_is_none_is_called_so(
    terminal: Terminal, status: str, kind: str, body: bytes, told: str
) -> None:
    async def answer(_: Request, writer: Writer) -> None:
        say(writer, body, status=status, kind=kind, location="https://login.example/\x9b")

    async with Scripted(answer).up() as server:
        ended = await terminal.run("runs", "--url", server.url)

    assert (ended.code, ended.out) == (1, "")
    assert told in ended.err
    assert "\x1b" not in ended.err


@asynccontextmanager
async def with_tls(folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """A server whose certificate nobody vouches for but itself; yields its address and that certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject)
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def answer(_: Request, writer: Writer) -> None:
        say(writer, b'{"runs": [], "next": null}')

    async with Scripted(answer).up(context) as server:
        yield server.url, certificate


async def test_a_server_that_nobody_vouches_for_gets_no_token(terminal: Terminal, tmp_path: Path) -> None:
    async with with_tls(tmp_path) as (url, certificate):
        refused = await terminal.run("runs", "--url", url)
        trusted = await terminal.run("runs", "--url", url, "--ca-file", str(certificate))
        plain = await terminal.run("runs", "--url", terminal.url.replace("http:", "https:"))
        unreadable = await terminal.run("runs", "--url", url, "--ca-file", str(tmp_path / "none.pem"))

    assert (refused.code, "--ca-file" in refused.err) == (1, True)
    assert trusted.code == 0
    assert (plain.code, "should the address begin with http://?" in plain.err) == (1, True)
    assert (unreadable.code, "holds no certificates" in unreadable.err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("show",), ("show", "../x"), ("show", "r1", "t0/../.."), ("watch", "r1", "--poll", "0")),
        *(("runs", "--limit", "0"), ("runs", "--state", "odd"), ("show", "r1", "--tail", "3")),
        *(("show", "r1", "--log", "stdout"), ("runs", "--url", "nowhere"), ("runs", "--token-file", "none")),
    ],
)
async def test_a_wrong_command_line_is_no_request(arguments: tuple[str, ...], tmp_path: Path) -> None:
    async def answer(_: Request, writer: Writer) -> None:
        say(writer, b"{}")

    async with Scripted(answer).up() as server:
        ended = await Terminal(server.url, tmp_path / "home").run(*arguments)

    assert (ended.code, ended.out, server.asked) == (2, "", [])
    assert ended.err


@pytest.mark.parametrize("command", ["scripthut_outputs.commands", "scripthut_outputs.commands.client"])
def test_a_start_imports_nothing_of_the_server_side(command: str) -> None:
    code = f"import sys, {command}; print(*sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    modules = found.stdout.split()
    ours = [name for name in modules if name.startswith("scripthut_outputs.")]
    assert command in modules
    assert not [name for name in modules if name.split(".")[0] in SERVER_SIDE]
    assert {name.split(".")[1] for name in ours} <= {"client", "commands"}


def test_every_command_tells_its_exit_statuses() -> None:
    for command in ("runs", "show", "watch", "get", "open", "submit", "cancel", "preview"):
        helped = subprocess.run([*PROGRAM, command, "--help"], capture_output=True, text=True, check=True)
        assert "130  interrupted" in helped.stdout
        assert not any(token in helped.stdout for token in TOKENS.values())
