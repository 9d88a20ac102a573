"""Hold the lease of one cluster: of several poller processes one asks it, and another takes over when that dies."""

import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from scripthut_common.database import Database
from scripthut_common.errors import LeaseLost

from .watchlist import leases
from .watchlist.leases import Term

LEASE_S = 20.0
RENEW_EVERY_S = 5.0

log = structlog.get_logger()


def holder_name() -> str:
    """Name this process: `host/machine and process namespace/process id/its start/a random mark`."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{_namespace()}/{pid}/{_start_of(pid)}/{secrets.token_hex(6)}"


def is_gone(holder: str) -> bool:
    """Say whether a process has surely ended: one that ran beside us, on this machine, and is no longer there."""
    _, _, rest = holder.partition("/")
    namespace, _, rest = rest.partition("/")
    pid, _, rest = rest.partition("/")
    start, _, _ = rest.partition("/")
    return namespace == _namespace() != "" and pid.isdigit() and start.isdigit() and _start_of(int(pid)) != start


def _namespace() -> str:
    """Name what process ids are unique in; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """Return when a process began, in clock ticks after the boot; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    # The second field is the program's name, which may hold anything; the 22nd is the start.
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in {"Z", "X"} else fields[18]


class Leasing:
    """Takes and renews the lease of one cluster.

    Args:
        holder: what this process is called; its loops share one lease.
        lease_s: how long others wait when this process says nothing more.
        on_taken: called when the cluster has become ours.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        cluster: str,
        holder: str,
        *,
        lease_s: float = LEASE_S,
        on_taken: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._holder = holder
        self._lease_s = lease_s
        self._on_taken = on_taken
        self._clock = clock
        self._term: Term | None = None
        self._held_until = 0.0

    @property
    def is_held(self) -> bool:
        """Whether this process may ask the cluster now."""
        return self._term is not None and self._clock() < self._held_until

    @property
    def term(self) -> Term:
        """The present term.

        Raises:
            LeaseLost: another process holds the cluster, or nobody could be asked for too long.
        """
        if self._term is None or not self.is_held:
            raise LeaseLost(f"cluster '{self._cluster}' is not held by this poller")
        return self._term

    async def step(self) -> None:
        """Take or renew the lease."""
        asked_at = self._clock()
        term = await leases.take(self._database, self._cluster, self._holder, self._lease_s, is_gone)
        before, self._term, self._held_until = self._term, term, asked_at + self._lease_s
        if term == before:
            return
        log.info("lease_changed", cluster=self._cluster, is_held=term is not None, epoch=term and term.epoch)
        if term is not None:
            self._on_taken()

    async def release(self) -> None:
        """Leave the cluster to others."""
        term, self._term = self._term, None
        if term is not None:
            await leases.release(self._database, term)
