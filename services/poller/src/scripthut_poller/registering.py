"""Take other programs' `item.submitted`: their jobs are watched like our own, if they lie where we may read."""

import re
from collections.abc import Mapping, Sequence
from posixpath import normpath

import structlog

from scripthut_common import layout
from scripthut_common.bus import Message
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import BadMessage, InvalidInput, Problem
from scripthut_common.events import ItemEvent, decode

from .homes import Homes, expand
from .watchlist import announcements
from .watchlist.items import SOURCE

# What is no id of the scheduler's would be refused by every question that names it, and hide the others. The second
# and third forms are elements of arrays: `12_3`, `21[3].pbs01`.
_JOB_IDS = {
    SchedulerKind.SLURM: re.compile(r"[0-9]{1,10}(_[0-9]{1,7})?"),
    SchedulerKind.PBS: re.compile(r"[0-9]{1,10}(\[[0-9]{1,9}\])?(\.[A-Za-z0-9][A-Za-z0-9.-]{0,63})?"),
    SchedulerKind.LOCALHOST: re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"),
}

log = structlog.get_logger()


class Registering:
    """Puts announced items on the watchlist; what this poller announced itself is there already."""

    def __init__(self, database: Database, clusters: Mapping[str, Cluster], homes: Homes) -> None:
        self._database = database
        self._clusters = clusters
        self._homes = homes

    async def take(self, message: Message) -> None:
        """Take one announcement.

        Raises:
            PermanentError: it names something that we must not watch; the text says what.
            TransientError: it cannot be judged or stored yet.
        """
        told = decode(message.body)
        if told is None or not isinstance(told.data, ItemEvent):
            raise BadMessage(f"{message.routing_key} does not announce an item")
        cluster = self._clusters.get(told.cluster)
        if told.source == SOURCE or cluster is None:
            return
        item = told.data
        home = await self._homes.of(cluster.name)
        roots = [expand(root, home) for root in (cluster.log_dir, *cluster.announced_roots)]
        problems = check(item, roots, cluster.scheduler)
        if problems:
            shown = "; ".join(f"{problem.field} {problem.message}" for problem in problems)
            raise InvalidInput(f"item.submitted from {told.source!r}: {shown}", problems)
        user = item.owner if item.owner in cluster.adopted_users else None
        root = _root_of(item.output_dir, roots)
        if await announcements.register(self._database, item, log_dir=root, job_user=user):
            log.info("item_registered", run_id=item.run_id, task_id=item.task_id, source=told.source)


def check(item: ItemEvent, roots: Sequence[str], scheduler: SchedulerKind) -> list[Problem]:
    """Say why an announced item must not be watched; an empty answer means that it may.

    Args:
        item: what another program announced.
        roots: absolute; all its paths must lie beneath one of them.
        scheduler: whose id of one job it must name.
    """
    problems = [
        Problem(field=field, message=f"must be {layout.ID_RULE}")
        for field in ("run_id", "task_id")
        if not layout.is_id(getattr(item, field))
    ]
    if item.job_id is None or not _JOB_IDS[scheduler].fullmatch(item.job_id):
        problems.append(Problem(field="job_id", message="must be the scheduler's id of one job"))
    root = _root_of(item.output_dir, roots)
    for field in ("output_dir", "run_summary_path", "stdout_path", "stderr_path"):
        path = getattr(item, field)
        if path is not None and not _is_beneath(path, root):
            problems.append(Problem(field=field, message=f"must lie beneath {root}"))
    return problems


def _root_of(path: str, roots: Sequence[str]) -> str:
    """Give the deepest root that a path lies beneath; where there is none, that of the cluster's own logs."""
    return max((root for root in roots if _is_beneath(path, root)), key=len, default=roots[0])


def _is_beneath(path: str, root: str) -> bool:
    return "\0" not in path and normpath(path) == path and path.startswith(root.rstrip("/") + "/")
