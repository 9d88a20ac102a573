"""Loops run, beat, wait out their faults and stop in bounded time."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from scripthut_common import supervision
from scripthut_common.errors import SettingsError, Unreachable
from scripthut_common.retrying import Backoff
from scripthut_common.supervision import Loop, Pulse, beat, run
from tests.eventually import eventually

AT_ONCE = Backoff(first_s=0.001, longest_s=0.002)


async def run_until(loops: list[Loop], pulse: Pulse, *, is_over: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await run(loops, pulse, is_over)


async def test_a_loop_with_more_to_do_goes_on_at_once_and_rests_when_there_is_none() -> None:
    stop, steps = asyncio.Event(), 0

    async def step() -> bool:
        nonlocal steps
        steps += 1
        if steps == 5:
            stop.set()
        return steps < 5

    await run_until([Loop(name="l", step=step, interval_s=3600)], Pulse(), is_over=stop)

    assert steps == 5


async def test_a_resting_loop_is_woken() -> None:
    stop, wake, steps = asyncio.Event(), asyncio.Event(), 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        (wake if steps == 1 else stop).set()

    await run_until([Loop(name="l", step=step, interval_s=3600, wake=wake)], Pulse(), is_over=stop)

    assert steps == 2


@pytest.mark.parametrize(
    ("error", "fault"),
    [(Unreachable("daint: no route"), "daint: no route"), (KeyError("x"), "unexpected: KeyError('x')")],
)
async def test_a_fault_is_told_waited_out_and_forgotten_when_the_loop_works_again(error: Exception, fault: str) -> None:
    pulse, stop, told, steps = Pulse(), asyncio.Event(), set(), 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        told.add(pulse.faults.get("l"))
        if steps < 4:
            raise error
        asyncio.get_running_loop().call_soon(stop.set)

    await run_until([Loop(name="l", step=step, interval_s=60, backoff=AT_ONCE)], pulse, is_over=stop)

    assert told == {None, fault}
    assert pulse.faults == {}


async def test_a_failing_loop_does_not_disturb_its_siblings() -> None:
    pulse, stop, steps = Pulse(), asyncio.Event(), 0

    async def fail() -> None:
        raise ZeroDivisionError

    async def work() -> bool:
        nonlocal steps
        steps += 1
        await asyncio.sleep(0)
        if steps == 50:
            stop.set()
        return True

    loops = [Loop(name="bad", step=fail, interval_s=1, backoff=AT_ONCE), Loop(name="good", step=work, interval_s=1)]
    await run_until(loops, pulse, is_over=stop)

    assert steps >= 50
    assert list(pulse.faults) == ["bad"]


async def test_wrong_settings_end_the_process_with_their_own_words() -> None:
    async def step() -> None:
        raise SettingsError("cannot listen on 127.0.0.1:80")

    async def serve() -> None:
        await asyncio.Event().wait()

    loops = [Loop(name="a", step=step, interval_s=1), Loop(name="b", step=serve, interval_s=1, is_server=True)]
    with pytest.raises(SettingsError, match="cannot listen"):
        await run(loops, Pulse(), asyncio.Event())


async def test_a_server_is_cancelled_when_the_process_stops() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        asyncio.get_running_loop().call_soon(stop.set)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await run_until([Loop(name="s", step=serve, interval_s=1, is_server=True)], Pulse(), is_over=stop)

    assert ended.is_set()


async def test_a_server_that_fails_is_served_again_and_its_fault_forgotten_once_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervision, "_SETTLED_S", 0.01)
    pulse, stop, starts = Pulse(), asyncio.Event(), 0

    async def serve() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise Unreachable("away")
        await eventually(lambda: not pulse.faults)
        stop.set()
        await asyncio.Event().wait()

    loop = Loop(name="s", step=serve, interval_s=1, is_server=True, backoff=AT_ONCE)
    await run_until([loop], pulse, is_over=stop)

    assert starts == 2
    assert pulse.beats == {}


async def test_a_long_step_beats_on_its_way() -> None:
    pulse, stop = Pulse(), asyncio.Event()

    async def step() -> None:
        first = pulse.beats["l"]
        async with asyncio.TaskGroup() as group:
            await eventually(lambda: asyncio.get_running_loop().time() > first)
            group.create_task(_beat_once())
        assert pulse.beats["l"] > first
        stop.set()

    await run_until([Loop(name="l", step=step, interval_s=1)], pulse, is_over=stop)


async def _beat_once() -> None:
    beat()


def test_beating_outside_of_a_loop_does_nothing() -> None:
    beat()


async def test_a_loop_that_does_not_stop_is_named_and_ends_the_process() -> None:
    stop, release, codes = asyncio.Event(), asyncio.Event(), []
    ended = threading.Event()

    async def cling() -> None:
        stop.set()
        try:
            await release.wait()
        finally:
            await release.wait()

    def end_process(code: int) -> None:
        codes.append(code)
        ended.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(
            run([Loop(name="l", step=cling, interval_s=0)], Pulse(), stop, grace_s=0.05, end_process=end_process)
        )
        await eventually(ended.is_set)
        release.set()

    assert codes == [1]


PROGRAM = """
import asyncio, sys
from scripthut_common.supervision import Loop, Pulse, run, stop_on_signals

async def step():
    print("up", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        if sys.argv[1] == "cling":
            print("clinging", flush=True)
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass

async def main():
    stop = asyncio.Event()
    stop_on_signals(stop)
    await run([Loop(name="l", step=step, interval_s=1, is_server=True)], Pulse(), stop)
    print("closed", flush=True)

asyncio.run(main())
"""


def start(how: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_process_in_good_order(number: signal.Signals) -> None:
    process = start("well")

    os.kill(process.pid, number)

    assert process.communicate(timeout=30)[0].endswith("closed\n")
    assert process.returncode == 0


def test_the_second_ctrl_c_ends_the_process_at_once() -> None:
    process = start("cling")

    os.kill(process.pid, signal.SIGINT)
    assert process.stdout is not None
    assert "clinging\n" in iter(process.stdout.readline, "")
    os.kill(process.pid, signal.SIGINT)

    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
