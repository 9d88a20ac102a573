"""How often the cluster is asked when 10,000 tasks end at once."""

from scripthut_common.clusters import CollectionLimits
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.ssh import SshShell
from scripthut_outputs.blobs import open_store
from scripthut_outputs.collector import Collector
from tests.bench import tasks
from tests.bench.table import Row
from tests.testbed.postgres import PostgresServer
from tests.testbed.sshd import Sshd

TASKS = 10_000
FILES = {f"table-{number}.csv": 512 for number in range(5)}
ALLOWED_TRIPS = 200


async def measure() -> list[Row]:
    """Collect all of them; the peer is what is allowed."""
    with PostgresServer() as postgres, Sshd() as sshd:
        log_dir = sshd.directory / "logs"
        tasks.write_tasks(log_dir, TASKS, FILES)
        cluster = tasks.cluster_at(sshd, sshd.port, CollectionLimits())
        shell = SshShell(cluster)
        async with tasks.catalog(postgres) as database:
            await tasks.want(database, log_dir, TASKS)
            blobs = open_store(str(sshd.directory / "blobs"))
            collector = Collector(
                database,
                blobs,
                {cluster.name: cluster},
                {cluster.name: AccountShells(cluster, lambda _: shell)},
                renderer="bench",
            )
            try:
                taken_s = await tasks.collect(collector, database, TASKS * len(FILES))
            finally:
                collector.close()
                await shell.close()
    return [
        Row(
            what=f"SSH round trips to collect {TASKS:,} tasks of {len(FILES)} files that end at once; {taken_s:.0f} s",
            ours=f"{shell.commands_run}",
            peer=f"allowed: {ALLOWED_TRIPS}",
            ratio=shell.commands_run / ALLOWED_TRIPS,
            target="≤ 1",
        )
    ]
