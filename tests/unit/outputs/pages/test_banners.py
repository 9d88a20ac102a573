"""What a page says of clusters: only where it matters, and never more than is known."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from scripthut_common.events import RunState
from scripthut_outputs.catalog.views import ClusterView, RunOverview
from scripthut_outputs.controllers.pages import banners
from scripthut_outputs.controllers.standing import Bounds, is_stale
from tests.unit.outputs.pages import samples

NOW = samples.AT
RUN = samples.run(state=RunState.RUNNING, created_at=NOW - timedelta(hours=2))


def ago(seconds: float) -> Any:
    return NOW - timedelta(seconds=seconds)


def cluster(state: str = "reachable", **changed: Any) -> ClusterView:
    """What the poller said ten seconds ago, with a good round then."""
    said = {"last_good_round_at": ago(10), "observed_at": ago(10), "heard_at": ago(10)}
    return ClusterView(name="daint", state=state, **(said | changed))


def told(*clusters: ClusterView, run: RunOverview = RUN, **changed: Any) -> list[banners.Banner]:
    known = {one.name: one for one in clusters}
    moment = banners.Moment(clusters=known, served={"daint"}, bounds=Bounds(), now=NOW)
    return list(banners.of_runs([run], msgspec.structs.replace(moment, **changed)))


@pytest.mark.parametrize(
    ("seen", "title", "since"),
    [
        (cluster("unreachable", error="e", last_good_round_at=ago(420)), "daint has not answered", ago(420)),
        (cluster("unreachable", error="e", last_good_round_at=None), "daint does not answer", None),
        (cluster("unreachable", last_good_round_at=ago(90_000)), "daint has not answered", RUN.created_at),
        (cluster("degraded", error="e", last_good_round_at=ago(60)), "daint answers only in part", ago(60)),
        (cluster("dreaming", error="e"), "daint is said to be dreaming", ago(10)),
        (cluster("reachable", error="e"), "daint is said to be reachable", ago(10)),
        (cluster(observed_at=ago(121)), "Nothing has been heard of daint", ago(121)),
        (cluster(heard_at=ago(121), observed_at=ago(-9000)), "Nothing has been heard of daint", ago(121)),
        (cluster(last_good_round_at=ago(601)), "No look at daint has gone well", ago(601)),
        (cluster(last_good_round_at=None), "No look at daint has gone well", RUN.created_at),
    ],
)
def test_a_run_under_way_says_what_is_wrong_with_its_cluster(seen: ClusterView, title: str, since: Any) -> None:
    (banner,) = told(seen)

    assert (banner.title, banner.since) == (title, since)


@pytest.mark.parametrize("seen", [cluster(), cluster("unknown"), cluster(observed_at=ago(119), heard_at=ago(119))])
def test_a_cluster_that_is_fine_needs_no_words(seen: ClusterView) -> None:
    assert told(seen) == []


def test_a_cluster_that_was_idle_is_given_time_for_its_first_round() -> None:
    young = samples.run(state=RunState.PENDING, created_at=ago(30))

    assert told(cluster(last_good_round_at=ago(90_000)), run=young) == []
    assert told(run=young) == []


def test_a_cluster_that_nobody_ever_spoke_of_is_said_to_be_unwatched() -> None:
    (banner,) = told()

    assert (banner.title, banner.since) == ("Nothing has been heard of daint", RUN.created_at)


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.UNKNOWN])
def test_a_run_that_is_over_needs_no_words(state: RunState) -> None:
    over = samples.run(state=state)

    assert told(cluster("unreachable", collection_error="no key"), run=over, is_bus_away=True) == []
    assert told(run=over, served=()) == []


def test_a_run_whose_outputs_wait_says_why() -> None:
    over = samples.run(state=RunState.SUCCEEDED, is_collecting=True)

    (banner,) = told(cluster("unreachable", error="e", collection_error="no key"), run=over)
    (gone,) = told(cluster(), run=over, served=())

    assert (banner.title, banner.detail) == ("Outputs cannot be collected from daint", "no key")
    assert gone.title == "daint is not looked after"


def test_runs_of_other_clusters_are_not_bothered() -> None:
    elsewhere = samples.run(state=RunState.RUNNING, cluster="eiger", created_at=ago(1))

    assert told(cluster("unreachable"), run=elsewhere, served={"daint", "eiger"}) == []


def test_a_broker_that_is_away_is_told_in_words_for_readers() -> None:
    (banner,) = told(cluster(), is_bus_away=True)

    assert "states below may be old" in banner.title
    assert "message broker" in banner.note


def test_an_endless_error_is_cut_and_loses_what_turns_text_around() -> None:
    (banner,) = told(cluster("unreachable", error="\u202e\x1b[31m<b>" + "x" * 100_000))

    assert banner.detail.startswith("\ufffd<b>xxx")
    assert len(banner.detail) == 401


@pytest.mark.parametrize(
    "seen",
    [
        cluster("unreachable", last_good_round_at=ago(601)),
        cluster("degraded", last_good_round_at=None),
        cluster(heard_at=ago(121)),
        ClusterView(name="daint", state="unknown"),
    ],
)
def test_a_word_is_stale_when_it_is_old_or_says_itself_that_nothing_was_seen(seen: ClusterView) -> None:
    assert is_stale(seen, Bounds(), NOW)


@pytest.mark.parametrize(
    "seen",
    [
        cluster(),
        cluster("unknown", last_good_round_at=None),
        cluster(last_good_round_at=ago(90_000)),
        cluster("unreachable", last_good_round_at=ago(599)),
    ],
)
def test_a_fresh_word_is_not_stale_and_an_idle_cluster_has_no_rounds_to_be_late(seen: ClusterView) -> None:
    assert not is_stale(seen, Bounds(), NOW)
