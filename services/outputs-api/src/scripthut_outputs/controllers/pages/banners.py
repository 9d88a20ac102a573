"""Say what stands between a page and the truth: clusters that do not answer, pollers that are silent. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from scripthut_common import text
from scripthut_common.events import RunState
from scripthut_outputs.catalog.views import ClusterView, RunOverview
from scripthut_outputs.controllers import standing
from scripthut_outputs.controllers.standing import Bounds

ALIVE = frozenset({RunState.PENDING, RunState.RUNNING})
_AS_OF_THEN = "The states below are as of then."
_MAX_DETAIL_CHARACTERS = 400


class Banner(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people should know before they read on: `title` since `since`: `detail`. `note`.

    `detail` is somebody else's text; `note` is ours.
    """

    title: str
    since: datetime | None = None
    detail: str = ""
    note: str = ""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the clusters at one moment: by name, which are in the clusters file, whether news can arrive."""

    clusters: Mapping[str, ClusterView]
    served: Collection[str]
    bounds: Bounds
    now: datetime
    is_bus_away: bool = False


def of_runs(runs: Sequence[RunOverview], moment: Moment) -> tuple[Banner, ...]:
    """Say what keeps these runs from being shown as they are; runs that are over and collected need nothing."""
    by_cluster: dict[str, list[RunOverview]] = {}
    for run in runs:
        if run.state in ALIVE or run.is_collecting:
            by_cluster.setdefault(run.cluster, []).append(run)
    told = [banner for name in sorted(by_cluster) for banner in _of_cluster(name, by_cluster[name], moment)]
    if by_cluster and moment.is_bus_away:
        note = "This service cannot reach its message broker just now; it catches up by itself when that is back."
        told.insert(0, Banner(title="No news arrives from any cluster: states below may be old", note=note))
    return tuple(told)


def _of_cluster(name: str, runs: Iterable[RunOverview], moment: Moment) -> Iterator[Banner]:
    if name not in moment.served:
        note = "It is not in the clusters file: nothing of it is watched or collected until it is put back."
        yield Banner(title=f"{name} is not looked after", note=note)
        return
    cluster = moment.clusters.get(name) or ClusterView(name=name, state=standing.UNKNOWN)
    alive_since = min((run.created_at for run in runs if run.state in ALIVE), default=None)
    watching = None if alive_since is None else _of_watching(cluster, alive_since, moment)
    if watching is not None:
        yield watching
    if cluster.collection_error:
        note = "New files will come later."
        yield Banner(title=f"Outputs cannot be collected from {name}", detail=_cut(cluster.collection_error), note=note)


def _of_watching(cluster: ClusterView, alive_since: datetime, moment: Moment) -> Banner | None:
    """Say what is wrong with the rounds of a cluster on which something is alive since `alive_since`."""
    name, good_at, detail = cluster.name, cluster.last_good_round_at, _cut(cluster.error or "")
    if moment.bounds.is_silent(cluster, moment.now):
        return _of_silence(cluster, alive_since, moment)
    since = good_at and max(good_at, alive_since)
    if cluster.state == standing.UNREACHABLE:
        title = f"{name} has not answered" if since else f"{name} does not answer"
        return Banner(title=title, since=since, detail=detail, note=_AS_OF_THEN if since else "")
    if cluster.state == standing.DEGRADED:
        note = "Submissions and verdicts may come late."
        return Banner(title=f"{name} answers only in part", since=since, detail=detail, note=note)
    if not standing.is_fine(cluster):
        return Banner(title=f"{name} is said to be {_cut(cluster.state)}", since=since, detail=detail)
    if moment.bounds.is_unseen(since or alive_since, moment.now):
        return Banner(title=f"No look at {name} has gone well", since=since or alive_since, note=_AS_OF_THEN)
    return None


def _of_silence(cluster: ClusterView, alive_since: datetime, moment: Moment) -> Banner | None:
    spoke_at = standing.last_word_at(cluster)
    title = f"Nothing has been heard of {cluster.name}"
    if spoke_at is not None:
        return Banner(title=title, since=spoke_at, detail=_cut(cluster.error or ""), note=_AS_OF_THEN)
    if (moment.now - alive_since).total_seconds() <= moment.bounds.silent_after_s:
        return None
    return Banner(title=title, since=alive_since, note="Nobody seems to watch it.")


def _cut(said: str) -> str:
    shown = text.line(said)
    return f"{shown[:_MAX_DETAIL_CHARACTERS]}…" if len(shown) > _MAX_DETAIL_CHARACTERS else shown
