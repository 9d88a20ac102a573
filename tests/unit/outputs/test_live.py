"""Whatever happens in whichever order, a viewer is told of every change, and of none twice."""

import asyncio
import gc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.live import Hub
from scripthut_outputs.live.channel import Channel
from scripthut_outputs.live.viewer import Viewer
from tests.unit.outputs.watched import Table, Watcher, a_hub, running, settle, turn

TASKS = 4
FROM_NOW = 30
_NUMBERS = st.lists(st.integers(0, TASKS - 1), max_size=TASKS, unique=True)
_CHANGE = st.tuples(st.just("change"), st.tuples(_NUMBERS, _NUMBERS, st.integers(0, 1)))
_COME = st.tuples(st.just("come"), st.tuples(st.integers(0, FROM_NOW)))
_COME_BACK = st.tuples(st.just("come_back"), st.tuples(st.integers(0, 5)))
_TURN = st.tuples(st.just("turn"), st.tuples(st.integers(1, 12)))
_LOSE = st.tuples(st.just("lose_notifications"), st.just(()))
STEPS = st.lists(st.one_of(_CHANGE, _CHANGE, _COME, _COME_BACK, _TURN, _TURN, _LOSE), max_size=40)


class Play:
    """One order of events."""

    def __init__(self, group: asyncio.TaskGroup, hub: Hub, table: Table) -> None:
        self.watchers: list[Watcher] = []
        self._group = group
        self._hub = hub
        self._table = table
        self._is_deaf = False

    async def change(self, items: list[int], outputs: list[int], summaries: int) -> None:
        self._table.change(items, outputs, is_summary=bool(summaries))
        if not self._is_deaf:
            self._hub.hear("r1")

    async def come(self, version: int) -> None:
        """Begin to watch from some version, or from now on."""
        since = None if version == FROM_NOW else min(version, self._table.version)
        self.watchers.append(Watcher(self._hub, since))
        self.watchers[-1].come(self._group)

    async def come_back(self, number: int) -> None:
        """Lose the connection and open it again."""
        if self.watchers:
            watcher = self.watchers[number % len(self.watchers)]
            await watcher.leave()
            watcher.come(self._group)

    async def turn(self, times: int) -> None:
        await turn(times)

    async def lose_notifications(self) -> None:
        """Hear nothing; the second time hear again."""
        self._is_deaf = not self._is_deaf
        if not self._is_deaf:
            self._hub.begin()

    async def end(self) -> None:
        """Let everybody arrive at the last version."""
        self._table.change([], [], is_summary=False)
        self._hub.begin()
        await settle(lambda: all(watcher.version == self._table.version for watcher in self.watchers))
        for watcher in self.watchers:
            await watcher.leave()


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, limit=st.sampled_from([2, 100]))
def test_nothing_is_lost_and_nothing_told_twice(steps: list[tuple[str, tuple[Any, ...]]], limit: int) -> None:
    table = Table(TASKS)
    hub = a_hub(table, max_items=limit)

    async def act(group: asyncio.TaskGroup) -> None:
        play = Play(group, hub, table)
        for name, arguments in steps:
            await getattr(play, name)(*arguments)
        await play.end()
        for watcher in play.watchers:
            check(table, watcher, is_strict=limit > TASKS)

    asyncio.run(running(hub, act))


def check(table: Table, watcher: Watcher, *, is_strict: bool) -> None:
    since = watcher.since or 0
    told = {kind: [said for name, said in watcher.told if name == kind] for kind in ("item", "outputs", "summary")}
    for task_id, (version, outputs_version) in table.items.items():
        if version > since or watcher.since == 0:
            assert [task_id, version] in told["item"]
        if outputs_version > since:
            assert [task_id, outputs_version] in told["outputs"]
    if table.summary_version > since:
        assert table.summary_version in told["summary"]
    for kind, said in told.items():
        if is_strict or kind == "item":
            assert len(said) == len({str(one) for one in said}), (kind, said)


async def reads_for(viewers: int) -> int:
    """How often a run is read that so many have open and that changes five times."""
    table = Table(TASKS)
    hub = a_hub(table)
    watchers = [Watcher(hub, None) for _ in range(viewers)]

    async def act(group: asyncio.TaskGroup) -> None:
        for watcher in watchers:
            watcher.come(group)
        await settle(lambda: all(watcher.version == 1 for watcher in watchers))
        for _ in range(5):
            table.change([1], [], is_summary=False)
            hub.hear("r1")
            await settle(lambda: all(watcher.version == table.version for watcher in watchers))
        for watcher in watchers:
            await watcher.leave()

    await running(hub, act)
    return table.reads


async def test_a_run_is_read_once_for_all_who_have_it_open() -> None:
    assert await reads_for(1) == await reads_for(100)


async def test_when_all_have_left_nothing_is_held() -> None:
    table = Table(TASKS)
    hub = a_hub(table)

    async def act(group: asyncio.TaskGroup) -> None:
        watchers = [Watcher(hub, since) for since in (None, 0, 1)]
        for watcher in watchers:
            watcher.come(group)
        await settle(lambda: all(watcher.version == 1 for watcher in watchers))
        for watcher in watchers:
            await watcher.leave()
        reads = table.reads
        table.change([1], [], is_summary=False)
        hub.hear("r1")
        await turn(50)
        assert table.reads == reads
        assert hub.open_runs() == []

    await running(hub, act)
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Viewer | Channel)]


async def test_a_run_that_is_gone_ends_its_streams() -> None:
    table = Table(TASKS)
    hub = a_hub(table)

    async def act(group: asyncio.TaskGroup) -> None:
        watcher = Watcher(hub, None)
        watcher.come(group)
        await settle(lambda: watcher.version == 1)
        table.is_gone = True
        hub.hear("r1")
        await settle(lambda: hub.open_runs() == [])

    await running(hub, act)


async def test_who_takes_nothing_is_dropped_and_others_are_not() -> None:
    table = Table(TASKS)
    hub = a_hub(table, max_waiting_bytes=200)

    async def act(group: asyncio.TaskGroup) -> None:
        slow, quick = hub.view("r1", None), Watcher(hub, None)
        await anext(slow)
        quick.come(group)
        waiting = group.create_task(anext(slow))
        await turn(20)
        for _ in range(20):
            table.change([1], [1], is_summary=True)
            hub.hear("r1")
            await settle(lambda: quick.version == table.version)
        assert (await waiting).run.version == 2
        seen = [batch async for batch in slow]
        assert len(seen) < 19
        await quick.leave()

    await running(hub, act)
    dropped = hub.metrics.dropped.labels("full")._value.get()
    assert dropped == 1
