"""Take commands off the bus: store them and let go of the message; the work happens elsewhere."""

from collections.abc import Callable, Mapping

import structlog

from scripthut_common.accounts import is_account
from scripthut_common.bus import Message
from scripthut_common.clusters import AsWhom, Cluster
from scripthut_common.database import Database
from scripthut_common.errors import BadMessage
from scripthut_common.events import RunCancelRequested, RunRequested, decode

from .watchlist import requests
from .watchlist.requests import Terms

log = structlog.get_logger()


class Requesting:
    """Stores what is asked of the poller.

    Args:
        clusters: the clusters that this poller serves, by name.
        wake: told the name of a cluster for which there is something to do now.
    """

    def __init__(self, database: Database, clusters: Mapping[str, Cluster], wake: Callable[[str], None]) -> None:
        self._database = database
        self._clusters = clusters
        self._wake = wake

    async def take(self, message: Message) -> None:
        """Take one command.

        Raises:
            PermanentError: it can never be taken: unreadable, or against what was asked before.
            DatabaseUnavailable: it is not stored yet.
        """
        command = decode(message.body)
        match command and command.data:
            case RunRequested() as part:
                await self._store(part)
            case RunCancelRequested() as cancel:
                await requests.cancel(self._database, cancel)
                log.info("run_cancel_requested", run_id=cancel.run_id, by=cancel.requested_by)
                self._wake(cancel.cluster)
            case _:
                raise BadMessage(f"{message.routing_key} is not a command that the poller knows")

    async def _store(self, part: RunRequested) -> None:
        stands = await requests.store(self._database, part, self._terms(part))
        log.info("run_requested", run_id=part.run_id, cluster=part.cluster, part=part.part, parts=part.parts)
        if stands:
            self._wake(part.cluster)

    def _terms(self, part: RunRequested) -> Terms:
        cluster = self._clusters.get(part.cluster)
        if cluster is None:
            known = ", ".join(sorted(self._clusters)) or "none"
            return Terms(refusal=f"no cluster '{part.cluster}' is configured for this poller; configured: {known}")
        return Terms(log_dir=cluster.log_dir, refusal=_refusal(cluster, part.account))


def _refusal(cluster: Cluster, account: str | None) -> str | None:
    """Say why nothing may run as this account; `None` is the service's own."""
    if cluster.as_whom is AsWhom.SERVICE:
        if account is None:
            return None
        return (
            f"it is asked to run as {account[:80]!r}, but all jobs of cluster '{cluster.name}' run as the service's "
            "account: the services read different clusters files"
        )
    if account is None:
        return (
            f"it is asked to run as nobody in particular, but jobs of cluster '{cluster.name}' run as their owners: "
            "the services read different clusters files"
        )
    return None if is_account(account) else f"no job runs as {account[:80]!r} on cluster '{cluster.name}'"
