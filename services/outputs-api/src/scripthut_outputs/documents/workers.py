"""Do pure work in processes of their own, bounded in time and memory; content may kill one of them, not us."""

import asyncio
import os
import resource
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from scripthut_common.supervision import beat

MIB = 1024 * 1024
_TASKS_PER_PROCESS = 200
_BEAT_EVERY_S = 10.0
P = ParamSpec("P")
T = TypeVar("T")


class Overran(Exception):
    """Work that was ended, or failed; the text says why, as a clause: `it took longer than 30 s`."""


class Workers:
    """Runs pure functions, as many at a time as there are workers.

    Args:
        count: processes; they start when first needed.
        timeout_s: one piece of work may take so long.
        memory_bytes: one piece of work may need so much.
    """

    def __init__(self, *, count: int, timeout_s: float, memory_bytes: int) -> None:
        self.count = count
        self.timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._pool = self._open()

    async def run(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Call a function of a module in a worker and give what it returned.

        Raises:
            Overran: it took too long, needed too much memory, or failed.
        """
        pool = self._pool
        try:
            return await self._run(pool, work, *args, **named)
        except BrokenProcessPool:
            # A worker that dies with nothing to do, as by the kernel's hand, leaves the pool useless for ever.
            await self._renew(pool)
        try:
            return await self._run(self._pool, work, *args, **named)
        except BrokenProcessPool as error:
            raise Overran(self._explain(error)) from error

    async def _run(self, pool: ProcessPool, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        try:
            running = pool.schedule(
                _bounded, args=[self.timeout_s, work, *args], kwargs=dict(named), timeout=self.timeout_s
            )
        except RuntimeError as error:
            raise BrokenProcessPool(str(error)) from error
        try:
            done = asyncio.wrap_future(running)
            while not (await asyncio.wait([done], timeout=_BEAT_EVERY_S))[0]:
                beat()
        finally:
            running.cancel()  # type: ignore[no-untyped-call]  # pebble leaves it out
        fault = done.exception()
        if isinstance(fault, BrokenProcessPool):
            raise fault
        if fault is not None:
            raise Overran(self._explain(fault)) from fault
        result: T = done.result()
        return result

    def _open(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self.count,
            max_tasks=_TASKS_PER_PROCESS,
            initializer=_limit,
            initargs=[self._memory_bytes],
            context=get_context("spawn"),
        )

    async def _renew(self, broken: ProcessPool) -> None:
        """Put a new pool in the place of a broken one, unless somebody has."""
        if self._pool is broken:
            self._pool = self._open()
            await asyncio.to_thread(_end, broken)

    def close(self) -> None:
        """Stop every worker."""
        _end(self._pool)

    def _explain(self, error: BaseException) -> str:
        match error:
            case TimeoutError():
                return f"it took longer than {self.timeout_s:g} s"
            case MemoryError() | ProcessExpired():
                return f"it needed more than {self._memory_bytes // MIB} MiB of memory"
            case RecursionError():
                return "it is nested too deeply"
            case _:
                return f"the renderer failed ({type(error).__name__})"


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]  # pebble leaves it out
    pool.join()


def _bounded(timeout_s: float, work: Callable[Concatenate[P], T], *args: P.args, **named: P.kwargs) -> T:
    """Work in the worker, which ends by itself should the one who watches the clock be gone."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = int(spent.ru_utime + spent.ru_stime + timeout_s) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, resource.RLIM_INFINITY))
    return work(*args, **named)


def _limit(memory_bytes: int) -> None:
    """Bound this process, and let others go first. Where there is no /proc, time alone is bounded.

    It keeps no standard error: its last words, out of memory, tell nobody more than its end does.
    """
    os.nice(5)
    with Path(os.devnull).open("w", encoding="ascii") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    status = Path("/proc/self/statm")
    if status.exists():
        used_bytes = int(status.read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used_bytes + memory_bytes, used_bytes + memory_bytes))
