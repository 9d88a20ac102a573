"""The shell over SSH: one multiplexed connection per cluster and identity, opened when first needed."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
import structlog

from scripthut_common.clusters import Cluster
from scripthut_common.errors import AccessRefused, HostNotTrusted, NoConnection, Unreachable
from scripthut_common.retrying import RECONNECTING, Backoff

from . import MIB, Program
from .bounded import Arrivals, BoundedShell, Running

log = structlog.get_logger()

# A refused key tried again and again looks like an attack to the cluster's guards.
_REFUSED = Backoff(first_s=1.0, longest_s=60.0)
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")
# Enough for 160 MiB/s over 50 ms; so much may wait here when the reader is slow.
_WINDOW_BYTES = 8 * MIB
_PACKET_BYTES = 256 * 1024
_KEEPALIVE_S = 15.0
_SESSION_WAITS_S = (0.02, 0.05, 0.1, 0.2, 0.4, None)
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"


class SshShell(BoundedShell):
    """Runs programs on one cluster as the account that its operator named.

    A host that cannot be reached is not asked again for a moment: callers meanwhile get the last fault.

    Args:
        cluster: host, account, keys and limits.
        clock: monotonic seconds.
    """

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(f"cluster '{cluster.name}'", asyncio.Semaphore(cluster.max_sessions))
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        if not cluster.check_host_key:
            log.warning("host_key_not_checked", cluster=cluster.name, host=cluster.host)
        self._cluster = cluster
        self._clock = clock
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting = asyncio.Lock()
        self._failures = 0
        self._last_fault: NoConnection | None = None
        self._not_before = 0.0

    async def close(self) -> None:
        """End the connection."""
        async with self._connecting:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.abort()
                await connection.wait_closed()

    async def start(self, line: str, stdin: bytes, program: Program) -> Running:
        """See `BoundedShell.start`."""
        connection = await self._connected()
        run = _SshRun(program.max_stderr_bytes)
        try:
            async with asyncio.timeout(self._cluster.connect_timeout_s):
                await self._open_session(connection, run, line)
        except asyncio.CancelledError:
            await run.end()
            raise
        except TimeoutError as error:
            self._drop(connection)
            waited_s = self._cluster.connect_timeout_s
            raise Unreachable(f"{self._where}: the connection has been dead for {waited_s:g} s") from error
        except asyncssh.ChannelOpenError as error:
            raise NoConnection(f"{self._where}: {self._explain_no_session(connection, error)}") from error
        except (asyncssh.Error, OSError) as error:
            self._drop(connection)
            raise Unreachable(f"{self._where}: the connection was lost: {_one_line(error)}") from error
        run.send(stdin)
        return run

    def _drop(self, connection: asyncssh.SSHClientConnection) -> None:
        """End a dead connection, so that the next program opens another; asyncssh takes a moment to call it closed."""
        connection.abort()
        if self._connection is connection:
            self._connection = None

    async def _open_session(self, connection: asyncssh.SSHClientConnection, run: "_SshRun", line: str) -> None:
        # sshd frees a session a moment after we see it closed: a refusal at full use is worth another try.
        for wait_s in _SESSION_WAITS_S:
            try:
                await connection.create_session(
                    lambda: run, line, encoding=None, window=_WINDOW_BYTES, max_pktsize=_PACKET_BYTES
                )
            except asyncssh.ChannelOpenError:
                if wait_s is None or connection.is_closed():
                    raise
                await asyncio.sleep(wait_s)
            else:
                return

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            if self._connection is not None and not self._connection.is_closed():
                return self._connection
            if self._last_fault is not None and self._clock() < self._not_before:
                raise type(self._last_fault)(str(self._last_fault))
            try:
                self._connection = await self._connect()
            except NoConnection as fault:
                self._remember(fault)
                raise
            self._failures, self._last_fault = 0, None
            return self._connection

    def _remember(self, fault: NoConnection) -> None:
        self._failures += 1
        self._last_fault = fault
        backoff = _REFUSED if isinstance(fault, AccessRefused) else RECONNECTING
        self._not_before = self._clock() + backoff.delay_s(self._failures)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        known_hosts = self._known_hosts()
        keys = self._keys()
        try:
            async with asyncio.timeout(self._cluster.connect_timeout_s):
                return await asyncssh.connect(
                    self._cluster.host,
                    self._cluster.port,
                    username=self._cluster.user or (),
                    known_hosts=known_hosts,
                    client_keys=keys,
                    config=None,
                    agent_path=None,
                    password=None,
                    preferred_auth=["publickey"],
                    encryption_algs=_CIPHERS,
                    compression_algs=["none"],
                    keepalive_interval=_KEEPALIVE_S,
                    keepalive_count_max=3,
                    connect_timeout=None,
                    login_timeout=self._cluster.connect_timeout_s,
                )
        except TimeoutError as error:
            waited_s = self._cluster.connect_timeout_s
            raise NoConnection(f"{self._address}: no connection within {waited_s:g} s") from error
        except (asyncssh.Error, OSError, ValueError) as error:
            raise self._translate(error, known_hosts) from error

    @property
    def _address(self) -> str:
        return f"{self._where} at {self._cluster.host}:{self._cluster.port}"

    def _known_hosts(self) -> list[str] | None:
        """The files that vouch for the host; `None`: no check."""
        if not self._cluster.check_host_key:
            return None
        named = self._cluster.known_hosts_file
        files = [named] if named else ["~/.ssh/known_hosts", _SYSTEM_KNOWN_HOSTS]
        found = [path for path in (Path(file).expanduser() for file in files) if path.is_file()]
        if not found:
            raise HostNotTrusted(
                f"{self._address}: no file vouches for its host key: {' and '.join(files)} "
                f"{'does' if named else 'do'} not exist. {self._scan_hint()}"
            )
        return [str(path) for path in found]

    def _keys(self) -> list[str] | tuple[()]:
        """The key to show; empty: the usual ones in ~/.ssh."""
        if self._cluster.key_file is None:
            return ()
        path = Path(self._cluster.key_file).expanduser()
        try:
            asyncssh.read_private_key(path)
        except asyncssh.KeyEncryptionError as error:
            raise AccessRefused(f"{self._address}: {path} needs a passphrase; name a key without one") from error
        except (OSError, asyncssh.KeyImportError) as error:
            raise AccessRefused(f"{self._address}: cannot read the key {path}: {_one_line(error)}") from error
        return [str(path)]

    def _translate(self, error: Exception, known_hosts: list[str] | None) -> NoConnection:
        match error:
            case asyncssh.HostKeyNotVerifiable() | asyncssh.KeyExchangeFailed() if known_hosts:
                return HostNotTrusted(f"{self._address}: {self._explain_host_key(error, known_hosts)}")
            case asyncssh.PermissionDenied():
                return AccessRefused(f"{self._address}: {self._explain_no_entry()}")
            case socket.gaierror():
                return NoConnection(f"{self._address}: the host name cannot be resolved: {_one_line(error)}")
            case _:
                return NoConnection(f"{self._address}: {_one_line(error)}")

    def _explain_host_key(self, error: Exception, known_hosts: list[str]) -> str:
        host, port = self._cluster.host, self._cluster.port
        files = " and ".join(known_hosts)
        if any(asyncssh.match_known_hosts(known_hosts, host, "", port)[:2]):
            return (
                f"its host key is not the one in {files} ({_one_line(error)}). Somebody may be in between; "
                f"if the cluster really has a new key, replace the old line there. {self._scan_hint()}"
            )
        return f"its host key is not known in {files}. {self._scan_hint()}"

    def _scan_hint(self) -> str:
        command = f"ssh-keyscan -p {self._cluster.port} {self._cluster.host}"
        return f"Get the key with `{command}`, compare it with what the site publishes, and add it to that file."

    def _explain_no_entry(self) -> str:
        user = self._cluster.user or "this process's user"
        key = self._cluster.key_file or "the keys in ~/.ssh"
        return (
            f"it does not let {user} in with {key}. Add the public key to ~/.ssh/authorized_keys of that account there."
        )

    def _explain_no_session(self, connection: asyncssh.SSHClientConnection, error: asyncssh.ChannelOpenError) -> str:
        if connection.is_closed():
            return f"the connection was lost: {_one_line(error)}"
        return f"it opens no further session ({_one_line(error)}); lower max_sessions below its MaxSessions"


class _SshRun(asyncssh.SSHClientSession[bytes]):
    """One session: gathers what the program writes, knows how it ended."""

    def __init__(self, max_stderr_bytes: int) -> None:
        self.stdout = Arrivals()
        self.stderr = bytearray()
        self.fault: str | None = None
        self._max_stderr_bytes = max_stderr_bytes
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._is_closed = False

    @property
    def exit_status(self) -> int | None:
        """What the server said; `None` when it said nothing."""
        return self._channel.get_exit_status() if self._channel else None

    def send(self, stdin: bytes) -> None:
        """Write all of standard input; asyncssh sends it as the window allows."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already; its answer says how
            if self._channel is not None:
                self._channel.write(stdin)
                self._channel.write_eof()

    async def end(self) -> None:
        """Kill the session's process group unless the session is closed already."""
        if self._is_closed or self._channel is None:
            return
        with contextlib.suppress(OSError):
            self._channel.kill()
        self._channel.abort()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        self.stdout.pause, self.stdout.resume = chan.pause_reading, chan.resume_reading

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype is None:
            self.stdout.put(data)
        else:
            self.stderr += data[: self._max_stderr_bytes - len(self.stderr)]

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the channel is closed, for whatever reason."""
        self.fault = _one_line(exc) if exc else None
        if self.fault is None and self.exit_status is None:
            self.fault = "the connection was lost, or the program was killed"
        self._is_closed = True
        self.stdout.end()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return "".join(character for character in text if character.isprintable())
