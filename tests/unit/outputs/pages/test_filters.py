"""Every way to see a list has an address, and keeps the rest of what was asked."""

from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.events import RunState
from scripthut_outputs.catalog.asked import ItemsAsked, ItemSort, RunsAsked, RunSort
from scripthut_outputs.catalog.views import Chosen, Group
from scripthut_outputs.controllers.pages import filters
from scripthut_outputs.controllers.pages.cards import run_card

from . import samples

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(text=_TEXTS, owner=_TEXTS, state=st.sampled_from([None, *RunState]), sort=st.sampled_from(RunSort))
def test_an_address_of_the_list_of_runs_says_what_was_asked(
    text: str, owner: str, state: RunState | None, sort: RunSort
) -> None:
    asked = RunsAsked(text=text, owner=owner or None, state=state, sort=sort)

    url = urlsplit(filters.runs_url(asked, cursor="x"))

    said = parse_qs(url.query, strict_parsing=True, keep_blank_values=True)
    assert url.path == "/ui/"
    assert said.get("q", [""]) == [text]
    assert said.get("owner", [""]) == [owner]
    assert said.get("state") == (None if state is None else [state.value])
    assert said.get("sort", ["newest"]) == [sort.value]
    assert said["cursor"] == ["x"]


@given(text=_TEXTS, under=_TEXTS, word=_TEXTS)
def test_an_address_of_a_runs_tasks_stays_on_that_run(text: str, under: str, word: str) -> None:
    url = urlsplit(filters.items_url("/ui/runs/r1", ItemsAsked(text=text, under=under, word=word)))

    assert (url.scheme, url.netloc, url.path, url.fragment) == ("", "", "/ui/runs/r1", "")


def test_groups_lead_down_and_crumbs_lead_up() -> None:
    card = run_card(samples.run(counts={"failed": 3, "succeeded": 2}))
    chosen = Chosen(count=4, groups=(Group(prefix="sim.1.a.", counts={"failed": 2, "succeeded": 1}),))

    bar = filters.items_bar(card, ItemsAsked(under="sim.1.", word="failed", sort=ItemSort.STATE), chosen)

    assert [(group.prefix, group.count) for group in bar.groups] == [("sim.1.a.", 3)]
    assert bar.groups[0].url == "/ui/runs/r1?under=sim.1.a.&state=failed&sort=state"
    assert [(crumb.label, crumb.is_current) for crumb in bar.crumbs] == [
        ("All tasks", False), ("sim.", False), ("sim.1.", True)
    ]  # fmt: skip
    assert bar.crumbs[0].url == "/ui/runs/r1?state=failed&sort=state"
    assert (bar.found, bar.all) == (4, 5)


def test_a_filter_that_nothing_is_like_stays_to_be_seen() -> None:
    bar = filters.items_bar(run_card(samples.run()), ItemsAsked(word="dreamt<b>"), Chosen(count=0))

    assert [(choice.label, choice.is_current) for choice in bar.words] == [("dreamt<b>", True)]
    runs = filters.runs_bar(RunsAsked(cluster="gone"), ["daint"], may_choose_owner=False)
    assert [(choice.label, choice.is_current) for choice in runs.clusters] == [("daint", False), ("gone", True)]
