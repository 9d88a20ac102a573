"""Fetch what is wanted, four files at a time; a file has its name here only when it is whole and its hash is right."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import httpx
import msgspec

from scripthut_common import text
from scripthut_common.errors import NotFound, PermanentError, TransientError
from scripthut_outputs.client.api import Api
from scripthut_outputs.client.exits import Exit
from scripthut_outputs.client.screen import Screen

from . import naming
from .listing import Listed, Tasks, tasks
from .naming import Parts, Refused
from .placing import Folder, Part
from .reporting import Report

_AT_ONCE = 4
_MAX_FAULTS = 4
_WAIT_S = 0.5


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What to bring where. `task`: an id, a wildcard, `None` for all; `to`: `None` for a folder named after the run."""

    run_id: str
    task: str | None
    patterns: tuple[str, ...]
    to: Path | None
    is_strict: bool


class What(StrEnum):
    """What became of a file."""

    SAVED = "saved"
    PRESENT = "present"
    LEFT_OUT = "left_out"
    REFUSED = "refused"
    FAILED = "failed"


async def get(api: Api, screen: Screen, wish: Wish) -> Exit:
    """Bring the files, and say what became of each.

    Raises:
        NotFound: there is no such run or task.
        DiskFull: there is no room; run again to go on.
        Error: the service is away, or does not let us in.
    """
    found = [one async for one in tasks(api, wish.run_id, wish.task, wish.patterns)]
    to = _folder_of(wish, found)
    with Report(screen, to) as report:
        folder = Folder(to)
        try:
            await _all(api, folder, report, [file for one in found for file in one.listed])
        finally:
            folder.close()
        return report.end(found, is_strict=wish.is_strict)


def _folder_of(wish: Wish, found: Sequence[Tasks]) -> Path:
    if wish.to is not None:
        return wish.to
    is_one = len(found) == 1 and wish.task == found[0].task_id
    return Path(wish.run_id, found[0].task_id) if is_one else Path(wish.run_id)


async def _all(api: Api, folder: Folder, report: Report, listed: Sequence[Listed]) -> None:
    """Fetch everything; names that a file system may take for one follow each other."""
    stored = [file for file in listed if file.is_stored]
    report.expect(sum(file.output.size or 0 for file in stored))
    for file in listed:
        if not file.is_stored:
            report.add(What.LEFT_OUT, file, None)
    waiting = iter(_alike(stored))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(_work(api, folder, report, waiting))
    except BaseExceptionGroup as faults:
        raise faults.exceptions[0] from faults


def _alike(stored: Iterable[Listed]) -> list[list[Listed]]:
    groups: dict[str, list[Listed]] = {}
    for file in stored:
        groups.setdefault(naming.alike((*file.prefix, file.path)), []).append(file)
    return list(groups.values())


async def _work(api: Api, folder: Folder, report: Report, waiting: Iterator[list[Listed]]) -> None:
    for alike in waiting:
        for file in alike:
            try:
                parts = (*file.prefix, *naming.split(file.path))
                report.add(await _one(api, folder, report, file, parts), file, parts)
            except Refused as error:
                report.add(What.REFUSED, file, None, str(error))
            except (NotFound, _Damaged) as error:
                report.add(What.FAILED, file, None, str(error))


class _Damaged(PermanentError):
    """What arrived is not what the ledger names."""


async def _one(api: Api, folder: Folder, report: Report, file: Listed, parts: Parts) -> What:
    """Bring one file, going on where a connection was cut."""
    size_bytes, sha256 = file.output.size or 0, file.output.sha256 or ""
    if await asyncio.to_thread(folder.has, parts, size_bytes=size_bytes, sha256=sha256):
        report.advance(size_bytes)
        return What.PRESENT
    with folder.part(parts, sha256) as part:
        report.advance(part.size_bytes)
        await _fill(api, report, file, part)
        if part.sha256.hexdigest() != sha256:
            report.advance(-part.size_bytes)
            part.empty()
            await _fill(api, report, file, part)
        if part.sha256.hexdigest() != sha256:
            part.remove()
            raise _Damaged(f"what arrives is not what the ledger names: its SHA-256 is not {text.name(sha256)[:64]}")
        folder.finish(part, parts)
    return What.SAVED


async def _fill(api: Api, report: Report, file: Listed, part: Part) -> None:
    """Bring a part to its full size."""
    faults, size_bytes = 0, file.output.size or 0
    while part.size_bytes < size_bytes:
        before = part.size_bytes
        try:
            await _go_on(api, report, file, part)
        except TransientError as error:
            faults = 1 if part.size_bytes > before else faults + 1
            if faults > _MAX_FAULTS:
                raise TransientError(f"{error}\nWhat has come is kept; the same command goes on from there.") from error
            await asyncio.sleep(_WAIT_S * 2**faults)


async def _go_on(api: Api, report: Report, file: Listed, part: Part) -> None:
    """Ask for the rest of a file, of this content and no other."""
    size_bytes = file.output.size or 0
    asked = {"accept": "*/*"}
    if part.size_bytes:
        asked |= {"range": f"bytes={part.size_bytes}-", "if-range": f'"{file.output.sha256}"'}
    async with api.stream(file.address, asked) as answer:
        if not _goes_on(answer, part.size_bytes):
            report.advance(-part.size_bytes)
            part.empty()
        async for piece in answer.aiter_raw():
            if part.size_bytes + len(piece) > size_bytes:
                raise _Damaged("more arrives than the ledger names")
            part.write(piece)
            report.advance(len(piece))
    if part.size_bytes < size_bytes:
        raise TransientError(f"{api.where.url} ends {text.name(file.path)} before its end")


def _goes_on(answer: httpx.Response, start: int) -> bool:
    return answer.status_code == 206 and answer.headers.get("content-range", "").startswith(f"bytes {start}-")
