"""Show what a list is filtered and sorted by, and the addresses of every other way to see it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from scripthut_common import text
from scripthut_common.events import RunState
from scripthut_outputs.catalog.asked import ItemsAsked, ItemSort, RunsAsked, RunSort
from scripthut_outputs.catalog.views import Chosen, Group

from . import words
from .cards import RunCard, Share, shares

_RUN_SORTS = {
    RunSort.NEWEST: "newest",
    RunSort.OLDEST: "oldest",
    RunSort.NAME: "name",
    RunSort.STATE: "state",
}
_ITEM_SORTS = {
    ItemSort.ORDER: "as submitted",
    ItemSort.STATE: "failures first",
    ItemSort.DURATION: "longest",
    ItemSort.STARTED: "started last",
    ItemSort.NAME: "name",
}


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of several ways to see a list. `value` is what a form sends, `url` where a link leads."""

    label: str
    value: str = ""
    url: str = ""
    is_current: bool = False


class RunsBar(msgspec.Struct, frozen=True, kw_only=True):
    """What the list of runs is filtered and sorted by. `clear_url` leaves all filters out."""

    text: str
    owner: str
    sort: str
    clusters: tuple[Choice, ...]
    states: tuple[Choice, ...]
    sorts: tuple[Choice, ...]
    is_filtered: bool
    may_choose_owner: bool
    clear_url: str
    first_url: str


class Rollup(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks whose ids begin alike, as one line."""

    prefix: str
    url: str
    shares: tuple[Share, ...]
    count: int


class ItemsBar(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's tasks are filtered and sorted by. `found` of `all` are left; `crumbs` lead back out of a group."""

    under: str
    word: str
    text: str
    sort: str
    found: int
    all: int
    words: tuple[Choice, ...]
    sorts: tuple[Choice, ...]
    crumbs: tuple[Choice, ...]
    groups: tuple[Rollup, ...]
    has_more_groups: bool
    is_filtered: bool
    clear_url: str
    first_url: str


def runs_bar(asked: RunsAsked, clusters: Sequence[str], *, may_choose_owner: bool) -> RunsBar:
    """Show how the list of runs is seen; `clusters` are those that the reader has runs on."""
    listed = sorted({*clusters, *filter(None, [asked.cluster])})
    return RunsBar(
        text=asked.text,
        owner=asked.owner or "",
        sort=asked.sort,
        clusters=tuple(Choice(label=name, value=name, is_current=name == asked.cluster) for name in listed),
        states=tuple(
            Choice(label=words.RUNS[state].word, value=state, is_current=state is asked.state) for state in RunState
        ),
        sorts=tuple(
            Choice(label=label, url=runs_url(asked, sort=sort), is_current=sort is asked.sort)
            for sort, label in _RUN_SORTS.items()
        ),
        is_filtered=asked.is_filtered,
        may_choose_owner=may_choose_owner,
        clear_url=runs_url(RunsAsked(sort=asked.sort)),
        first_url=runs_url(asked),
    )


def items_bar(run: RunCard, asked: ItemsAsked, chosen: Chosen) -> ItemsBar:
    """Show how a run's tasks are seen."""
    return ItemsBar(
        under=asked.under,
        word=asked.word,
        text=asked.text,
        sort=asked.sort,
        found=chosen.count,
        all=run.items_count,
        words=tuple(_words(run, asked)),
        sorts=tuple(
            Choice(label=label, url=items_url(run.url, asked, sort=sort), is_current=sort is asked.sort)
            for sort, label in _ITEM_SORTS.items()
        ),
        crumbs=tuple(_crumbs(run, asked)),
        groups=tuple(_rollup(run, asked, group) for group in chosen.groups),
        has_more_groups=chosen.has_more_groups,
        is_filtered=asked.is_filtered,
        clear_url=items_url(run.url, ItemsAsked(sort=asked.sort)),
        first_url=items_url(run.url, asked),
    )


def runs_url(asked: RunsAsked, *, sort: RunSort | None = None, cursor: str | None = None) -> str:
    """Where the list of runs is seen so."""
    sort = sort or asked.sort
    return _url(
        "/ui/",
        {
            "q": asked.text,
            "cluster": asked.cluster,
            "owner": asked.owner,
            "state": asked.state,
            "sort": None if sort is RunSort.NEWEST else sort,
            "cursor": cursor,
        },
    )


def items_url(
    run_url: str,
    asked: ItemsAsked,
    *,
    sort: ItemSort | None = None,
    under: str | None = None,
    word: str | None = None,
    cursor: str | None = None,
) -> str:
    """Where a run's tasks are seen so; what is given stands for what was asked."""
    sort = sort or asked.sort
    return _url(
        run_url,
        {
            "q": asked.text,
            "under": asked.under if under is None else under,
            "state": asked.word if word is None else word,
            "sort": None if sort is ItemSort.ORDER else sort,
            "cursor": cursor,
        },
    )


def _url(path: str, values: Mapping[str, str | None]) -> str:
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{path}?{query}" if query else path


def _words(run: RunCard, asked: ItemsAsked) -> Iterator[Choice]:
    found = {share.word: share.chip.word for share in run.shares}
    if asked.word:
        found.setdefault(asked.word, words.of_count(asked.word).word)
    return (Choice(label=label, value=word, is_current=word == asked.word) for word, label in found.items())


def _crumbs(run: RunCard, asked: ItemsAsked) -> Iterator[Choice]:
    """Lead from the whole run to the group shown, dot by dot."""
    if not asked.under:
        return
    yield Choice(label="All tasks", url=items_url(run.url, asked, under=""))
    parts = asked.under.split(".")
    ends = [".".join(parts[:depth]) + "." for depth in range(1, len(parts))]
    for prefix in dict.fromkeys([*ends, asked.under]):
        is_current = prefix == asked.under
        yield Choice(label=text.name(prefix), url=items_url(run.url, asked, under=prefix), is_current=is_current)


def _rollup(run: RunCard, asked: ItemsAsked, group: Group) -> Rollup:
    return Rollup(
        prefix=group.prefix,
        url=items_url(run.url, asked, under=group.prefix),
        shares=shares(group.counts),
        count=sum(group.counts.values()),
    )
