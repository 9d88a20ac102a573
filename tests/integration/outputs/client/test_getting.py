"""Files come whole, proven and where they belong; whatever they are called, and whatever happens on the way."""

import asyncio
import hashlib
import json
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from scripthut_common.events import Outcome
from scripthut_outputs.ledger import FileState
from tests.eventually import eventually
from tests.integration.outputs.client.scripted import Request, Scripted, Writer, say
from tests.integration.outputs.client.terminal import Terminal
from tests.integration.outputs.house import House, ended
from tests.testbed.cutting import CutPort

MIB = 1024 * 1024
NAMES = (
    b"plain.txt",
    b"a folder/with spaces \xf0\x9f\x8e\x88.txt",
    b"-rf",
    b"two\nlines\t.txt",
    b"caf\xe9.txt",
    b"%2e%2e%2fetc?x#y",
    b"Case.txt",
    b"case.txt",
    "é.txt".encode(),
    "e\u0301.txt".encode(),
    b"...",
    b"a\\b.txt",
    b'"quoted" $(touch pwned).txt',
)


def below(folder: Path) -> dict[bytes, bytes]:
    """All files below a folder by their exact names."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {os.fsencode(path.relative_to(folder)): path.read_bytes() for path in files}


async def test_every_name_arrives_with_its_exact_bytes_and_a_second_time_nothing_is_fetched(
    house: House, terminal: Terminal
) -> None:
    await house.apply(ended(), ended("t1", position=1))
    for number, name in enumerate(NAMES):
        await house.store("r1", "t0", name, b"content %d" % number)
    await house.store("r1", "t1", b"empty", b"")

    first = await terminal.run("get", "r1", "--json")
    again = await terminal.run("get", "r1", "--json")

    expected = {b"t0/" + name: b"content %d" % number for number, name in enumerate(NAMES)} | {b"t1/empty": b""}
    assert below(terminal.folder / "r1") == expected
    assert (first.code, first.json["counts"]) == (0, {"saved": len(expected)})
    assert (again.code, again.json["counts"]) == (0, {"present": len(expected)})


async def test_patterns_and_wildcards_choose(house: House, terminal: Terminal) -> None:
    await house.apply(*(ended(task, position=place) for place, task in enumerate(("sim.1", "sim.2", "post"))))
    for task in ("sim.1", "sim.2", "post"):
        await house.store("r1", task, b"deep/a.csv", task.encode())
        await house.store("r1", task, b"a.png", b"x")

    some = await terminal.run("get", "r1", "sim.*", "*.csv", "--to", "some")
    one = await terminal.run("get", "r1", "post", "--to", "one")
    none = await terminal.run("get", "r1", "nothing*")

    assert below(terminal.folder / "some") == {b"sim.1/deep/a.csv": b"sim.1", b"sim.2/deep/a.csv": b"sim.2"}
    assert set(below(terminal.folder / "one")) == {b"deep/a.csv", b"a.png"}
    assert (some.code, one.code, none.code) == (0, 0, 6)


async def test_what_is_left_out_is_listed_with_its_reason_and_counts_where_all_is_wanted(
    house: House, terminal: Terminal
) -> None:
    await house.apply(ended(outcome=Outcome.DEPENDENCY_FAILED))
    left_out: dict[str, Any] = {"state": FileState.TOO_LARGE, "reason": "12 MiB", "sha256": None, "stored_bytes": None}
    await house.store("r1", "t0", b"big.h5", b"x", **left_out)

    lenient = await terminal.run("get", "r1", "t0")
    strict = await terminal.run("get", "r1", "t0", "--strict")

    assert "left out: big.h5: too large: 12 MiB" in lenient.lines
    assert (lenient.code, strict.code) == (0, 4)


async def test_what_differs_here_is_replaced_and_no_link_leads_out(house: House, terminal: Terminal) -> None:
    await house.apply(ended())
    for name in (b"old.txt", b"linked.txt", b"folder/in.txt", b"taken", b"pipe"):
        await house.store("r1", "t0", name, b"new")
    to, outside = terminal.folder / "to", terminal.folder / "outside"
    for folder in (to, outside, to / "taken"):
        folder.mkdir()
    (to / "old.txt").write_bytes(b"old")
    (outside / "victim.txt").write_bytes(b"mine")
    (to / "linked.txt").symlink_to(outside / "victim.txt")
    (to / "folder").symlink_to(outside)
    os.mkfifo(to / "pipe")

    got = await terminal.run("get", "r1", "t0", "--to", "to", "--json")

    assert got.code == 1
    assert {file["path"]: file["what"] for file in got.json["files"]} == {
        "old.txt": "saved",
        "linked.txt": "refused",
        "folder/in.txt": "refused",
        "taken": "refused",
        "pipe": "refused",
    }
    assert below(outside) == {b"victim.txt": b"mine"}
    assert (to / "old.txt").read_bytes() == b"new"


async def test_two_names_that_this_machine_takes_for_one_do_not_overwrite_each_other(
    house: House, terminal: Terminal
) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"A.txt", b"first")
    await house.store("r1", "t0", b"a.txt", b"other")
    to = terminal.folder / "to"
    to.mkdir()
    (to / "A.txt").write_bytes(b"first")
    os.link(to / "A.txt", to / "a.txt")  # what a file system without case shows: one file, two names

    got = await terminal.run("get", "r1", "t0", "--to", "to", "--json")

    assert {file["path"]: file["what"] for file in got.json["files"]} == {"A.txt": "present", "a.txt": "refused"}
    assert "takes its name for that of another file" in got.out
    assert (to / "a.txt").read_bytes() == b"first"


async def test_a_name_that_this_machine_refuses_is_reported_and_the_rest_comes(
    house: House, terminal: Terminal
) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"n" * 300, b"x")
    await house.store("r1", "t0", b"good.txt", b"x")

    got = await terminal.run("get", "r1", "t0", "--to", "to")

    assert got.code == 1
    assert "this machine does not take its name (File name too long)" in got.out
    assert set(below(terminal.folder / "to")) == {b"good.txt"}


async def test_downloads_through_a_wire_that_is_cut_again_and_again_arrive(house: House, terminal: Terminal) -> None:
    await house.apply(ended())
    contents = {b"%d.bin" % number: hashlib.shake_128(b"%d" % number).digest(8 * MIB) for number in range(3)}
    for name, content in contents.items():
        await house.store("r1", "t0", name, content)
    wire = CutPort(int(terminal.url.rpartition(":")[2]))

    async with wire.cutting(every_s=0.4):
        for _ in range(20):
            got = await terminal.run("get", "r1", "t0", "--to", "to", "--url", f"http://127.0.0.1:{wire.port}")
            if got.code == 0:
                break
            assert all(not name.endswith(b".bin") or name in contents for name in below(terminal.folder / "to"))

    assert got.code == 0, got
    assert below(terminal.folder / "to") == contents


def listed(**files: bytes | tuple[bytes, str]) -> bytes:
    """A task's ledger that names these files, by their content or with another hash."""
    rows = []
    for name, said in files.items():
        content, sha256 = said if isinstance(said, tuple) else (said, hashlib.sha256(said).hexdigest())
        path = name.replace("_", ".").encode()
        rows.append(_row(path, len(content), sha256))
    return ledger(rows)


def ledger(rows: list[dict[str, Any]]) -> bytes:
    head = {"run_id": "r1", "task_id": "t0", "outputs_state": "collected", "next": None}
    return json.dumps(head | {"outputs": rows}).encode()


def _row(path: bytes, size: int, sha256: str) -> dict[str, Any]:
    encoded = {"path": path.decode("utf-8", "replace"), "path_b64": b64encode(path).decode()}
    return {**encoded, "size": size, "sha256": sha256, "state": "stored", "kind": "other"}


async def test_a_download_goes_on_from_what_is_there_when_it_was_killed(terminal: Terminal) -> None:
    content = hashlib.shake_128(b"large").digest(4 * MIB)
    halted = asyncio.Event()

    async def answer(request: Request, writer: Writer) -> None:
        if not request.path.partition("?")[0].endswith("/file/a.bin"):
            say(writer, listed(a_bin=content))
        elif "range" not in request.headers:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(content) + content[:MIB])
            await writer.drain()
            await halted.wait()
        else:
            start = int(request.headers["range"].removeprefix("bytes=").rstrip("-"))
            content_range = f"bytes {start}-{len(content) - 1}/{len(content)}"
            say(writer, content[start:], status="206 Partial Content", kind="x/y", content_range=content_range)

    async with Scripted(answer).up() as server:
        terminal.url, to = server.url, terminal.folder / "to"
        process = await terminal.start("get", "r1", "t0", "--to", "to")
        await eventually(lambda: any(len(held) == MIB for held in below(to).values()) if to.exists() else False)
        process.send_signal(signal.SIGINT)
        await process.communicate()
        halted.set()
        assert process.returncode == 130
        assert b"a.bin" not in below(to)

        got = await terminal.run("get", "r1", "t0", "--to", "to")

    assert got.code == 0, got
    assert below(to) == {b"a.bin": content}
    asked = server.asked[-1].headers
    assert asked["range"] == f"bytes={MIB}-"
    assert asked["if-range"] == f'"{hashlib.sha256(content).hexdigest()}"'


Respond = Callable[[Request, Writer], Awaitable[None]]


async def _other_bytes(_: Request, writer: Writer) -> None:
    say(writer, b"evil!", kind="x/y")


async def _too_much(_: Request, writer: Writer) -> None:
    say(writer, b"good!" * 1000, kind="x/y")


async def _another_answer(_: Request, writer: Writer) -> None:
    say(writer, b"<html>log in</html>", status="403 Forbidden", kind="text/html")


async def _cut(_: Request, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ngo")


@pytest.mark.parametrize("respond", [_other_bytes, _too_much, _another_answer, _cut])
async def test_nothing_that_is_not_right_gets_its_name(terminal: Terminal, respond: Respond) -> None:
    async def answer(request: Request, writer: Writer) -> None:
        if "/file/" in request.path:
            await respond(request, writer)
        else:
            say(writer, listed(a_txt=b"good!"))

    async with Scripted(answer).up() as server:
        terminal.url = server.url
        got = await terminal.run("get", "r1", "t0", "--to", "to")

    assert got.code == 1
    assert b"a.txt" not in below(terminal.folder / "to")
    assert got.out + got.err != ""


async def test_no_path_of_a_hostile_service_leads_out(terminal: Terminal) -> None:
    paths = (b"../up.txt", b"/abs.txt", b"a/../../up.txt", b"a//b", b".", b"..", b"", b"nul\0.txt", b"./x", b"fine.txt")
    sha256 = hashlib.sha256(b"x").hexdigest()

    async def answer(request: Request, writer: Writer) -> None:
        say(writer, b"x" if "/file/" in request.path else ledger([_row(path, 1, sha256) for path in paths]))

    async with Scripted(answer).up() as server:
        terminal.url = server.url
        got = await terminal.run("get", "r1", "t0", "--to", "a/b", "--json")

    assert got.json["counts"] == {"refused": len(paths) - 1, "saved": 1}
    assert below(terminal.folder) == {b"a/b/fine.txt": b"x"}


async def test_a_task_whose_id_is_a_path_is_refused(terminal: Terminal) -> None:
    head = {"run_id": "r1", "name": "n", "cluster": "c", "owner": "o", "created_at": "2026-01-02T00:00:00Z"}
    task = {"task_id": "../up", "task_name": "n", "state": "final", "outcome": "succeeded", "has_outputs": True}

    async def answer(request: Request, writer: Writer) -> None:
        say(writer, json.dumps(head | {"state": "succeeded", "counts": {"succeeded": 1}, "items": [task]}).encode())

    async with Scripted(answer).up() as server:
        terminal.url = server.url
        got = await terminal.run("get", "r1")

    assert (got.code, "which is no id" in got.err) == (1, True)
    assert below(terminal.folder) == {}


async def test_a_full_disk_is_told_and_leaves_no_half_file(terminal: Terminal) -> None:
    content = b"y" * (2 * MIB)

    async def answer(request: Request, writer: Writer) -> None:
        say(writer, content if "/file/" in request.path else listed(a_bin=content))

    async with Scripted(answer).up() as server:
        process = await asyncio.create_subprocess_shell(
            f'ulimit -f 1024; trap "" XFSZ; exec "{sys.executable}" -m scripthut_outputs get r1 t0 --to to',
            cwd=terminal.folder,
            env=terminal.environment() | {"SCRIPTHUT_URL": server.url},
            stdout=-1,
            stderr=-1,
        )
        _, err = await process.communicate()

    assert process.returncode == 1
    assert "there is no room here (File too large)" in err.decode()
    assert b"a.bin" not in below(terminal.folder / "to")
