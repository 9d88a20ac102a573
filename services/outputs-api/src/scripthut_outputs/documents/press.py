"""Run the renderer in a process of its own, bounded in time and memory; a document may kill it, not us."""

import asyncio
import os
import resource
from multiprocessing import get_context
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from scripthut_common.supervision import beat
from scripthut_outputs.rendering import Rendered, escape, render

MIB = 1024 * 1024
_DOCUMENTS_PER_PROCESS = 200
_BEAT_EVERY_S = 10.0


class Press:
    """Renders documents, as many at a time as it has workers; never fails: what cannot be rendered is escaped.

    Args:
        workers: processes; they start when first needed.
        timeout_s: one document may take so long.
        memory_bytes: one document may need so much.
        max_bytes: so much of a document is shown.
    """

    def __init__(
        self, *, workers: int = 1, timeout_s: float = 30.0, memory_bytes: int = 512 * MIB, max_bytes: int = MIB
    ) -> None:
        self.workers = workers
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._pool = ProcessPool(
            max_workers=workers,
            max_tasks=_DOCUMENTS_PER_PROCESS,
            initializer=_limit,
            initargs=[memory_bytes],
            context=get_context("spawn"),
        )

    async def render(self, document: bytes, *, size_bytes: int) -> Rendered:
        """Render the first bytes of a document that has `size_bytes` in all."""
        running = self._pool.schedule(
            _render, args=[document, size_bytes, self.max_bytes, self.timeout_s], timeout=self.timeout_s
        )
        try:
            done = asyncio.wrap_future(running)
            while not (await asyncio.wait([done], timeout=_BEAT_EVERY_S))[0]:
                beat()
        finally:
            running.cancel()  # type: ignore[no-untyped-call]  # pebble leaves it out
        error = done.exception()
        if error is None:
            return done.result()
        return escape(document, size_bytes=size_bytes, max_bytes=self.max_bytes, reason=self._explain(error))

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


def _render(document: bytes, size_bytes: int, max_bytes: int, timeout_s: float) -> Rendered:
    """Render in the worker, which ends by itself should the one who watches the clock be gone."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = int(spent.ru_utime + spent.ru_stime + timeout_s) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, resource.RLIM_INFINITY))
    return render(document, size_bytes=size_bytes, max_bytes=max_bytes)


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
