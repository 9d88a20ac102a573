"""Which folder and port an embedded instance lives in: `var/<kind>-<port>`, found again by its port."""

import socket
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


def choose(kind: str, below: Path, port: int | None) -> Instance:
    """Take the instance of `port`; without one, the first that is free, those that were made before first.

    Raises:
        PortTaken: the port, or all of them, are in use.
    """
    if port is not None:
        if not _is_free(port):
            raise PortTaken(f"port {port} is in use; name another one: PORT={port + 1}")
        return _make(kind, below, port)
    made = sorted(int(name) for path in below.glob(f"{kind}-*") if (name := path.name.rpartition("-")[2]).isdigit())
    for candidate in (*made, *range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED)):
        if _is_free(candidate):
            return _make(kind, below, candidate)
    raise PortTaken(f"ports {FIRST_PORT} to {FIRST_PORT + _PORTS_TRIED - 1} are all in use; name a free one with PORT=")


def _make(kind: str, below: Path, port: int) -> Instance:
    state = below / f"{kind}-{port}"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Instance(state=state, port=port)


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
