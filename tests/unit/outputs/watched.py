"""A run in memory that changes, viewers who note what they are told of it, and a hub between them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry

from scripthut_common.errors import NotFound
from scripthut_common.events import Evidence, ItemState, RunState
from scripthut_outputs.catalog.updates import Mark, Update
from scripthut_outputs.catalog.views import ClusterView, Item, RunOverview
from scripthut_outputs.ledger import OutputsState
from scripthut_outputs.live import Batch, Hub, Tempo, event
from scripthut_outputs.live.metrics import Metrics

NEVER_S = 3600.0


class Table:
    """A run as the catalog keeps it; a read takes some turns of the loop and sees one moment of them."""

    def __init__(self, tasks: int) -> None:
        self.version, self.summary_version, self.reads = 1, 0, 0
        self.items = {f"t{number}": (0, 0) for number in range(tasks)}
        self.turns = 0
        self.is_gone = False

    def change(self, items: Sequence[int], outputs: Sequence[int], *, is_summary: bool) -> None:
        self.version += 1
        for number in {*items, *outputs}:
            _, outputs_version = self.items[f"t{number}"]
            self.items[f"t{number}"] = (self.version, self.version if number in outputs else outputs_version)
        if is_summary:
            self.summary_version = self.version

    async def read(self, run_id: str, mark: Mark, *, limit: int) -> Update:
        assert run_id == "r1"
        self.reads += 1
        self.turns = (self.turns * 7 + 3) % 5
        await turn(self.turns)
        if self.is_gone:
            raise NotFound("there is no such run")
        newer = sorted((versions[0], name) for name, versions in self.items.items())
        newer = [place for place in newer if place > (mark.version, mark.task_id)]
        shown = newer[:limit]
        more = Mark(version=shown[-1][0], task_id=shown[-1][1]) if len(newer) > limit else None
        found = Update(
            run=overview(self.version, self.summary_version),
            items=tuple(an_item(name, *self.items[name]) for _, name in shown),
            next=more,
        )
        await turn(self.turns)
        return found


class Speaking:
    """Says versions, so that it can be seen what was told twice."""

    def items(self, items: Sequence[Item], after: int, until: int | None) -> bytes:
        told = b""
        for one in items:
            if (one.version > after or not after) and (until is None or one.version <= until):
                told += event("item", [one.task_id, one.version])
            if one.outputs_version > after and (until is None or one.outputs_version <= until):
                told += event("outputs", [one.task_id, one.outputs_version])
        return told

    def run(self, run: RunOverview, after: int) -> bytes:
        summary = event("summary", run.summary_version) if run.summary_version > after else b""
        return summary + event("run", run.version, version=run.version)

    def reset(self, run: RunOverview) -> bytes:
        return event("reset", {}) + self.run(run, run.version)

    def cluster(self, cluster: ClusterView) -> bytes:
        return event("cluster", cluster.state)


class Watcher:
    """A viewer that notes all that it is told, and comes back where it was cut."""

    def __init__(self, hub: Hub, since: int | None) -> None:
        self.hub = hub
        self.since = self.version = since
        self.told: list[tuple[str, object]] = []
        self._since_id: list[tuple[str, object]] = []
        self._task: asyncio.Task[None] | None = None

    def come(self, group: asyncio.TaskGroup) -> None:
        self._task = group.create_task(self._watch())

    async def leave(self) -> None:
        """What came after the last id is told again: it does not count."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._since_id.clear()

    def hear(self, batch: Batch) -> None:
        for block in b"".join(batch.pieces).split(b"\n\n")[:-1]:
            lines = dict(line.split(b": ", 1) for line in block.split(b"\n"))
            self._since_id.append((lines[b"event"].decode(), msgspec.json.decode(lines[b"data"])))
            if b"id" in lines:
                assert self.version is None or int(lines[b"id"]) >= self.version
                self.version = int(lines[b"id"])
                if self.since is None:
                    self.since = self.version
                self.told += self._since_id
                self._since_id.clear()

    async def _watch(self) -> None:
        async for batch in self.hub.view("r1", self.version):
            self.hear(batch)


def overview(version: int, summary_version: int) -> RunOverview:
    return RunOverview(
        run_id="r1",
        name="a run",
        cluster="daint",
        owner="ada",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        state=RunState.RUNNING,
        counts={},
        version=version,
        summary_version=summary_version,
    )


def an_item(task_id: str, version: int, outputs_version: int) -> Item:
    unknown = dict.fromkeys(Item.__struct_fields__)
    known = {"run_id": "r1", "task_id": task_id, "task_name": task_id, "cluster": "daint", "position": 0, "attempt": 1}
    words = {"state": ItemState.RUNNING, "evidence": Evidence.NONE, "outputs_state": OutputsState.NONE}
    return Item(**{**unknown, **known, **words, "version": version, "outputs_version": outputs_version})  # type: ignore[arg-type]


def a_hub(table: Table, **tempo: float) -> Hub:
    async def clusters() -> dict[str, ClusterView]:
        return {"daint": ClusterView(name="daint", state="reachable")}

    pace = Tempo(**{"spacing_s": 0.0, "heartbeat_s": NEVER_S, "retry_s": 0.0} | tempo)  # type: ignore[arg-type]
    return Hub(table, clusters, Speaking(), pace, Metrics(CollectorRegistry()))


async def turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def settle(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110  turns of the loop are what is counted
            await asyncio.sleep(0)


async def running(hub: Hub, act: Callable[[asyncio.TaskGroup], Awaitable[None]]) -> None:
    """Let the hub run while something is done."""
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(hub.step())
        await act(group)
        telling.cancel()
