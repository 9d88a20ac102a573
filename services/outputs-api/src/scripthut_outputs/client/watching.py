"""Follow a run until it ends: by the live stream, or by asking again and again where a service has none."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from scripthut_common.errors import NotFound, TransientError

from . import exits
from .answers import RunWithItems, read
from .api import Api
from .chronicle import Chronicle
from .exits import Exit
from .paging import run_path, run_with_items
from .screen import Screen
from .streaming import Event, Reader

_SILENT_S = 60.0
_AGAIN_S, _AGAIN_AT_MOST_S = 1.0, 30.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How patiently: the wait between two questions without a stream, and how often in a row a fault is borne."""

    poll_s: float = 2.0
    max_faults: int = 20


class _NoStream(Exception):
    """The service knows the run and has no live stream."""


async def watch(api: Api, screen: Screen, run_id: str, pace: Pace) -> Exit:
    """Show what happens until the run ends; gives the status that tells how.

    Raises:
        Error: the run cannot be asked for, or the service stays away.
    """
    answer, found = await run_with_items(api, run_id)
    with Chronicle(screen, answer, found) as chronicle:
        if exits.of_run(found.state) is None:
            try:
                await _by_stream(api, chronicle, pace)
            except _NoStream:
                await _by_asking(api, chronicle, pace)
        return chronicle.end()


async def _by_stream(api: Api, chronicle: Chronicle, pace: Pace) -> None:
    """Read the stream to the end of the run, coming back where it was cut."""
    version = chronicle.version
    reader = Reader("" if version is None else str(version))
    faults = 0
    while chronicle.is_moving:
        try:
            async with aclosing(_events(api, chronicle.run_id, reader)) as events:
                async for event in events:
                    faults = 0
                    await _take(api, chronicle, reader, event)
                    if not chronicle.is_moving:
                        return
        except TransientError as error:
            faults += 1
            if faults > pace.max_faults:
                raise
            chronicle.note(f"{error}; trying again")
        wait_s = (reader.retry_ms or 1000 * _AGAIN_S) / 1000 if not faults else _AGAIN_S * 2 ** (faults - 1)
        await asyncio.sleep(min(wait_s, _AGAIN_AT_MOST_S))


async def _events(api: Api, run_id: str, reader: Reader) -> AsyncGenerator[Event, None]:
    """Open the stream once and yield what it says until it is cut.

    Raises:
        _NoStream: there is none.
    """
    path = f"{run_path(run_id)}/events"
    sent = {"accept": "text/event-stream"} | ({"last-event-id": reader.last_id} if reader.last_id else {})
    try:
        async with api.stream(path, sent, timeout_s=_SILENT_S) as answer:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise _NoStream
            reader.begin()
            async for piece in answer.aiter_raw():
                for event in reader.feed(piece):
                    yield event
    except NotFound as error:
        await api.get(run_path(run_id), limit=1)
        raise _NoStream from error


async def _take(api: Api, chronicle: Chronicle, reader: Reader, event: Event) -> None:
    """Show one event; what this version does not know is passed over."""
    if event.name == "reset":
        answer, found = await run_with_items(api, chronicle.run_id)
        chronicle.anew(answer, found)
        reader.last_id = "" if found.version is None else str(found.version)
        return
    try:
        told: Any = msgspec.json.decode(event.data)
    except msgspec.DecodeError as error:
        raise TransientError("the live stream says what is no JSON") from error
    chronicle.take(event.name, told)


async def _by_asking(api: Api, chronicle: Chronicle, pace: Pace) -> None:
    """Ask for the run until it has ended; for its tasks only when their counts have changed."""
    faults = 0
    while chronicle.is_moving:
        await asyncio.sleep(pace.poll_s)
        try:
            head = read(await api.get(run_path(chronicle.run_id), limit=1), RunWithItems)
            if head.counts != chronicle.counts or head.state != chronicle.state:
                answer, found = await run_with_items(api, chronicle.run_id)
                chronicle.anew(answer, found)
            faults = 0
        except TransientError as error:
            faults += 1
            if faults > pace.max_faults:
                raise
            chronicle.note(f"{error}; trying again")
