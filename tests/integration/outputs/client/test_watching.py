"""A run is followed to its end by the live stream, through cuts, and by asking where there is none."""

import json
from typing import Any

import pytest

from scripthut_common.events import ItemState, Outcome
from tests.eventually import eventually
from tests.integration.outputs.client.scripted import Request, Scripted, Writer, say
from tests.integration.outputs.client.terminal import Terminal
from tests.integration.outputs.house import House, document, ended, item

ASKED_OFTEN = ("--poll", "0.1")


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.SUCCEEDED, 0), (Outcome.TIMED_OUT, 3), (Outcome.UNKNOWN, 5)])
async def test_a_run_is_followed_to_its_end_and_tells_by_its_status(
    house: House, terminal: Terminal, outcome: Outcome, code: int
) -> None:
    await house.observe()
    await house.apply(item())

    process = await terminal.start("watch", "r1", *ASKED_OFTEN)
    assert process.stdout is not None
    assert b"0 of 1 ended" in await process.stdout.readline()
    await house.apply(item(state=ItemState.RUNNING, sequence=2))
    assert b"t0  running" in await process.stdout.readline()
    await house.apply(ended(outcome=outcome))
    out, err = await process.communicate()

    assert f"t0  {outcome.replace('_', ' ')}" in out.decode()
    assert out.decode().splitlines()[-1] == f"r1 {'succeeded' if code == 0 else 'failed' if code == 3 else 'unknown'}"
    assert (process.returncode, err) == (code, b"")


async def test_a_run_that_has_ended_is_told_at_once(house: House, terminal: Terminal) -> None:
    await house.apply(ended(outcome=Outcome.FAILED))

    watched = await terminal.run("watch", "r1", "--json")
    unknown = await terminal.run("watch", "nothing")

    assert (watched.code, unknown.code) == (3, 6)
    assert [json.loads(line)["event"] for line in watched.lines] == ["run"]


async def test_a_submission_that_is_waited_for_ends_as_its_run(house: House, terminal: Terminal) -> None:
    process = await terminal.start("submit", "-", "--wait", *ASKED_OFTEN)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(document(run_id="r1")).encode())
    process.stdin.close()

    assert await process.stdout.readline() == b"r1\n"
    assert b"0 of 1 ended" in await process.stdout.readline()
    await house.apply(ended(outcome=Outcome.FAILED, exit_code=7))
    out, _ = await process.communicate()

    assert (process.returncode, "exit code 7" in out.decode()) == (3, True)


def run(state: str = "running", version: int = 4, **counts: int) -> dict[str, Any]:
    head = {"run_id": "r1", "name": "n", "cluster": "c", "owner": "o", "created_at": "2026-01-02T00:00:00Z"}
    return head | {"state": state, "version": version, "counts": counts or {"running": 2}, "items": [], "next": None}


def event(name: str, told: dict[str, Any], version: int | None = None) -> bytes:
    last = f"id: {version}\n" if version is not None else ""
    return f"event: {name}\n{last}data: {json.dumps(told)}\n\n".encode()


def task(task_id: str, outcome: str, **more: Any) -> dict[str, Any]:
    return {"task_id": task_id, "task_name": task_id, "state": "final", "outcome": outcome, **more}


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(said: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(said), said)


async def test_a_stream_that_is_cut_is_taken_up_where_it_was(terminal: Terminal) -> None:
    batches = [
        [b"retry: 10\n\n", event("item", task("a", "succeeded"), 5), event("item", task("b", "fai"))[:40]],
        [b"retry: 10\n\n: heartbeat\n\n", event("item", task("b", "failed", exit_code=2, reason="\x1b[2Jno"))],
        [event("unheard of", {}), event("run", run("failed", succeeded=1, failed=1), 6)],
    ]

    async def answer(request: Request, writer: Writer) -> None:
        if not request.path.endswith("/events"):
            say(writer, json.dumps(run()).encode())
            return
        writer.write(HEAD + b"".join(chunk(piece) for piece in batches.pop(0)))

    async with Scripted(answer).up() as server:
        terminal.url = server.url
        watched = await terminal.run("watch", "r1")

    resumed = [one.headers["last-event-id"] for one in server.asked if one.path.endswith("/events")]
    assert resumed == ["4", "5", "5"]
    assert watched.code == 3
    assert "a  succeeded" in watched.lines
    assert "b  failed  exit code 2, no" in watched.lines
    assert watched.lines[-2:] == ["2 of 2 ended: 1 succeeded, 1 failed", "r1 failed"]


async def test_a_stream_that_starts_over_is_read_anew(terminal: Terminal) -> None:
    versions = [9, 2]

    async def answer(request: Request, writer: Writer) -> None:
        if not request.path.endswith("/events"):
            say(writer, json.dumps(run(version=versions.pop(0))).encode())
        elif request.headers["last-event-id"] == "9":
            writer.write(HEAD + chunk(b"retry: 10\n\n" + event("reset", {})))
        else:
            writer.write(HEAD + chunk(event("run", run("succeeded", succeeded=2), 3)))

    async with Scripted(answer).up() as server:
        terminal.url = server.url
        watched = await terminal.run("watch", "r1", "--json")

    assert watched.code == 0
    assert [json.loads(line)["event"] for line in watched.lines] == ["run", "run", "run"]


async def test_a_service_that_goes_away_for_a_while_is_waited_for(house: House, terminal: Terminal) -> None:
    calls = 0

    async def answer(request: Request, writer: Writer) -> None:
        nonlocal calls
        calls += 1
        if request.path.endswith("/events"):
            say(writer, b'{"status": 404, "detail": "none"}', status="404 Not Found")
        elif calls in {4, 5}:
            say(writer, b"<h1>Bad gateway</h1>", status="502 Bad Gateway", kind="text/html")
        else:
            say(writer, json.dumps(run() if calls < 6 else run("succeeded", succeeded=2)).encode())

    async with Scripted(answer).up() as server:
        terminal.url = server.url
        watched = await terminal.run("watch", "r1", *ASKED_OFTEN)

    assert watched.code == 0
    assert watched.err.count("502 Bad Gateway as text/html") == 2


async def test_an_interrupted_watch_says_so_by_its_status_alone(house: House, terminal: Terminal) -> None:
    await house.observe()
    await house.apply(item())
    process = await terminal.start("watch", "r1", *ASKED_OFTEN)
    assert process.stdout is not None
    await process.stdout.readline()

    process.send_signal(2)
    _, err = await process.communicate()

    assert (process.returncode, err) == (130, b"")


async def test_the_bar_is_painted_again_on_the_last_line_of_a_terminal(house: House, terminal: Terminal) -> None:
    await house.apply(item())

    async with terminal.screen("watch", "r1", *ASKED_OFTEN, columns=70) as screen:
        await eventually(lambda: "0 of 1 ended" in screen.said)
        await house.apply(ended())
        assert await screen.code() == 0

    assert "\x1b[2K" in screen.said
    assert "1 of 1 ended: 1 succeeded" in screen.said
