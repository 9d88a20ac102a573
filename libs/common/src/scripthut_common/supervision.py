"""Run loops in one TaskGroup until a signal or a fault; each loop beats."""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar

import msgspec
import structlog

from .errors import Error, SettingsError
from .retrying import RECONNECTING, Backoff

log = structlog.get_logger()
Step = Callable[[], Awaitable[bool | None]]

# A server that has run so long is over what made it fail before.
_SETTLED_S = 5.0


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a process does again and again.

    `step` does one portion of work and answers `True` when more is waiting; else the loop pauses `interval_s`
    or until `wake` is set. A loop that serves until cancelled (a consumer, a server) has `step` not return. A step
    that takes longer than a minute says `beat()` on its way. What a step raises is told in `health`, and the step
    is tried again with `backoff`; only `SettingsError` ends the process.
    """

    name: str
    step: Step
    interval_s: float
    wake: asyncio.Event | None = None
    backoff: Backoff = RECONNECTING
    is_server: bool = False


class Pulse:
    """What the loops of one process last said of themselves; read by `health`.

    `beats` are monotonic seconds, `pauses_s` how long a loop may rest until the next. Loops that serve until
    cancelled have none: the runner itself watches their tasks.
    """

    def __init__(self) -> None:
        self.beats: dict[str, float] = {}
        self.pauses_s: dict[str, float] = {}
        self.faults: dict[str, str] = {}

    def beat(self, loop: Loop, pause_s: float = 0.0) -> None:
        """Note that a loop is alive, and will rest for `pause_s`."""
        if not loop.is_server:
            self.beats[loop.name] = time.monotonic()
            self.pauses_s[loop.name] = max(loop.interval_s, pause_s)

    def note(self, loop: Loop, fault: str | None) -> None:
        """Note what keeps a loop from working; `None` when nothing does."""
        if fault is None:
            self.faults.pop(loop.name, None)
        else:
            self.faults[loop.name] = fault


_beat: ContextVar[Callable[[], None]] = ContextVar("beat", default=lambda: None)


def beat() -> None:
    """Say from within a long step that it is getting on; nothing happens where no loop runs."""
    _beat.get()()


async def run(
    loops: Sequence[Loop],
    pulse: Pulse,
    stop: asyncio.Event,
    *,
    grace_s: float = 20.0,
    end_process: Callable[[int], object] = os._exit,
) -> None:
    """Run every loop until `stop` is set, then cancel all; whatever does not end within `grace_s` ends the process.

    Raises:
        SettingsError: of a loop that cannot work as it is set up.
    """
    if len({loop.name for loop in loops}) < len(loops):
        raise ValueError(f"loops share a name: {sorted(loop.name for loop in loops)}")
    tasks: list[asyncio.Task[None]] = []
    watchdog = threading.Timer(grace_s, _give_up, (tasks, end_process))
    watchdog.daemon = True
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(_run_loop(loop, pulse), name=loop.name) for loop in loops]
            await stop.wait()
            log.info("stopping")
            watchdog.start()
            for task in tasks:
                task.cancel()
    except ExceptionGroup as faults:
        # Nothing else leaves a loop; two of them are told one after the other.
        raise faults.exceptions[0] from None
    finally:
        watchdog.cancel()


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on the first SIGINT or SIGTERM; the second ends the process at once."""
    running = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def on_signal() -> None:
        stop.set()
        for number in numbers:
            running.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        running.add_signal_handler(number, on_signal)


def _give_up(tasks: Sequence[asyncio.Task[None]], end_process: Callable[[int], object]) -> None:
    log.error("not_stopped", loops=[task.get_name() for task in tasks if not task.done()])
    end_process(1)


async def _run_loop(loop: Loop, pulse: Pulse) -> None:
    _beat.set(lambda: pulse.beat(loop))
    failures = 0
    while True:
        pulse.beat(loop)
        began_at = time.monotonic()
        try:
            has_more = await _run_step(loop, pulse)
        except SettingsError:
            raise
        except Exception as error:  # noqa: BLE001  this is the door; `_wait_out` tells what it was
            is_new_trouble = loop.is_server and time.monotonic() - began_at > _SETTLED_S
            failures = 1 if is_new_trouble else failures + 1
            await _wait_out(loop, pulse, failures, error)
        else:
            failures = 0
            pulse.note(loop, None)
            if not has_more:
                await _pause(loop.interval_s, loop.wake)


async def _run_step(loop: Loop, pulse: Pulse) -> bool | None:
    if not loop.is_server:
        return await loop.step()
    settled = asyncio.get_running_loop().call_later(_SETTLED_S, pulse.note, loop, None)
    try:
        return await loop.step()
    finally:
        settled.cancel()


async def _wait_out(loop: Loop, pulse: Pulse, failures: int, error: Exception) -> None:
    is_known = isinstance(error, Error)
    fault = str(error) if is_known else f"unexpected: {error!r}"
    delay_s = loop.backoff.delay_s(failures, random.random())  # noqa: S311  jitter, not a secret
    if pulse.faults.get(loop.name) != fault:
        log.warning("loop_waits", loop=loop.name, fault=fault, exc_info=None if is_known else error)
    pulse.note(loop, fault)
    pulse.beat(loop, delay_s)
    await _pause(delay_s, None)


async def _pause(seconds: float, wake: asyncio.Event | None) -> None:
    if wake is None:
        await asyncio.sleep(seconds)
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()
    wake.clear()
