"""A catalog whose files grow old: what retention, sweep and verify are tested on."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import text

from scripthut_common.clusters import Cluster, Retention, SchedulerKind
from scripthut_outputs.catalog.relying import Relied
from scripthut_outputs.ledger import Place
from scripthut_outputs.retention import Keeper, Terms
from tests.integration.outputs.house import House, ended

GRACE_S = 3600.0


def cluster(**retention: Any) -> Cluster:
    """A cluster that keeps things so long."""
    return Cluster(name="daint", scheduler=SchedulerKind.LOCALHOST, retention=Retention(**retention))


def keeper(house: House, registry: CollectorRegistry | None = None, **retention: Any) -> Keeper:
    """What removes and sweeps, for a cluster that keeps things so long."""
    terms = Terms(grace_s=GRACE_S)
    return Keeper(house.database, house.blobs, {"daint": cluster(**retention)}, terms, registry or CollectorRegistry())


async def ended_task(house: House, task_id: str = "t0", run_id: str = "r1", *, days_ago: float = 0.0) -> None:
    """Have a task that ended so long ago, as its run was made."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    await house.apply(ended(task_id, run_id, ended_at=at))
    await change(house, "UPDATE outputs.runs SET created_at = :at WHERE run_id = :run", at=at, run=run_id)


async def keep_files(
    house: House, files: Mapping[bytes, bytes], task_id: str = "t0", run_id: str = "r1", place: Place = Place.OUTPUT
) -> dict[bytes, str]:
    """Store files as a collection does; their hashes by path."""
    kept = {path: await house.store(run_id, task_id, path, content, place) for path, content in files.items()}
    await Relied(house.database).touch({kept[path]: len(content) for path, content in files.items()})
    return kept


async def change(house: House, statement: str, **values: Any) -> None:
    """Change rows behind the service's back."""
    async with house.database.transaction() as connection:
        await connection.execute(text(statement), values)


async def let_grace_pass(house: House) -> None:
    """Let no collection have touched anything for longer than the grace."""
    await change(house, "UPDATE outputs.blobs SET touched_at = now() - interval '2 hours'")


async def states(house: House, run_id: str = "r1") -> dict[bytes, str]:
    """The states of a run's files by path."""
    return {
        row.path: row.state
        for row in await house.rows(f"SELECT path, state FROM outputs.files WHERE run_id = '{run_id}'")
    }


async def listed(house: House) -> set[str]:
    """The hashes of everything in the store."""
    return {blob.sha256 async for blob in house.blobs.list_blobs()}


def damage(house: House, sha256: str, content: bytes) -> None:
    """Change a blob behind the catalog's back."""
    Path(str(house.blobs.local_path(sha256))).write_bytes(content)
