"""Which folder and port an embedded instance lives in: `var/<kind>-<port>`, found again by its port."""

import fcntl
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

FIRST_PORT = 8470
_PORTS_TRIED = 50
_LOCALHOST_CLUSTER = """\
# Written at the first start; yours to change.
[clusters.localhost]
scheduler = "localhost"
log_dir = "{log_dir}"
spool_dir = "{spool_dir}"
poll_interval_s = 1
commands_per_minute = 240
follow_interval_s = 2
"""


class PortTaken(Exception):
    """No free port; the text says what to do."""


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One embedded instance: everything that it keeps lies in `state`."""

    state: Path
    port: int

    @property
    def url(self) -> str:
        """Where people find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tokens_file(self) -> Path:
        """Who may come in."""
        return self.state / "door" / "tokens"

    @property
    def log_file(self) -> Path:
        """What the services say."""
        return self.state / "scripthut.log"

    def token(self) -> str:
        """The token of whom the tokens file names first: `<name> <role> <token>` a line, `#` begins a comment."""
        lines = (line.split() for line in self.tokens_file.read_text("utf-8").splitlines())
        return next(words[2] for words in lines if len(words) == 3 and not words[0].startswith("#"))

    def localhost_clusters(self) -> Path:
        """The clusters file of a machine without a scheduler, written once."""
        path = self.state / "clusters.toml"
        if not path.exists():
            cluster = self.state / "cluster"
            text = _LOCALHOST_CLUSTER.format(log_dir=_quoted(cluster / "logs"), spool_dir=_quoted(cluster / "spool"))
            path.write_text(text, "utf-8")
        return path


@contextmanager
def take(kind: str, below: Path, port: int | None) -> Iterator[Instance]:
    """Hold the instance of `port`; without one, the first that is free, those that were made before first.

    Raises:
        PortTaken: the port, or all of them, are in use.
    """
    for candidate in _candidates(kind, below) if port is None else (port,):
        instance = Instance(state=below / f"{kind}-{candidate}", port=candidate)
        with ExitStack() as held:
            if _is_free(candidate) and _lock(instance.state, held):
                yield instance
                return
    if port is not None:
        raise PortTaken(f"port {port} is in use; name another one: PORT={port + 1}")
    raise PortTaken(f"ports {FIRST_PORT} to {FIRST_PORT + _PORTS_TRIED - 1} are all in use; name a free one with PORT=")


def _candidates(kind: str, below: Path) -> Iterator[int]:
    names = (path.name.rpartition("-")[2] for path in below.glob(f"{kind}-*"))
    yield from sorted(int(name) for name in names if name.isdigit())
    yield from range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED)


def _lock(state: Path, held: ExitStack) -> bool:
    """Keep others out of a folder for as long as `held` lasts: one that starts has not opened its port yet."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = held.enter_context((state / "lock").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
