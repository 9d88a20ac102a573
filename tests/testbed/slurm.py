"""A whole private Slurm cluster with accounting: munge, MariaDB, slurmdbd, slurmctld and its nodes."""

import os
import pwd
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.testbed import ports
from tests.testbed.accounts import ACCOUNTS, USERS, ensure_accounts
from tests.testbed.processes import Daemon, ServerError, run, wait_until
from tests.testbed.slurm_files import MARIADB_OPTIONS, write_slurm_files
from tests.testbed.workspaces import Server

PROGRAMS = tuple(Path("/usr/sbin", name) for name in ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd"))
_CGROUPS = Path("/sys/fs/cgroup")
_REVOKED_S = 3.0
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
)


class SlurmCluster(Server):
    """A running cluster; every daemon is a `Daemon` that a test may stop, kill, pause and start again.

    Attributes:
        conf: slurm.conf; whatever has it as SLURM_CONF talks to this cluster.
        slurmctld, slurmdbd, mariadbd, munged: the daemons.
        slurmds: the nodes' daemons by node name, `n1` and on.
        keeps_accounts: whether there is a slurmdbd.
    """

    def __init__(
        self, *, nodes: int = 2, named: str = "n", extra: str = "", cgroup: str = "", keeps_accounts: bool = True
    ) -> None:
        """Start the cluster and wait until its nodes are idle.

        Args:
            nodes: how many nodes, of 4 CPUs and 4000 MiB each.
            named: what their names begin with; a number follows.
            extra: more lines for slurm.conf, and lines that replace ours.
            cgroup: lines for cgroup.conf.
            keeps_accounts: whether there is accounting; without it slurmdbd and MariaDB are not started.
        """
        self._nodes = [f"{named}{number + 1}" for number in range(nodes)]
        self._extra = extra if keeps_accounts else f"AccountingStorageType=accounting_storage/none\n{extra}"
        self._cgroup = cgroup
        self.keeps_accounts = keeps_accounts
        super().__init__("slurm", "SLURM_CONF={directory}/etc/slurm.conf")

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to talk to this cluster."""
        return {"SLURM_CONF": str(self.conf)}

    @property
    def daemons(self) -> list[Daemon]:
        """Every daemon, each after those it needs."""
        accounts = [self.mariadbd, self.slurmdbd] if self.keeps_accounts else []
        return [self.munged, *accounts, self.slurmctld, *self.slurmds.values()]

    def close(self) -> None:
        """End the cluster, and remove what its daemons leave in the kernel's file system."""
        super().close()
        if self._cgroup:
            _remove_cgroups(self._nodes)

    def directory_of(self, user: str) -> Path:
        """Give the folder in which this user may write: for jobs' working directories, logs and outputs."""
        return self.directory / "users" / user

    def run(self, *argv: str, user: str | None = None, stdin: str = "") -> str:
        """Run a client command (`scontrol`, `sacct`, `sbatch` …) as root or as a user and return what it prints."""
        return run(argv, environment=self.environment, stdin=stdin, user=user)

    def submit(self, script: str, *options: str, user: str = ACCOUNTS[0]) -> str:
        """Hand in a batch script as a user and return the job's id; output goes to the user's folder."""
        chdir = f"--chdir={self.directory_of(user)}"
        return self.run("sbatch", "--parsable", chdir, *options, user=user, stdin=script).strip().partition(";")[0]

    def accounted(self, job_id: str) -> str:
        """Give the job's state in accounting; empty while there is none."""
        return self.run("sacct", "-X", "-n", "-P", "-j", job_id, "-o", "State").strip().partition(" ")[0]

    def wait_ended(self, job_id: str, timeout_s: float = 60) -> str:
        """Wait until accounting has an end for the job and return its state."""
        wait_until(lambda: self.accounted(job_id) in ENDED, f"job {job_id} to end", timeout_s, every_s=0.2)
        return self.accounted(job_id)

    def start_requeued(self, job_id: str) -> None:
        """Start a requeued job now; Slurm itself waits for two minutes.

        One that begins while its first execution is being ended, or in the same second, is failed by Slurm, for good:
        `Killing non-startable batch JobId=7: Job credential revoked` (slurmctld 22.05).
        """
        begins_later = [job_id, "PENDING", "BeginTime"]
        wait_until(
            lambda: self.run("squeue", "-h", "-j", job_id, "-o", "%i %T %r").split() == begins_later,
            f"job {job_id} to wait again",
            every_s=0.2,
        )
        time.sleep(_REVOKED_S)
        self.run("scontrol", "update", f"JobId={job_id}", "StartTime=now")

    def purge(self, job_id: str) -> None:
        """Have accounting forget a job, as a site's purge of old records does."""
        self._query(f"DELETE FROM slurm.testbed_job_table WHERE id_job = {int(job_id)}")

    @contextmanager
    def without(self, daemon: Daemon) -> Iterator[None]:
        """Have a daemon stopped for a while; nothing else is restarted."""
        daemon.stop()
        try:
            yield
        finally:
            daemon.start()
            self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until slurmctld answers and no node is down."""
        wait_until(self._has_nodes, "the nodes of the Slurm cluster to be up", every_s=0.05)

    def _start(self) -> None:
        ensure_accounts()
        for user in USERS:
            own = self._workspace.directory(f"users/{user}", 0o700)
            os.chown(own, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        for name in ("munge", "state", "spool"):
            self._workspace.directory(name)
        port_of = {name: ports.reserve_port() for name in ("slurmctld", "slurmdbd", "mariadbd", *self._nodes)}
        self.conf = write_slurm_files(
            self._workspace,
            host=socket.gethostname().partition(".")[0],
            ports=port_of,
            nodes=self._nodes,
            version=_version(),
            extra=self._extra,
            cgroup=self._cgroup,
        )
        self._start_daemons(port_of)
        if self.keeps_accounts:
            self._add_users()
        self.wait_idle()

    def _start_daemons(self, port_of: dict[str, int]) -> None:
        self.munged = self._munged().start()
        if self.keeps_accounts:
            self.mariadbd = self._mariadbd(port_of["mariadbd"]).start()
            self._grant()
            self.slurmdbd = self._slurm_daemon("slurmdbd", port_of["slurmdbd"]).start()
        self.slurmctld = self._slurm_daemon("slurmctld", port_of["slurmctld"]).start()
        self.slurmds = {node: self._slurm_daemon("slurmd", port_of[node], "-N", node).spawn() for node in self._nodes}
        for slurmd in self.slurmds.values():
            slurmd.wait_ready()

    def _slurm_daemon(self, program: str, port: int, *options: str) -> Daemon:
        return Daemon(
            [f"/usr/sbin/{program}", "-D", *options],
            self._workspace,
            name="-".join([program, *options[1:]]),
            is_ready=lambda: ports.is_open(port),
            environment=self.environment,
        )

    def _munged(self) -> Daemon:
        room = self.directory / "munge"
        self._workspace.write("munge/key", secrets.token_bytes(128), 0o400)
        files = {"socket": "sock", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={room / name}" for option, name in files.items()]
        return Daemon(
            ["/usr/sbin/munged", "--foreground", *options],
            self._workspace,
            is_ready=lambda: _accepts(room / "sock"),
        )

    def _mariadbd(self, port: int) -> Daemon:
        base = ["--no-defaults", "--user=root", f"--datadir={self.directory}/db"]
        # At its start a MariaDB removes the temporary tables of every other one that has the same folder for them.
        own = {"TMPDIR": str(self._workspace.directory("db-tmp"))}
        run(
            [
                "mariadb-install-db",
                *base,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--debug-no-sync",
            ],
            environment=own,
        )
        self._database_socket = self.directory / "db.sock"
        return Daemon(
            ["/usr/sbin/mariadbd", *base, f"--socket={self._database_socket}", f"--port={port}", *MARIADB_OPTIONS],
            self._workspace,
            is_ready=lambda: ports.is_open(port) and _accepts(self._database_socket),
            environment=own,
        )

    def _grant(self) -> None:
        self._query("CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm'; GRANT ALL ON *.* TO slurm@'127.0.0.1'")

    def _query(self, sql: str) -> None:
        run(["mariadb", "--no-defaults", f"--socket={self._database_socket}", "--user=root", f"--execute={sql}"])

    def _add_users(self) -> None:
        self.run("sacctmgr", "-i", "add", "account", "lab")
        self.run("sacctmgr", "-i", "add", "user", ",".join(ACCOUNTS), "account=lab")

    def _has_nodes(self) -> bool:
        try:
            states = self.run("sinfo", "-h", "-N", "-o", "%T").split()
        except (ServerError, subprocess.TimeoutExpired):
            return False
        return bool(states) and all(state in {"idle", "mixed", "allocated"} for state in states)


def _remove_cgroups(nodes: list[str]) -> None:
    """Remove the control groups of these nodes, children first: such a folder has no files that could be removed."""
    for node in nodes:
        for top in _CGROUPS.glob(f"*/slurm_{node}"):
            for folder, _, _ in os.walk(top, topdown=False):
                with suppress(FileNotFoundError):
                    Path(folder).rmdir()


def _version() -> tuple[int, int]:
    """Read `slurm-wlm 22.05.8`."""
    major, minor, *_ = run(["/usr/sbin/slurmd", "-V"]).split()[-1].split(".")
    return int(major), int(minor)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
