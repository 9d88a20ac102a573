"""One run that somebody has open: how far it was read, and who is told."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from scripthut_outputs.catalog.updates import END, Mark, Update, after
from scripthut_outputs.catalog.views import RunOverview

from .metrics import Metrics
from .telling import Batch, Source, Voice
from .tempo import Tempo
from .viewer import Viewer


class Channel:
    """A run, read for all of its viewers together.

    All that changed up to `run.version`, and nothing of what changed later, was given to those who are attached.

    Attributes:
        users: requests that hold it.
        cluster: what was last said of its cluster.
        read_at: when it was last read, monotonic seconds.
        is_called, is_stale: it is to be read; it has changed since that reading began.
    """

    def __init__(self, run_id: str, source: Source, voice: Voice, tempo: Tempo, metrics: Metrics) -> None:
        self.run_id = run_id
        self.users = 0
        self.cluster = b""
        self.read_at = float("-inf")
        self.is_called = self.is_stale = False
        self._is_ended = False
        self._run: RunOverview | None = None
        self._source = source
        self._voice = voice
        self._tempo = tempo
        self._metrics = metrics
        self._viewers: set[Viewer] = set()
        self._reading = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it was read."""
        return self._run is not None

    @property
    def run(self) -> RunOverview:
        """The run as it was when it was last read."""
        if self._run is None:
            raise RuntimeError("a channel is read before it is used")
        return self._run

    async def open(self, say_cluster: Callable[[str], Awaitable[bytes]]) -> None:
        """Read where the run stands and how its cluster does, unless that is known.

        Raises:
            NotFound: there is no such run.
        """
        async with self._reading:
            if self._run is None:
                run = (await self._read(END)).run
                self.cluster = await say_cluster(run.cluster)
                self._run = run

    async def catch_up(self) -> None:
        """Read what changed since the last time, once for everybody, and give it to everybody.

        Raises:
            NotFound: there is no such run any more.
        """
        async with self._reading:
            before, mark, pieces = self.run, after(self.run.version), list[bytes]()
            while True:
                update = await self._read(mark)
                if update.items:
                    pieces.append(self._voice.items(update.items, before.version, None))
                if update.next is None:
                    break
                mark = update.next
            self._run = update.run
            if update.run.version > before.version:
                self.give(*pieces, self._voice.run(update.run, before.version))
            elif update.run.version < before.version:
                # As after a restored backup.
                self.give(self._voice.reset(update.run))

    async def newer(self, version: int) -> AsyncGenerator[Batch, None]:
        """Yield what changed after a version up to where the channel stands now, for one viewer, a page at a time.

        What changes meanwhile is told to all who are attached. An item that changes between two pages stands in both
        and is told once.

        Raises:
            NotFound: there is no such run any more.
        """
        run, mark, told = self.run, after(version), set[str]()
        while True:
            update = await self._read(mark)
            items = [item for item in update.items if item.task_id not in told]
            if items:
                yield Batch(update.run, (self._voice.items(items, version, run.version),))
            told.update(item.task_id for item in items)
            if update.next is None:
                break
            mark = update.next
        yield Batch(run, (self._voice.run(run, version),))

    def give(self, *pieces: bytes) -> None:
        """Give events to all who are attached."""
        batch = Batch(self.run, pieces)
        self._metrics.batches.inc()
        for viewer in list(self._viewers):
            if not viewer.put(batch):
                self._viewers.discard(viewer)
                self._metrics.dropped.labels("full").inc()

    @contextmanager
    def attached(self) -> Iterator[Viewer]:
        """Give a queue in which everything arrives that changes from now on."""
        viewer = Viewer(self._tempo.max_waiting_bytes)
        viewer.is_over = self._is_ended
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    def end(self) -> None:
        """End the streams of all who are attached, or will be."""
        self._is_ended = True
        for viewer in self._viewers:
            viewer.end()
        self._viewers.clear()

    async def _read(self, mark: Mark) -> Update:
        self._metrics.reads.inc()
        return await self._source.read(self.run_id, mark, limit=self._tempo.max_items)
