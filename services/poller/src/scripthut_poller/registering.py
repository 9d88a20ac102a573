"""Take other programs' `item.submitted`: their jobs are watched like our own, if they lie where we may read."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from posixpath import normpath

import structlog

from scripthut_common import layout
from scripthut_common.bus import Message
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.errors import BadMessage, InvalidInput, Problem
from scripthut_common.events import ItemEvent, decode
from scripthut_common.manifest import MAX_ATTEMPT
from scripthut_common.tasks import MAX_NAME_CHARACTERS

from .homes import Homes, expand
from .schedulers.pbs import answers as pbs
from .schedulers.slurm import rows as slurm
from .watchlist import announcements
from .watchlist.items import SOURCE

_LOCAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# What is no id of the scheduler's would be refused by every question that names it, and hide the others.
_IS_JOB_ID: Mapping[SchedulerKind, Callable[[str], bool]] = {
    SchedulerKind.SLURM: slurm.is_job_id,
    SchedulerKind.PBS: lambda text: pbs.is_job_id(text) and not pbs.is_array(text),
    SchedulerKind.LOCALHOST: lambda text: _LOCAL_ID.fullmatch(text) is not None,
}
# What counts on from here must still have a column when it has grown.
_MOST = {"attempt": MAX_ATTEMPT, "sequence": 2**53, "position": 10**9}
_LONGEST = {"run_name": MAX_NAME_CHARACTERS, "task_name": MAX_NAME_CHARACTERS, "owner": 256}
_PATHS = ("output_dir", "run_summary_path", "stdout_path", "stderr_path")
_LONGEST_PATH_BYTES = 4096
# Times are calculated with, and shown in every zone.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

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
        roots: absolute; all its paths must lie beneath one of them. The first is that of the cluster's own logs.
        scheduler: whose id of one job it must name.
    """
    problems = [
        Problem(field=field, message=f"must be {layout.ID_RULE}")
        for field in ("run_id", "task_id")
        if not layout.is_id(getattr(item, field))
    ]
    if item.job_id is None or not _IS_JOB_ID[scheduler](item.job_id):
        problems.append(Problem(field="job_id", message="must be the scheduler's id of one job"))
    problems += _out_of_bounds(item)
    return problems or list(_misplaced(item, roots))


def _out_of_bounds(item: ItemEvent) -> Iterator[Problem]:
    """Yield what no item of ours could have, and what later transitions could not count on or write down."""
    for field, most in _MOST.items():
        if getattr(item, field) > most:
            yield Problem(field=field, message=f"must be at most {most}")
    for field, longest in _LONGEST.items():
        if len(getattr(item, field)) > longest:
            yield Problem(field=field, message=f"must have at most {longest} characters")
    for field in ("submitted_at", "job_submitted_at"):
        at = getattr(item, field)
        if at is not None and not _EARLIEST <= at < _LATEST:
            yield Problem(field=field, message=f"must lie between {_EARLIEST:%Y} and {_LATEST:%Y}")


def _misplaced(item: ItemEvent, roots: Sequence[str]) -> Iterator[Problem]:
    """Yield the paths that must not be read for this item."""
    root = _root_of(item.output_dir, roots)
    for field in _PATHS:
        path = getattr(item, field)
        if path is None:
            continue
        if len(path.encode("utf-8", "surrogatepass")) > _LONGEST_PATH_BYTES:
            yield Problem(field=field, message=f"must have at most {_LONGEST_PATH_BYTES} bytes")
        elif not _is_beneath(path, root):
            yield Problem(field=field, message=f"must lie beneath {root}")
        elif _is_of_another(path, item, roots[0]):
            yield Problem(field=field, message=f"is where another run's outputs lie, not those of {item.run_id}")


def _is_of_another(path: str, item: ItemEvent, log_dir: str) -> bool:
    """Say whether a path is one that runs submitted here are given, and not those of the announced item's run."""
    if not _is_beneath(path, log_dir):
        return False
    first, _, _ = path.removeprefix(log_dir.rstrip("/")).lstrip("/").partition("/")
    if first == "outputs":
        return not _is_beneath(path, layout.run_dir(log_dir, item.run_id))
    names = (item.run_id, item.task_id)
    return first.startswith("scripthut_") and path not in {
        layout.stdout_path(log_dir, *names),
        layout.stderr_path(log_dir, *names),
    }


def _root_of(path: str, roots: Sequence[str]) -> str:
    """Give the deepest root that a path lies beneath; where there is none, that of the cluster's own logs."""
    return max((root for root in roots if _is_beneath(path, root)), key=len, default=roots[0])


def _is_beneath(path: str, root: str) -> bool:
    return "\0" not in path and normpath(path) == path and path.startswith(root.rstrip("/") + "/")
