"""What services hold: open files, connections, children; and what nobody holds any more."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import psycopg

from tests.testbed import warden
from tests.testbed.cutting import connections_to
from tests.testbed.processes import Daemon
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd
from tests.testbed.workspaces import MARK

Process = tuple[int, str | None]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """How much is open at one moment: files by process, and connections by server."""

    files: dict[str, int]
    children: dict[str, int]
    database: int
    broker: int
    login_node: int

    def counts(self) -> dict[str, int]:
        """Give every count by what it counts."""
        files = {f"open files of {name}": count for name, count in self.files.items()}
        children = {f"children of {name}": count for name, count in self.children.items()}
        servers = ("database", "broker", "login_node")
        return files | children | {f"connections to the {name}": getattr(self, name) for name in servers}


def grown(before: Sequence[Held], after: Sequence[Held], slack: int) -> list[str]:
    """Say which count was, at its lowest after, higher by more than the slack than at its highest before."""
    then = {name: max(held.counts()[name] for held in before) for name in before[0].counts()}
    now = {name: min(held.counts()[name] for held in after) for name in then}
    return [f"{now[name]} {name}, there were {then[name]}" for name in then if now[name] > then[name] + slack]


def look(pair: Pair, database_uri: str, rabbitmq: RabbitMq, vhost: str, sshd: Sshd) -> Held:
    """Count what is open now."""
    return Held(
        files={name: sum(1 for _ in Path(f"/proc/{daemon.pid}/fd").iterdir()) for name, daemon in pair.daemons.items()},
        children={name: len(warden.descendants({daemon.pid})) for name, daemon in pair.daemons.items()},
        database=_count_database(database_uri),
        broker=len(rabbitmq.vhosts.manage("GET", f"vhosts/{vhost}/connections")),
        login_node=connections_to(sshd.port),
    )


def strays_of(pair: Pair) -> set[Process]:
    """Find processes of the services that no living service has for a descendant, and dead ones that nobody took."""
    roots = {daemon.pid for daemon in pair.daemons.values()}
    families = roots | warden.descendants(roots)
    orphans = warden.marked({f"{MARK}={pair.directory}".encode()}) - families
    return {(pid, warden.start_time(pid)) for pid in orphans} | {(pid, None) for pid in families if _is_zombie(pid)}


def strays_on(slurm: SlurmCluster) -> set[Process]:
    """Find programs that somebody started on the cluster, by SSH or in a job."""
    marked = warden.marked({f"SLURM_CONF={slurm.conf}".encode()})
    own = _families(slurm.daemons)
    return {(pid, warden.start_time(pid)) for pid in marked - own}


def describe(processes: Iterable[Process]) -> list[str]:
    """Say what they are."""
    return [f"{pid}: {command_of(pid)[:200].decode(errors='replace')!r}" for pid, _ in processes]


def _families(daemons: Iterable[Daemon]) -> set[int]:
    roots = {daemon.pid for daemon in daemons}
    return roots | warden.descendants(roots)


def _count_database(uri: str) -> int:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(uri) as connection:
        row = connection.execute(asked).fetchone()
    return int(row[0]) if row else 0


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def command_of(pid: int) -> bytes:
    """Read a process's command line, its words ended by NUL; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
