"""Many due items at once, without files and without a place on the cluster."""

from sqlalchemy import text

from scripthut_common.database import Database
from tests.integration.collector.scene import CLUSTER

_RUNS = "INSERT INTO outputs.runs (run_id, name, cluster, owner) VALUES (:run, :run, :cluster, :owner)"
_ITEMS = (
    "INSERT INTO outputs.items (run_id, task_id, task_name, position) "
    "SELECT :run, 't' || n, 't', n FROM generate_series(0, :count - 1) AS n"
)
_COLLECTIONS = (
    "INSERT INTO outputs.collections (run_id, task_id, cluster, attempt, due_at, succeeded, is_alone) "
    "SELECT run_id, task_id, :cluster, 1, now(), :succeeded, :is_alone FROM outputs.items WHERE run_id = :run"
)


async def due(
    database: Database,
    runs: dict[str, int],
    *,
    succeeded: bool = True,
    is_alone: bool = False,
    cluster: str = CLUSTER,
    owner: str = "alice",
) -> None:
    """Have so many due items of each run, all of one owner."""
    async with database.transaction() as connection:
        for run_id, count in runs.items():
            await connection.execute(text(_RUNS), {"run": run_id, "cluster": cluster, "owner": owner})
            await connection.execute(text(_ITEMS), {"run": run_id, "count": count})
            flags = {"succeeded": succeeded, "is_alone": is_alone}
            await connection.execute(text(_COLLECTIONS), {"run": run_id, "cluster": cluster, **flags})
