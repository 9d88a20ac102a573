"""Large files and archives from a server of their own: resumed after a cut, flat in memory, nothing left behind."""

import asyncio
import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripthut_common.events import Outcome
from scripthut_outputs.controllers.turns import Limits
from scripthut_outputs.ledger import FileState, Place
from scripthut_outputs.tables import FILES, ITEMS
from tests.integration.outputs import archived
from tests.integration.outputs.alone import Alone
from tests.integration.outputs.house import TOKENS, House, ended
from tests.testbed.processes import wait_until

MIB = 1024 * 1024
LARGE_BYTES = 300 * MIB
FILE = "/runs/r1/tasks/t0/outputs/file/large%20%FF.bin"
ARCHIVE = "/runs/r1/tasks/t0/outputs/archive"
AUTHORIZATION = f"Authorization: Bearer {TOKENS['ada']}"
LIMITS = Limits(at_once=3, each=2, wait_s=0.5, stalled_after_s=60)


@pytest.fixture
def alone(house: House, migrated_uri: str, tmp_path: Path) -> Iterator[Alone]:
    with Alone(migrated_uri, tmp_path, LIMITS) as alone:
        yield alone


async def store_large(house: House, size_bytes: int = LARGE_BYTES) -> str:
    """Put a file that does not shrink into the ledger, without holding all of it."""
    await house.apply(ended())
    batch = house.blobs.batch()
    blob = batch.begin()
    for number in range(size_bytes // MIB):
        blob.write(hashlib.shake_128(b"%d" % number).digest(MIB))
    stored = blob.finish()
    batch.settle()
    row = _row("t0", stored.sha256) | {"path": b"large \xff.bin", "size_bytes": size_bytes, "stored_bytes": size_bytes}
    async with house.database.transaction() as connection:
        await connection.execute(FILES.insert(), [row])
    return stored.sha256


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def curl(url: str, target: Path, *options: str) -> list[str]:
    return ["curl", "-sS", "--fail", "-H", AUTHORIZATION, "-o", str(target), *options, url]


def wget(url: str, target: Path, *options: str) -> list[str]:
    return ["wget", "-q", "--tries=1", f"--header={AUTHORIZATION}", "-O", str(target), *options, url]


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (lambda url, target: curl(url, target, "--limit-rate", "8M"), lambda url, to: curl(url, to, "-C", "-")),
        (lambda url, target: wget(url, target, "--limit-rate=8M"), lambda url, to: wget(url, to, "-c")),
    ],
    ids=["curl", "wget"],
)
@pytest.mark.parametrize("cut", ["client", "server"])
async def test_a_cut_download_goes_on_where_it_ended(
    house: House,
    alone: Alone,
    tmp_path: Path,
    first: Callable[[str, Path], list[str]],
    again: Callable[[str, Path], list[str]],
    cut: str,
) -> None:
    sha256 = await store_large(house, 32 * MIB)
    url, target = alone.url + FILE, tmp_path / "target"
    _require(first(url, target)[0])

    had_bytes = _begin(first(url, target), target, alone if cut == "server" else None)
    _run(again(url, target))

    assert 2 * MIB < had_bytes < 32 * MIB
    assert sha256_of(target) == sha256


async def test_what_has_changed_since_the_cut_is_not_glued_together(house: House, alone: Alone) -> None:
    sha256 = await store_large(house, MIB)
    part = {"range": "bytes=1000-"}

    async with alone.client() as client:
        went_on = await client.get(FILE, headers=part | {"if-range": f'"{sha256}"'})
        anew = await client.get(FILE, headers=part | {"if-range": '"another"'})
        refused = await client.get(FILE, headers=part | {"if-match": '"another"'})
        head = await client.head(FILE)

    assert (went_on.status_code, went_on.headers["content-length"]) == (206, str(MIB - 1000))
    assert (anew.status_code, anew.headers["content-length"]) == (200, str(MIB))
    assert refused.status_code == 412
    assert (head.headers["content-length"], head.headers["accept-ranges"]) == (str(MIB), "bytes")
    assert not any("content-encoding" in answer.headers for answer in (went_on, anew, head))


async def test_large_files_leave_memory_flat_however_slowly_they_are_taken(house: House, alone: Alone) -> None:
    sha256 = await store_large(house)
    async with alone.client() as client:
        await client.get(FILE, headers={"range": "bytes=0-0"})
        before = alone.forget_peak()

        whole, part, slow = await asyncio.gather(
            _hashed(client, FILE),
            _hashed(client, FILE, {"range": "bytes=0-"}),
            _hashed(client, FILE, {"range": f"bytes={200 * MIB}-"}, pause_s=0.02),
        )

    assert (whole, part) == (sha256, sha256)
    assert slow != sha256
    assert alone.peak_bytes - before <= 64 * MIB


async def test_an_archive_leaves_memory_flat(house: House, alone: Alone, tmp_path: Path) -> None:
    sha256 = await store_large(house)
    target = tmp_path / "archive.zip"
    async with alone.client() as client:
        await client.get("/runs/r1/archive")
        before = alone.forget_peak()

        async with client.stream("GET", ARCHIVE) as answer:
            with target.open("wb") as file:
                async for piece in answer.aiter_bytes():
                    file.write(piece)

    assert alone.peak_bytes - before <= 64 * MIB
    with zipfile.ZipFile(target) as archive:
        assert hashlib.sha256(archive.read("outputs/large %FF.bin")).hexdigest() == sha256


async def test_a_run_of_ten_thousand_tasks_leaves_memory_flat(house: House, alone: Alone) -> None:
    sha256 = house.keep(b"content of every file")
    await house.apply(ended("t0"))
    async with house.database.transaction() as connection:
        await connection.execute(ITEMS.insert(), [_item(number) for number in range(1, 10_000)])
        await connection.execute(FILES.insert(), [_row(f"t{number}", sha256) for number in range(10_000)])
    async with alone.client() as client:
        await client.get("/runs/r1/tasks/t0/outputs/archive")
        before = alone.forget_peak()

        raw = (await client.get("/runs/r1/archive")).content

    archive = archived.opened(raw)
    assert len(archive.namelist()) == 20_001
    assert archived.outputs(archive, "tasks/t9999/") == {b"a.txt": b"content of every file"}
    assert alone.peak_bytes - before <= 64 * MIB


async def test_downloads_that_are_left_leave_nothing_behind(house: House, alone: Alone) -> None:
    await store_large(house)
    async with alone.client() as client:
        await client.get(FILE, headers={"range": "bytes=0-0"})
        for path, headers in ((ARCHIVE, {}), (FILE, {"range": "bytes=1-"}), (FILE, {})):
            await _leave(client, path, headers)
        threads = alone.threads

        for _ in range(12):
            for path, headers in ((ARCHIVE, {}), (FILE, {"range": "bytes=1-"}), (FILE, {})):
                await _leave(client, path, headers)

    # The server keeps a few threads for the next downloads.
    alone.wait_free(threads + 8)


async def test_archives_have_turns_and_pages_do_not_wait_for_them(house: House, alone: Alone) -> None:
    await store_large(house)
    async with alone.client() as client, alone.client("root") as other:
        async with client.stream("GET", ARCHIVE), client.stream("GET", ARCHIVE):
            mine = await client.get(ARCHIVE)
            async with other.stream("GET", ARCHIVE) as theirs:
                assert theirs.status_code == 200
                assert (await other.get(ARCHIVE)).status_code == 503
            page = await client.get("/runs/r1")
            head = await client.head(ARCHIVE)
        await client.aclose()

    assert (mine.status_code, mine.headers["retry-after"]) == (503, "5")
    assert "too many archives" in mine.json()["detail"]
    assert (page.status_code, head.status_code) == (200, 200)


async def test_who_takes_nothing_loses_the_turn(house: House, migrated_uri: str, tmp_path: Path) -> None:
    await store_large(house, 64 * MIB)
    limits = Limits(at_once=1, each=1, wait_s=30, stalled_after_s=0.5)
    with Alone(migrated_uri, tmp_path, limits) as alone:
        async with alone.client() as idle, alone.client() as busy, idle.stream("GET", ARCHIVE) as stalled:
            whole = await busy.get(ARCHIVE)

            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in stalled.aiter_bytes():
                    pass

    assert archived.opened(whole.content)


async def test_an_archive_with_a_fault_fails_for_the_one_who_downloads_it(
    house: House, alone: Alone, tmp_path: Path
) -> None:
    await store_large(house, 8 * MIB)
    house.lose(await house.store("r1", "t0", b"later.bin", b"x" * MIB))
    target = tmp_path / "archive.zip"
    _require("curl")

    with pytest.raises(AssertionError, match="transfer closed with outstanding read data remaining"):
        _run(curl(alone.url + ARCHIVE, target))

    assert target.stat().st_size > 7 * MIB
    assert not zipfile.is_zipfile(target)
    assert "archive_cut" in alone.daemon.log.read_text()


def _begin(argv: list[str], target: Path, server: Alone | None) -> int:
    """Begin a download and kill one of both ends in the middle; give how much had arrived."""
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as going:
        wait_until(lambda: target.exists() and target.stat().st_size > 2 * MIB, "some of it to arrive")
        if server is None:
            going.kill()
        else:
            server.daemon.kill()
        assert going.wait() != 0
    had_bytes = target.stat().st_size
    if server is not None:
        server.daemon.start()
    return had_bytes


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def _hashed(
    client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None, pause_s: float = 0.0
) -> str:
    found = hashlib.sha256()
    async with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code in {200, 206}
        async for piece in answer.aiter_bytes(MIB):
            found.update(piece)
            await asyncio.sleep(pause_s)
    return found.hexdigest()


async def _leave(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> None:
    """Hang up after the first bytes."""
    async with client.stream("GET", path, headers=headers) as answer:
        assert answer.is_success, answer.status_code
        await anext(answer.aiter_bytes())


def _item(number: int) -> dict[str, Any]:
    row = {"run_id": "r1", "task_id": f"t{number}", "task_name": f"task {number}", "position": number}
    return row | {"state": "final", "outcome": Outcome.SUCCEEDED, "outputs_state": "collected", "has_outputs": True}


def _row(task_id: str, sha256: str) -> dict[str, Any]:
    row = {"run_id": "r1", "task_id": task_id, "place": Place.OUTPUT, "path": b"a.txt", "kind": "other", "attempt": 1}
    return row | {"state": FileState.STORED, "size_bytes": 21, "stored_bytes": 21, "sha256": sha256}


def _require(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here")
