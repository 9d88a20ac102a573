"""Do pure work in processes of their own, bounded in time and memory; content may kill one of them, not us."""

import asyncio
import os
import resource
from collections.abc import Callable
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
        self._pool = ProcessPool(
            max_workers=count,
            max_tasks=_TASKS_PER_PROCESS,
            initializer=_limit,
            initargs=[memory_bytes],
            context=get_context("spawn"),
        )

    async def run(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Call a function of a module in a worker and give what it returned.

        Raises:
            Overran: it took too long, needed too much memory, or failed.
        """
        running = self._pool.schedule(
            _bounded, args=[self.timeout_s, work, *args], kwargs=dict(named), timeout=self.timeout_s
        )
        try:
            done = asyncio.wrap_future(running)
            while not (await asyncio.wait([done], timeout=_BEAT_EVERY_S))[0]:
                beat()
        finally:
            running.cancel()  # type: ignore[no-untyped-call]  # pebble leaves it out
        error = done.exception()
        if error is not None:
            raise Overran(self._explain(error)) from error
        result: T = done.result()
        return result

    def close(self) -> None:
        """Stop every worker."""
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble leaves it out
        self._pool.join()

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
