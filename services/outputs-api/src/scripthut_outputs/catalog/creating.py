"""Write what people ask for: a new run with its items and the commands that start it; cancel; collect again."""

import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scripthut_common import events
from scripthut_common.accounts import account_of, is_account, is_services_own, told_account
from scripthut_common.clusters import AsWhom, Cluster
from scripthut_common.database import Database, now
from scripthut_common.errors import Conflict, NotAllowed
from scripthut_common.events import CloudEvent, RunCancelRequested, RunRequested, Type
from scripthut_common.outbox import Outbox
from scripthut_common.tasks import TaskSpec
from scripthut_outputs.tables import IDEMPOTENCY_KEYS, IDENTITIES, ITEMS, OUTBOX, RUNS

from . import auditing, runs
from .auditing import Act
from .changes import Cache, touch
from .collections import want, want_incomplete
from .items import read_item
from .run_document import Open, RunDocument

SOURCE = "scripthut-outputs"
_ENVELOPE_BYTES = 2048
_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_PRIVATE = Open(visibility="private")


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """The run that answers a request; `is_new` is false when it was there already."""

    run_id: str
    is_new: bool


class _Whose(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a run is, as which account its jobs run, and who may read it besides."""

    owner: str
    account: str | None
    opened: Open


class Creating:
    """The catalog's answers to what people ask for, each one transaction with its commands.

    Args:
        database: the catalog.
        cache: what readers of this process hold.
        clusters: say as whom their jobs run; where one is missing, as the service's own account.

    Who asks is in `act`, which is noted in the audit log with what it changes.
    """

    def __init__(
        self, database: Database, cache: Cache, clusters: Mapping[str, Cluster] = MappingProxyType({})
    ) -> None:
        self._database = database
        self._cache = cache
        self._clusters = clusters
        self._outbox = Outbox(OUTBOX)

    async def create(
        self,
        document: RunDocument,
        *,
        owner: str,
        idempotency_key: str | None = None,
        opened: Open = _PRIVATE,
        act: Act | None = None,
    ) -> Created:
        """Create a run, or find the one that the same request made before.

        Args:
            document: as asked for.
            owner: whose it is.
            idempotency_key: under which the same request is one run.
            opened: who may read it besides.
            act: of the audit log; its target is filled in.

        Raises:
            NotAllowed: its owner has no account on a cluster where jobs run as their owners.
            Conflict: the run id or the key was used for another document.
        """
        sha256 = document.sha256
        run_id = document.run_id or new_run_id()
        async with self._database.transaction() as connection:
            if idempotency_key is not None:
                earlier = await _earlier(connection, owner, idempotency_key, run_id, sha256)
                if earlier is not None:
                    return Created(run_id=earlier, is_new=False)
            account = await self._account(connection, document.cluster, owner)
            whose = _Whose(owner=owner, account=account, opened=opened)
            if not await _add_run(connection, document, run_id, whose, sha256):
                return Created(run_id=run_id, is_new=False)
            await connection.execute(insert(ITEMS), list(_item_rows(document, run_id)))
            at = await now(connection)
            await self._outbox.add(connection, list(_commands(document, run_id, owner, account, sha256, at)))
            told = {"cluster": document.cluster, "tasks": len(document.tasks)}
            await auditing.write(connection, act and act.on(run_id, details=told))
        self._cache.drop(run_id)
        return Created(run_id=run_id, is_new=True)

    async def _account(self, connection: AsyncConnection, name: str, owner: str) -> str | None:
        """Say as which account somebody's jobs run; `None`: as the service's own."""
        cluster = self._clusters.get(name)
        if cluster is None or cluster.as_whom is AsWhom.SERVICE:
            return None
        claimed = await connection.scalar(select(IDENTITIES.c.account).where(IDENTITIES.c.name == owner))
        account = account_of(cluster, owner, claimed=claimed)
        if account is None:
            why = _why_none(cluster, told_account(cluster, owner, claimed=claimed))
            raise NotAllowed(f"jobs on {name} run as their owners, and you have no account there: {why}")
        return account

    async def cancel(self, run_id: str, *, requested_by: str, act: Act | None = None) -> None:
        """Ask the poller to cancel what is alive of a run.

        Raises:
            NotFound: there is no such run.
        """
        async with self._database.transaction() as connection:
            run = await runs.read_head(connection, run_id)
            at = await now(connection)
            command = RunCancelRequested(run_id=run_id, cluster=run.cluster, requested_by=requested_by, requested_at=at)
            await self._outbox.add(connection, [events.event(Type.RUN_CANCEL_REQUESTED, command, source=SOURCE, at=at)])
            await auditing.write(connection, act and act.on(run_id))

    async def collect_again(self, run_id: str, task_id: str, *, act: Act | None = None) -> None:
        """Want a task's outputs once more.

        Raises:
            NotFound: there is no such task.
            Conflict: nobody has said yet where its outputs lie.
        """
        async with self._database.transaction() as connection:
            item = await read_item(connection, run_id, task_id)
            if item.output_dir is None:
                raise Conflict("the task was not submitted yet: there is nothing to collect")
            await want(connection, run_id, task_id, item.attempt, item.cluster)
            await touch(connection, run_id, items=[task_id])
            await auditing.write(connection, act and act.on(run_id, target=task_id))
        self._cache.drop(run_id)

    async def collect_run_again(self, run_id: str, *, act: Act | None = None) -> int:
        """Want once more what is not there whole of a run's ended tasks; tell of how many.

        Raises:
            NotFound: there is no such run.
        """
        async with self._database.transaction() as connection:
            run = await runs.read_head(connection, run_id)
            wanted = await want_incomplete(connection, run_id, run.cluster)
            if wanted:
                await touch(connection, run_id, items=wanted)
            await auditing.write(connection, act and act.on(run_id, details={"tasks": len(wanted)}))
        self._cache.drop(run_id)
        return len(wanted)


# By what a cluster's `accounts` is.
_MISSING = {
    "same": "your name here is not one that an account of a person can have",
    "claim": "whoever vouches for you names none; ask them",
    "table": "ask the operator to add you to the table of accounts",
}


def _why_none(cluster: Cluster, told: str | None) -> str:
    if told is not None and is_account(told) and is_services_own(cluster, told):
        return f"{told} is the service's own, as which nobody's jobs run; ask the operator for another"
    return _MISSING[cluster.accounts if isinstance(cluster.accounts, str) else "table"]


def new_run_id() -> str:
    """Make an id that begins with a letter and cannot be read as a number."""
    return "r" + "".join(secrets.choice(_ID_LETTERS) for _ in range(12))


async def _earlier(connection: AsyncConnection, owner: str, key: str, run_id: str, sha256: str) -> str | None:
    """Take the key for this request, or give the run that it was taken for."""
    row = {"owner": owner, "key": key, "run_id": run_id, "document_sha256": sha256}
    taken = insert(IDEMPOTENCY_KEYS).values(row).on_conflict_do_nothing().returning(IDEMPOTENCY_KEYS.c.key)
    if (await connection.execute(taken)).first() is not None:
        return None
    query = select(IDEMPOTENCY_KEYS.c.run_id, IDEMPOTENCY_KEYS.c.document_sha256)
    of_key = (IDEMPOTENCY_KEYS.c.owner == owner, IDEMPOTENCY_KEYS.c.key == key)
    earlier: str
    earlier, before = (await connection.execute(query.where(*of_key))).one()
    if before != sha256:
        raise Conflict("this Idempotency-Key was used for another run document; use a new key")
    return earlier


async def _add_run(connection: AsyncConnection, document: RunDocument, run_id: str, whose: _Whose, sha256: str) -> bool:
    run = {"run_id": run_id, "name": document.name, "cluster": document.cluster, "owner": whose.owner}
    more = {"account": whose.account, "document_sha256": sha256, "follow": document.follow}
    seen_by = {"visibility": whose.opened.visibility, "group": whose.opened.group}
    added = insert(RUNS).values({**run, **more, **seen_by}).on_conflict_do_nothing().returning(RUNS.c.run_id)
    if (await connection.execute(added)).first() is not None:
        return True
    query = select(RUNS.c.owner, RUNS.c.document_sha256).where(RUNS.c.run_id == run_id)
    if tuple((await connection.execute(query)).one()) != (whose.owner, sha256):
        raise Conflict(f"the run id {run_id} is taken by another document; choose another run_id")
    return False


def _item_rows(document: RunDocument, run_id: str) -> Iterator[dict[str, object]]:
    for position, task in enumerate(document.tasks):
        yield {
            "run_id": run_id,
            "task_id": task.id,
            "task_name": task.display_name,
            "position": position,
            "definition": _definition(task),
        }


def _definition(task: TaskSpec) -> dict[str, object]:
    """The task as asked; of its environment only the names, since values may be secrets."""
    written: dict[str, object] = msgspec.to_builtins(task)
    return {**written, "env": dict.fromkeys(task.env)} if task.env else written


def _commands(
    document: RunDocument, run_id: str, owner: str, account: str | None, sha256: str, at: datetime
) -> Iterator[CloudEvent]:
    portions = list(_portions(document))
    position = 0
    for number, portion in enumerate(portions):
        command = RunRequested(
            run_id=run_id,
            part=number,
            parts=len(portions),
            document_sha256=sha256,
            owner=owner,
            account=account,
            run_name=document.name,
            cluster=document.cluster,
            log_dir=document.log_dir,
            first_position=position,
            tasks=tuple(portion),
        )
        position += len(portion)
        yield events.event(Type.RUN_REQUESTED, command, source=SOURCE, at=at)


def _portions(document: RunDocument) -> Iterator[list[TaskSpec]]:
    """Cut the tasks into lists that fit into one command each."""
    head_bytes = len(msgspec.json.encode((document.name, document.log_dir))) + _ENVELOPE_BYTES
    portion: list[TaskSpec] = []
    size_bytes = head_bytes
    for task in document.tasks:
        task_bytes = len(msgspec.json.encode(task)) + 1
        if portion and size_bytes + task_bytes > events.MAX_PART_BYTES:
            yield portion
            portion, size_bytes = [], head_bytes
        portion.append(task)
        size_bytes += task_bytes
    yield portion
