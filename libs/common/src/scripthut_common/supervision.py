"""Run loops in one TaskGroup until a signal or a fault; each loop beats."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from .errors import TransientError
from .retrying import RECONNECTING, Backoff

log = structlog.get_logger()
Step = Callable[[], Awaitable[bool | None]]


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a process does again and again.

    `step` does one portion of work and answers `True` when more is waiting; else the loop pauses `interval_s`
    or until `wake` is set. A loop that serves until cancelled (a consumer, a server) has `step` not return.
    """

    name: str
    step: Step
    interval_s: float
    wake: asyncio.Event | None = None
    backoff: Backoff = RECONNECTING
    is_server: bool = False


class Pulse:
    """What the loops of one process last said of themselves; read by `health`."""

    def __init__(self) -> None:
        self.beats: dict[str, float] = {}
        self.intervals_s: dict[str, float] = {}
        self.faults: dict[str, str] = {}

    def beat(self, loop: Loop, fault: str | None = None) -> None:
        """Note that a loop is alive, and what keeps it from working, if anything."""
        self.beats[loop.name] = time.monotonic()
        self.intervals_s[loop.name] = loop.interval_s
        if fault is None:
            self.faults.pop(loop.name, None)
        else:
            self.faults[loop.name] = fault


async def run(loops: Sequence[Loop], pulse: Pulse, stop: asyncio.Event) -> None:
    """Run every loop until `stop` is set; a bug in one ends all, so that the process is restarted."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_run_loop(loop, pulse), name=loop.name) for loop in loops]
        await stop.wait()
        for task in tasks:
            task.cancel()


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGINT and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _run_loop(loop: Loop, pulse: Pulse) -> None:
    failures = 0
    while True:
        pulse.beat(loop, pulse.faults.get(loop.name))
        try:
            has_more = await loop.step()
        except TransientError as error:
            failures += 1
            await _wait_out(loop, pulse, failures, str(error))
            continue
        except Exception as error:
            failures += 1
            log.exception("loop_failed", loop=loop.name)
            await _wait_out(loop, pulse, failures, f"unexpected: {error!r}")
            continue
        failures = 0
        pulse.beat(loop)
        if not has_more:
            await _pause(loop.interval_s, loop.wake)


async def _wait_out(loop: Loop, pulse: Pulse, failures: int, fault: str) -> None:
    if pulse.faults.get(loop.name) != fault:
        log.warning("loop_waits", loop=loop.name, fault=fault)
    pulse.beat(loop, fault)
    await _pause(loop.backoff.delay_s(failures, random.random()), None)  # noqa: S311  jitter, not a secret


async def _pause(seconds: float, wake: asyncio.Event | None) -> None:
    if wake is None:
        await asyncio.sleep(seconds)
        return
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass
    wake.clear()
