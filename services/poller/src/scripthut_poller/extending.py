"""Extend runs: read the lists that tasks have generated, and add their tasks, all of a list or none."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from scripthut_common.database import Database
from scripthut_common.errors import BadOutput, InvalidInput, TimedOut, Unreachable
from scripthut_common.retrying import Backoff

from .generated import files, lists
from .generated.files import Absent, Content, Found, Refused
from .homes import Homes, expand
from .sites import Site, is_of
from .watchlist import extensions
from .watchlist.extensions import Due
from .watchlist.items import Key
from .watchlist.leases import Term

_LOOKING = Backoff(first_s=1.0, longest_s=15.0)
_HANGING_S = 60.0
_CANCELLED = "the run was cancelled before the list was read"

log = structlog.get_logger()


class Extending:
    """Extends the runs of one cluster, while this process holds it.

    Args:
        wake: called when there is something to submit.
    """

    def __init__(self, database: Database, site: Site, homes: Homes, wake: Callable[[], None]) -> None:
        self._database = database
        self._site = site
        self._homes = homes
        self._wake = wake
        self._limit = files.MAX_FILES

    async def step(self) -> bool:
        """Read the lists that are due; `True` when there may be more.

        Raises:
            TransientError: the cluster or the database is away; no list is the worse for it.
        """
        if not self._site.lease.is_held:
            return False
        term, limit = self._site.lease.term, self._limit
        due = await extensions.due(self._database, self._site.name, limit=limit)
        for one in due:
            if one.item.is_cancelled:
                await self._refuse(term, one, _CANCELLED)
        wanted: dict[str | None, list[Due]] = {}
        for one in due:
            if not one.item.is_cancelled:
                wanted.setdefault(self._site.whose(one.item.job_user), []).append(one)
        for account, theirs in wanted.items():
            await self._look(term, theirs, account)
        return len(due) == limit

    async def _look(self, term: Term, wanted: Sequence[Due], account: str | None) -> None:
        """Read the lists of one account's tasks. What keeps us from it holds up no other account's."""
        try:
            await self._look_as(term, wanted, account)
        except (Unreachable, TimedOut, BadOutput) as fault:
            if not is_of(account, fault):
                raise
            log.warning("lists_not_read", cluster=self._site.name, account=account, fault=str(fault))
            await extensions.postpone(self._database, term, {one.item.key: _HANGING_S for one in wanted}, tries=0)

    async def _look_as(self, term: Term, wanted: Sequence[Due], account: str | None) -> None:
        paths = await self._paths(wanted, account)
        for one in wanted:
            if one.item.key not in paths:
                await self._refuse(term, one, "only ~/ is known, no other account's ~; write the whole path")
        readable = [one for one in wanted if one.item.key in paths]
        if readable:
            await self._take(term, readable, await self._read(term, readable, paths, account))

    async def _paths(self, due: Sequence[Due], account: str | None) -> dict[Key, str]:
        """Say which file each list is; nothing for those that cannot be."""
        home = await self._homes.of(self._site.name, account) if due else ""
        paths: dict[Key, str] = {}
        for one in due:
            working_dir = expand(one.task.working_dir, home) if one.task.working_dir else home
            path = files.place(expand(one.task.generates_source or "", home), working_dir)
            if path is not None:
                paths[one.item.key] = path
        return paths

    async def _read(
        self, term: Term, due: Sequence[Due], paths: Mapping[Key, str], account: str | None
    ) -> Sequence[Found]:
        """Read files in one command. One that hangs must not hold up the others: fewer are read next time, it last."""
        try:
            found = await self._site.ask(files.read([paths[one.item.key] for one in due]), account)
        except TimedOut:
            self._limit = max(1, len(due) // 2)
            if len(due) == 1:
                await extensions.postpone(self._database, term, {due[0].item.key: _HANGING_S}, tries=0)
            raise
        self._limit = files.MAX_FILES
        return found

    async def _take(self, term: Term, due: Sequence[Due], found: Sequence[Found]) -> None:
        waits_s: dict[Key, float] = {}
        for one, answer in zip(due, found, strict=True):
            match answer:
                case Content(body=body):
                    await self._extend(term, one, body)
                case Refused(reason=reason):
                    await self._refuse(term, one, reason)
                case Absent(reason=reason) if self._has_waited_s(one) >= self._site.cluster.patience.listed_s:
                    await self._refuse(term, one, f"it could not be read for too long: {reason}")
                case Absent():
                    waits_s[one.item.key] = _LOOKING.delay_s(one.tries + 1)
        if waits_s:
            await extensions.postpone(self._database, term, waits_s)

    @staticmethod
    def _has_waited_s(one: Due) -> float:
        """Add up the pauses between the looks; only those that the cluster answered count."""
        return sum(_LOOKING.delay_s(failures) for failures in range(1, one.tries + 1))

    async def _extend(self, term: Term, one: Due, body: bytes) -> None:
        run_id = one.item.run_id
        known = await extensions.known_ids(self._database, run_id)
        try:
            parsed = await asyncio.to_thread(lists.parse, body)
            wanted = await asyncio.to_thread(lists.fit, parsed, known, working_dir=one.task.working_dir)
        except InvalidInput as error:
            await self._refuse(term, one, str(error))
            return
        if await extensions.accept(self._database, term, one.item.key, wanted, known):
            log.info("run_extended", run_id=run_id, task_id=one.item.task_id, tasks=len(wanted))
            self._wake()

    async def _refuse(self, term: Term, one: Due, reason: str) -> None:
        """Name the file as its author did, and why it is not taken."""
        error = f"the list {one.task.generates_source!r:.300} was not taken: {reason}"
        if await extensions.refuse(self._database, term, one.item.key, error):
            log.info("list_refused", run_id=one.item.run_id, task_id=one.item.task_id, error=error)
