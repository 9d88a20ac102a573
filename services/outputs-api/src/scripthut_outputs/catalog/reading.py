"""Everything that pages and endpoints read, each in one transaction, kept in memory until the run changes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common.database import Database
from scripthut_outputs.ledger import LedgerRow, Place

from . import changes, clusters, files, item_lists, items, ledgers, panels, run_lists, runs
from .asked import ItemsAsked, RunsAsked, Visible
from .changes import Cache
from .ledgers import Ledger
from .views import (
    Chosen,
    ClusterView,
    Contribution,
    Item,
    ItemList,
    Neighbours,
    Panel,
    Rendered,
    RunHead,
    RunList,
    RunOverview,
    RunSummary,
    TaskOutputs,
)

T = TypeVar("T")
_ALL_RUNS, _ALL_ITEMS = RunsAsked(), ItemsAsked()


class Reading:
    """The catalog's questions. Methods that name a run or a task raise `NotFound` where there is none.

    Args:
        renderer: version of the renderer whose documents are shown.
    """

    def __init__(self, database: Database, cache: Cache, *, renderer: str) -> None:
        self._database = database
        self._renderer = renderer
        self.cache = cache

    async def head(self, run_id: str) -> RunHead:
        """A run without its items."""
        return await self._kept(run_id, "head", lambda connection: runs.read_head(connection, run_id))

    def held_head(self, run_id: str) -> RunHead | None:
        """A run without its items if it is in memory."""
        held: RunHead | None = self.cache.held(run_id, "head")
        return held

    async def look_for(self, run_id: str) -> None:
        """Ask the database for a run, whatever is in memory, as `head` does for one that is not."""
        async with self._database.transaction() as connection:
            await runs.read_head(connection, run_id)

    async def runs(self, asked: RunsAsked = _ALL_RUNS, *, visible: Visible, limit: int, cursor: str | None) -> RunList:
        """A page of the runs asked for, of those that the reader may see; `visible` says which."""
        async with self._database.transaction() as connection:
            return await run_lists.read_list(connection, asked, visible=visible, limit=limit, cursor=cursor)

    async def run(self, run_id: str) -> RunOverview:
        """A run with the counts of its items."""
        return await self._kept(run_id, "overview", lambda connection: runs.read_overview(connection, run_id))

    async def items(self, run_id: str, asked: ItemsAsked = _ALL_ITEMS, *, limit: int, cursor: str | None) -> ItemList:
        """A page of a run's items."""
        async with self._database.transaction() as connection:
            return await item_lists.read_items(connection, run_id, asked, limit=limit, cursor=cursor)

    async def chosen(self, run_id: str, asked: ItemsAsked) -> Chosen:
        """How many items of a run a filter leaves, and how they are grouped."""
        return await self._kept(
            run_id, ("chosen", asked), lambda connection: item_lists.read_chosen(connection, run_id, asked)
        )

    async def item(self, run_id: str, task_id: str) -> Item:
        """One item with its definition and why its collection waits or failed."""
        return await self._kept(
            run_id, ("item", task_id), lambda connection: items.read_item(connection, run_id, task_id)
        )

    async def generated(self, run_id: str, task_id: str) -> list[tuple[str, str]]:
        """Ids and names of the tasks that one task has generated, in submission order."""
        async with self._database.transaction() as connection:
            return await items.read_generated(connection, run_id, task_id)

    async def outputs(self, run_id: str, task_id: str, *, limit: int, cursor: str | None) -> TaskOutputs:
        """A page of a task's output files, task summary first."""
        async with self._database.transaction() as connection:
            item = await items.read_item(connection, run_id, task_id)
            return await files.read_outputs(connection, item, renderer=self._renderer, limit=limit, cursor=cursor)

    async def rendered(self, run_id: str, task_id: str, place: Place, path: bytes) -> Rendered:
        """What stands for one Markdown file."""
        async with self._database.transaction() as connection:
            return await files.read_rendered(connection, run_id, task_id, place, path, renderer=self._renderer)

    async def panels(
        self, run_id: str, task_ids: Sequence[str], *, max_files: int, max_html_bytes: int
    ) -> dict[str, Panel]:
        """What a run's page shows of these tasks, by task."""
        limits = {"max_files": max_files, "max_html_bytes": max_html_bytes}
        async with self._database.transaction() as connection:
            return await panels.read_panels(connection, run_id, task_ids, renderer=self._renderer, **limits)

    async def summary(self, run_id: str) -> RunSummary:
        """What tasks contributed to the run's summary, in submission order."""
        async with self._database.transaction() as connection:
            run = await runs.read_head(connection, run_id)
            return await files.read_summary(connection, run, renderer=self._renderer)

    async def contribution(self, run_id: str, task_id: str) -> Contribution:
        """One task's section of the run's summary."""
        async with self._database.transaction() as connection:
            return await files.read_contribution(connection, run_id, task_id, renderer=self._renderer)

    async def log(self, run_id: str, task_id: str, place: Place) -> LedgerRow | None:
        """What we hold of a task's standard output or standard error."""
        return await self._kept(
            run_id, (place, task_id), lambda connection: files.read_log(connection, run_id, task_id, place)
        )

    async def file(self, run_id: str, task_id: str, path: bytes) -> LedgerRow:
        """The ledger row of one output file, by the exact bytes of its path."""
        return await self._kept(
            run_id,
            ("file", task_id, path),
            lambda connection: files.read_file(connection, run_id, task_id, Place.OUTPUT, path),
        )

    async def neighbours(self, run_id: str, task_id: str, path: bytes) -> Neighbours:
        """The stored files before and after one of a task's files."""
        async with self._database.transaction() as connection:
            return await files.read_neighbours(connection, run_id, task_id, path)

    async def ledgers(self, run_id: str, task_ids: Sequence[str], *, max_rows: int) -> list[Ledger]:
        """The whole ledgers of the first of these tasks, as many as one read takes; at least one."""
        async with self._database.transaction() as connection:
            return await ledgers.read_ledgers(connection, run_id, task_ids, max_rows=max_rows)

    async def stored_bytes(self, run_id: str) -> int:
        """How many bytes of a run we hold."""
        return await self._kept(run_id, "stored", lambda connection: ledgers.read_stored_bytes(connection, run_id))

    async def clusters(self) -> dict[str, ClusterView]:
        """How every cluster does that was ever heard of, by name, in their order."""
        return await self._kept(changes.CLUSTERS, "all", clusters.read_all)

    async def cluster_names(self, visible: Visible) -> frozenset[str]:
        """The clusters with runs that somebody may see; all for those who may see all."""
        if visible.is_all:
            return frozenset(await self.clusters())
        async with self._database.transaction() as connection:
            return await clusters.names_seen_by(connection, visible)

    async def _kept(self, run_id: str, key: object, read: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async def load() -> T:
            async with self._database.transaction() as connection:
                return await read(connection)

        return await self.cache.get(run_id, key, load)
