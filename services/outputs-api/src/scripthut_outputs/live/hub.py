"""The runs that somebody has open in this process: read when they change, never once for each viewer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic

from scripthut_common.errors import NotFound, TransientError
from scripthut_common.events import RunState
from scripthut_outputs.catalog.changes import ACCESS, CLUSTERS
from scripthut_outputs.catalog.views import ClusterView

from .channel import Channel
from .framing import HEARTBEAT
from .metrics import Metrics
from .telling import Batch, Source, Voice
from .tempo import Tempo

_READERS = 4
_ALIVE = frozenset({RunState.PENDING, RunState.RUNNING})
Clusters = Callable[[], Awaitable[Mapping[str, ClusterView]]]


class Hub:
    """Hears of changes, reads what they are and gives it to whoever has the run open.

    Args:
        source: where changes are read.
        clusters: how every cluster does, by name.
        voice: makes events of it.
        tempo: how often, how much.
        metrics: what is counted.

    Attributes:
        opened: set whenever a run is opened that nobody had open.
        is_closed: whether every stream is at its end.
    """

    def __init__(self, source: Source, clusters: Clusters, voice: Voice, tempo: Tempo, metrics: Metrics) -> None:
        self._source = source
        self._clusters = clusters
        self._voice = voice
        self._tempo = tempo
        self.metrics = metrics
        self.opened = asyncio.Event()
        self._channels: dict[str, Channel] = {}
        self._due: asyncio.Queue[Channel] = asyncio.Queue()
        self._clusters_changed = asyncio.Event()
        self._access_changed = asyncio.Event()
        self.is_closed = False

    def open_runs(self) -> list[str]:
        """The runs that somebody has open."""
        return list(self._channels)

    def alive_runs(self) -> list[str]:
        """The open runs of which something may still change by itself."""
        return [name for name, one in self._channels.items() if one.is_open and one.run.state in _ALIVE]

    def begin(self) -> None:
        """Read everything again: what happened before was not heard."""
        self._clusters_changed.set()
        self._access_changed.set()
        for channel in self._channels.values():
            self._call(channel)

    def hear(self, run_id: str) -> None:
        """Have a run read that changed."""
        channel = self._channels.get(run_id)
        if channel is not None:
            self._call(channel)
        elif run_id == CLUSTERS:
            self._clusters_changed.set()
        elif run_id == ACCESS:
            self._access_changed.set()

    def end(self) -> None:
        """Leave the streams open: whatever is missed is read at `begin`."""

    async def step(self) -> None:
        """Tell until cancelled; then every stream ends."""
        self.is_closed = False
        for channel in self._channels.values():
            channel.is_called = False
        self.begin()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_READERS):
                    group.create_task(self._read())
                group.create_task(self._watch_clusters())
                group.create_task(self._watch_access())
        finally:
            self.is_closed = True
            for channel in list(self._channels.values()):
                self._close(channel)

    async def view(self, run_id: str, since: int | None, *, was_away: bool = False) -> AsyncGenerator[Batch, None]:
        """Yield what changes of a run until it is gone, its viewer too slow or this process at its end.

        Args:
            run_id: the run.
            since: the version that the viewer holds; below 0: none that there could be. `None`: it wants to know
                where the run stands, and what changes from now on.
            was_away: it does not know how the run's cluster does, which has no version.

        Raises:
            NotFound: there is no such run, or not any more.
        """
        async with self._opened(run_id) as channel:
            if since is not None and since > channel.run.version:
                await channel.catch_up()
            run = channel.run
            is_known = since is not None and 0 <= since <= run.version
            version = since if since is not None and is_known else run.version
            if is_known:
                yield Batch(run, (channel.cluster,) if was_away else ())
            else:
                yield Batch(run, (self._voice.run(run, version) if since is None else self._voice.reset(run),))
            while version != channel.run.version:
                reached = channel.run.version
                async with aclosing(channel.newer(version)) as batches:
                    async for batch in batches:
                        yield batch
                version = reached
            with channel.attached() as viewer:
                while not (viewer.is_over or self.is_closed):
                    came = await viewer.take(self._tempo.heartbeat_s)
                    if came is not None:
                        yield came
                    elif not viewer.is_over:
                        yield Batch(channel.run, (HEARTBEAT,))

    @asynccontextmanager
    async def _opened(self, run_id: str) -> AsyncIterator[Channel]:
        channel = self._channels.get(run_id)
        if channel is None:
            channel = Channel(run_id, self._source, self._voice, self._tempo, self.metrics)
            self._channels[run_id] = channel
        channel.users += 1
        try:
            was_open = channel.is_open
            await channel.open(self._say_cluster)
            if not was_open:
                self.opened.set()
            yield channel
        finally:
            channel.users -= 1
            if not channel.users:
                self._close(channel)

    def _close(self, channel: Channel) -> None:
        """End a channel; whoever opens the run next begins anew."""
        channel.end()
        if self._channels.get(channel.run_id) is channel:
            del self._channels[channel.run_id]

    def _call(self, channel: Channel, delay_s: float = 0.0) -> None:
        """Have a channel read, not sooner than its spacing allows, and once more if it changes meanwhile."""
        channel.is_stale = True
        if not channel.is_called:
            channel.is_called = True
            wait_s = max(channel.read_at + self._tempo.spacing_s - monotonic(), delay_s, 0.0)
            asyncio.get_running_loop().call_later(wait_s, self._due.put_nowait, channel)

    async def _read(self) -> None:
        while True:
            channel = await self._due.get()
            channel.is_stale, channel.read_at = False, monotonic()
            delay_s = 0.0
            try:
                if channel.users:
                    await channel.open(self._say_cluster)
                    await channel.catch_up()
            except NotFound:
                self._close(channel)
            except TransientError:
                channel.is_stale, delay_s = True, self._tempo.retry_s
            channel.is_called = False
            if channel.is_stale:
                self._call(channel, delay_s)

    async def _watch_clusters(self) -> None:
        """Tell when a cluster does otherwise, and when its word has become too old."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tempo.heartbeat_s):
                    await self._clusters_changed.wait()
            self._clusters_changed.clear()
            with suppress(TransientError):
                await self._tell_clusters()

    async def _watch_access(self) -> None:
        """Have every viewer looked at again when somebody may less than before: a batch of nothing asks whose it is."""
        while True:
            await self._access_changed.wait()
            self._access_changed.clear()
            for channel in list(self._channels.values()):
                if channel.is_open:
                    channel.give()
            await asyncio.sleep(self._tempo.spacing_s)

    async def _tell_clusters(self) -> None:
        for channel in list(self._channels.values()):
            if channel.is_open:
                said = await self._say_cluster(channel.run.cluster)
                if said != channel.cluster:
                    channel.cluster = said
                    channel.give(said)

    async def _say_cluster(self, name: str) -> bytes:
        found = (await self._clusters()).get(name)
        return self._voice.cluster(found or ClusterView(name=name, state="unknown"))
