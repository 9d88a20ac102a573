"""Lists, runs, tasks and logs in a terminal, asked of the real application."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.ledger import FileState, Place
from tests.eventually import eventually
from tests.integration.outputs.client.terminal import Terminal
from tests.integration.outputs.house import House, document, ended, item

HOSTILE = "\x1b[2J\x1b]0;pwned\x07\u202egnp.exe\x9b31m\r\n"


async def test_runs_are_listed_newest_first(house: House, terminal: Terminal) -> None:
    await house.apply(item(run_id="old"), ended(run_id="new", outcome=Outcome.FAILED))

    listed = await terminal.run("runs")

    assert listed.code == 0
    assert [line.split()[0] for line in listed.lines] == ["RUN", "new", "old"]
    assert "1 of 1 ended: 1 failed" in listed.lines[1]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--cluster", "eiger"), {"r2"}),
        (("--owner", "ada"), {"r1", "r2", "r3"}),
        (("--owner", "bob"), set()),
        (("--state", "succeeded"), {"r3"}),
        (("--query", "SOLVE"), {"r2"}),
        (("--limit", "1"), {"r3"}),
        (("--all",), {"r1", "r2", "r3"}),
    ],
)
async def test_a_list_holds_what_is_wanted(
    house: House, terminal: Terminal, options: tuple[str, ...], found: set[str]
) -> None:
    await house.apply(item(), item(run_id="r2", cluster="eiger", run_name="Solve it"), ended(run_id="r3"))

    listed = await terminal.run("runs", "--json", *options)

    assert {run["run_id"] for run in listed.json["runs"]} == found
    assert listed.json["is_more"] == ("--limit" in options)


async def test_a_document_says_who_may_read_its_run(terminal: Terminal) -> None:
    written = json.dumps(document(run_id="r1", visibility="instance")).encode()

    submitted = await terminal.run("submit", "-", "--json", stdin=written)
    shown = await terminal.run("show", "r1", actor="bob")

    assert (submitted.json["visibility"], submitted.json["group"]) == ("instance", None)
    assert ", of ada, open to everybody there, " in shown.out


async def test_a_run_is_shown_with_its_tasks(house: House, terminal: Terminal) -> None:
    started = datetime(2026, 1, 2, tzinfo=UTC)
    took: dict[str, Any] = {"started_at": started, "ended_at": started + timedelta(seconds=75)}
    await house.apply(
        item("wait", position=1, state=ItemState.QUEUED, reason="Priority"),
        ended("boom", outcome=Outcome.FAILED, exit_code=3, reason="it diverged", **took),
    )

    shown = await terminal.run("show", "r1")

    assert shown.code == 0
    assert "1 of 2 ended: 1 failed, 1 queued" in shown.lines
    assert " ".join(shown.lines[-2].split()) == "boom failed 1 min 15 s task boom 42 pending exit code 3, it diverged"
    assert shown.lines[-1].split() == ["wait", "queued", "task", "wait", "42", "Priority"]


async def test_json_is_what_the_service_says_with_all_pages_in_one(house: House, terminal: Terminal) -> None:
    await house.apply(*(ended(f"t{number}", position=number) for number in range(5)))

    shown = await terminal.run("show", "r1", "--json", "--all")

    said = (await house.get("/runs/r1")).json()
    assert shown.json == said
    assert shown.err == ""


async def test_a_task_is_shown_with_its_files_and_its_summary(house: House, terminal: Terminal) -> None:
    await house.apply(ended(node="nid001"))
    await house.store(
        "r1", "t0", b"task-summary.md", b"# Done\n\n| step | x |\n|---|--:|\n| 1 | 22 |\n\n[all](a.csv)\n"
    )
    await house.store("r1", "t0", b"a.csv", b"1,2\n")
    left_out: dict[str, Any] = {"state": FileState.TOO_LARGE, "sha256": None, "stored_bytes": None}
    left_out["reason"] = "12 MiB, at most 10 MiB"
    await house.store("r1", "t0", b"big.h5", b"x", **left_out)

    shown = await terminal.run("show", "r1", "t0")

    assert "node:       nid001" in shown.lines
    assert [line.split()[-1] for line in shown.lines if " stored " in line] == ["task-summary.md", "a.csv"]
    assert any("too large" in line and "12 MiB, at most 10 MiB" in line for line in shown.lines)
    assert "step  x" in shown.lines
    assert shown.lines[-1] == "all <a.csv>"


async def test_the_end_of_a_log_is_printed_and_nothing_that_a_terminal_obeys(house: House, terminal: Terminal) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"", b"one\n\x1b[31mtwo\x1b[0m\n10%\r99%\nbell\x07\n", Place.STDOUT)

    shown = await terminal.run("show", "r1", "t0", "--log", "stdout", "--tail", "3")
    none = await terminal.run("show", "r1", "t0", "--log", "stderr")

    assert shown.out == "two\n99%\nbell\ufffd\n"
    assert (none.code, none.out) == (6, "")
    assert "There is no stderr to show" in none.err


async def test_no_name_and_no_reason_reaches_the_terminal_as_it_is(house: House, terminal: Terminal) -> None:
    await house.apply(ended(task_name=HOSTILE, run_name=HOSTILE, reason=HOSTILE, node=HOSTILE, outcome=Outcome.FAILED))
    await house.store("r1", "t0", HOSTILE.encode(), b"x")
    await house.store("r1", "t0", b"task-summary.md", HOSTILE.encode() + b"\n\n&#27;[2J &#155;31m &#x202e;x")

    answers = [
        await terminal.run(*command)
        for command in (("runs",), ("show", "r1"), ("show", "r1", "t0"), ("get", "r1"), ("show", "r1", "t0", "--json"))
    ]

    for answer in answers:
        assert not set(answer.out + answer.err) & set("\x1b\x07\x9b\u202e\r"), answer
    assert "␛[2J" in answers[0].out


async def test_the_same_rows_fit_a_narrow_terminal_in_colour(house: House, terminal: Terminal) -> None:
    await house.apply(ended("a-task-with-a-long-name-of-its-own", task_name="x" * 300, run_name="\x1b[2J" + "y" * 100))

    narrow = await _on_a_terminal(terminal, "show", "r1", columns=40)
    plain = await _on_a_terminal(terminal, "show", "r1", columns=100, NO_COLOR="1")

    assert max(len(line) for line in _without_colour(narrow).splitlines() if "a-task" in line) <= 40
    assert "\x1b[32m" in narrow
    assert "\x1b[3" not in plain
    assert "\x1b[2J" not in narrow + plain
    assert "━" in narrow


async def test_the_address_of_a_page_is_printed_and_opened(terminal: Terminal) -> None:
    seen = terminal.folder / "seen"
    browser = terminal.folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{seen}"\n')
    browser.chmod(0o755)

    printed = await terminal.run("open", "r1", "t0", "--print", BROWSER=str(browser))
    assert not seen.exists()
    opened = await terminal.run("open", "r1", "t0", BROWSER=f"{browser} %s")

    assert printed.out == opened.out == f"{terminal.url}/ui/runs/r1/tasks/t0\n"
    assert (printed.code, opened.code) == (0, 0)
    assert seen.read_text() == opened.out


async def test_a_run_is_cancelled_by_those_who_are_sure(house: House, terminal: Terminal) -> None:
    await house.apply(item(), ended("t1"))

    unsure = await terminal.run("cancel", "r1")
    assert await house.rows("SELECT 1 FROM outputs.outbox") == []
    sure = await terminal.run("cancel", "r1", "--yes")

    assert (unsure.code, "say --yes" in unsure.err) == (2, True)
    assert (sure.code, sure.lines[0]) == (0, "asked daint to cancel 1 task of r1")
    assert len(await house.rows("SELECT 1 FROM outputs.outbox")) == 1


@pytest.mark.parametrize(("said", "code"), [("y\n", 0), ("no\n", 1)])
async def test_somebody_at_a_terminal_is_asked_first(house: House, terminal: Terminal, said: str, code: int) -> None:
    await house.apply(item())

    async with terminal.screen("cancel", "r1", columns=80) as screen:
        await eventually(lambda: "[y/N]" in screen.said)
        screen.type(said)
        assert await screen.code() == code

    assert "Cancel 1 task of run r1, 'a run'? [y/N]" in screen.said
    assert ("asked daint" in screen.said) == (code == 0)


async def test_a_document_in_json_or_toml_becomes_a_run(house: House, terminal: Terminal, tmp_path: Path) -> None:
    as_json, as_toml = tmp_path / "run.json", tmp_path / "run.toml"
    as_json.write_text(json.dumps(document(run_id="r1")))
    as_toml.write_text('run_id = "r2"\nname = "b"\ncluster = "daint"\n[[tasks]]\nid = "t"\ncommand = "true"\n')

    answers = [await terminal.run("submit", str(file)) for file in (as_json, as_toml)]
    piped = await terminal.run("submit", "-", "--json", stdin=json.dumps(document(run_id="r3")).encode())

    assert [answer.out for answer in answers] == ["r1\n", "r2\n"]
    assert piped.json["run_id"] == "r3"
    assert [row.run_id for row in await house.rows("SELECT run_id FROM outputs.runs ORDER BY 1")] == ["r1", "r2", "r3"]


async def test_a_key_makes_two_submissions_one_run(house: House, terminal: Terminal) -> None:
    body = json.dumps(document()).encode()

    first = await terminal.run("submit", "-", "--idempotency-key", "k1", stdin=body)
    second = await terminal.run("submit", "-", "--idempotency-key", "k1", stdin=body)
    another = await terminal.run("submit", "-", stdin=body)

    assert first.out == second.out != another.out


async def test_a_refused_document_names_every_faulty_field(terminal: Terminal) -> None:
    body = json.dumps({"name": 3, "cluster": "nowhere", "tasks": [{"id": "-x", "command": ""}]}).encode()

    refused = await terminal.run("submit", "-", stdin=body)

    assert (refused.code, refused.out) == (1, "")
    assert {line.split(":")[0].strip() for line in refused.err.splitlines()[1:]} == {
        *("name", "cluster", "tasks[0].id", "tasks[0].command")
    }


@pytest.mark.parametrize(
    ("body", "told"),
    [(b'{"name": }', "is not JSON"), (b"name = ", "is not TOML"), (b"\xff\xfe", "is not TOML"), (b"", "refuses this")],
)
async def test_what_is_no_document_is_told_before_it_is_sent(terminal: Terminal, body: bytes, told: str) -> None:
    refused = await terminal.run("submit", "-", stdin=body)

    assert (refused.code, told in refused.err) == (1, True), refused


async def test_a_reader_who_leaves_early_is_no_error_to_shout_about(house: House, terminal: Terminal) -> None:
    await house.apply(*(ended(f"t{number}", position=number) for number in range(900)))
    reading, writing = os.pipe()
    os.close(reading)

    process = await terminal.start("show", "r1", "--all", out=writing)
    os.close(writing)
    _, err = await process.communicate()

    assert (process.returncode, err) == (141, b"")


async def _on_a_terminal(terminal: Terminal, *arguments: str, columns: int, **variables: str) -> str:
    async with terminal.screen(*arguments, columns=columns, **variables) as screen:
        await screen.code()
    return screen.said


def _without_colour(said: str) -> str:
    return said.replace("\r", "").replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[32m", "")
