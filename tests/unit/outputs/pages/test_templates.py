"""Pages escape every name, load nothing from elsewhere and carry no script or style of their own."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import scripthut_outputs
from scripthut_common.errors import NotFound
from scripthut_common.events import ItemState, Outcome, RunState
from scripthut_outputs.catalog.asked import ItemsAsked, RunsAsked
from scripthut_outputs.catalog.views import Chosen, Group
from scripthut_outputs.controllers.inlining import Allowance, MaxInline
from scripthut_outputs.controllers.pages import assets, documents, filters, showing, templating
from scripthut_outputs.controllers.pages.banners import Banner
from scripthut_outputs.controllers.pages.cards import RunCard, run_card
from scripthut_outputs.ledger import FileState, OutputsState, Place

from . import samples

FOLDER = Path(scripthut_outputs.__file__).parent
HOSTILE = "</title></bdi></a><script>alert(1)</script><img src=x onerror=alert(1)>'\"`{{7*7}}\u202e\x1b[31m"


class Reader(HTMLParser):
    """Gathers what a browser would find."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def hostile_run_page() -> str:
    item = samples.item(
        task_name=HOSTILE, reason=HOSTILE, node=HOSTILE, job_id=HOSTILE, outcome=Outcome.FAILED, confirmed=False,
        outputs_state=OutputsState.FAILED,
    )  # fmt: skip
    name = HOSTILE.encode()
    found = samples.panel(
        samples.file(b"task-summary.md", HOSTILE),
        samples.file(name + b".md", HOSTILE),
        samples.file(name + b".png"),
        samples.file(name),
        samples.file(name, state=FileState.UNREADABLE, reason=HOSTILE),
        stderr=samples.log(Place.STDERR),
        collection_reason=HOSTILE,
    )
    allowance = Allowance(MaxInline(size_bytes=100_000))
    panel = showing.panel(item, found, {Place.STDERR: name}, allowance)
    overview = samples.run(
        name=HOSTILE, owner=HOSTILE, state=RunState.RUNNING, counts={"failed": 1, "running": 1, HOSTILE: 2},
        is_unfinished=True,
    )  # fmt: skip
    sections = documents.sections("r1", [samples.contribution(HOSTILE, task_name=HOSTILE)], allowance)
    return run_page(
        run=run_card(overview),
        bar=bar(run_card(overview), under=HOSTILE, word=HOSTILE, text=HOSTILE),
        rows=(panel.row,),
        panels={panel.row.task_id: panel},
        sections=sections,
        banners=(Banner(title=HOSTILE, detail=HOSTILE, note=HOSTILE, since=samples.AT),),
        is_later=True,
        next_url="/ui/runs/r1?cursor=x",
        viewer=HOSTILE,
        refresh_s=3,
    )


def bar(run: RunCard, count: int = 1, **asked: Any) -> filters.ItemsBar:
    """How the tasks of a run are seen; one group."""
    group = Group(prefix="train.", counts={"failed": 1, HOSTILE: 1})
    return filters.items_bar(run, ItemsAsked(**asked), Chosen(count=count, groups=(group,)))


def run_page(**shown: object) -> str:
    """The page of a run that is waiting and has nothing, but for what is given."""
    card = run_card(samples.run(state=RunState.PENDING))
    empty = {
        "run": card,
        "bar": filters.items_bar(card, ItemsAsked(), Chosen(count=0)),
        "rows": (),
        "panels": {},
        "sections": (),
        "is_summary_same": False,
        "banners": (),
        "is_later": False,
        "next_url": None,
        "since": -1,
        "pressed": "",
        "may_cancel": True,
        "may_collect": True,
        "may_pin": True,
        "sharing": None,
        "events": "/runs/r1/events",
        "version": 7,
    }
    return templating.write("run.html", **(empty | shown))


def test_no_name_breaks_out_of_its_place() -> None:
    reader = Reader(hostile_run_page())

    scripts = [attributes for tag, attributes in reader.tags if tag == "script"]
    assert [set(script) for script in scripts] == [{"type", "src"}]
    assert not [attributes for _, attributes in reader.tags if any(name.startswith("on") for name in attributes)]
    assert "49" not in hostile_run_page().replace("{{7*7}}", "").split("</head>")[0]


def test_everything_a_page_loads_is_ours() -> None:
    loaded = [
        value
        for _, attributes in Reader(hostile_run_page()).tags
        for name, value in attributes.items()
        if name in {"src", "srcset", "action"}
    ]

    assert loaded
    assert all(value and value.startswith(("/ui/", "/runs/r1/tasks/", "/logout")) for value in loaded)


def test_a_page_has_one_first_heading_and_its_headings_skip_none() -> None:
    levels = [int(tag[1]) for tag, _ in Reader(hostile_run_page()).tags if re.fullmatch("h[1-6]", tag)]

    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_every_id_of_a_page_is_used_once() -> None:
    ids = [attributes["id"] for _, attributes in Reader(hostile_run_page()).tags if "id" in attributes]

    assert len(ids) == len(set(ids))


def test_every_part_that_is_refreshed_has_an_id() -> None:
    parts = [attributes for _, attributes in Reader(hostile_run_page()).tags if "data-part" in attributes]

    assert parts
    assert all(part.get("id") for part in parts)


@pytest.mark.parametrize("template", sorted(path.name for path in (FOLDER / "templates").iterdir()))
def test_templates_have_no_inline_script_or_style(template: str) -> None:
    source = (FOLDER / "templates" / template).read_text("utf-8")

    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", source)


def test_authors_html_enters_a_page_in_one_place_alone() -> None:
    sources = [path.read_text("utf-8") for path in (FOLDER / "templates").iterdir()]

    assert sum(len(re.findall(r"\|\s*safe|autoescape|Markup", source)) for source in sources) == 1


def test_styles_name_colours_in_one_file_alone() -> None:
    for path in (FOLDER / "static").glob("*.css"):
        if path.name != "tokens.css":
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl|oklch", path.read_text("utf-8")), path.name


def test_a_panel_of_a_task_that_left_nothing_is_an_empty_page() -> None:
    item = samples.item(state=ItemState.PENDING, outcome=None, outputs_state=OutputsState.NONE)
    panel = showing.panel(item, samples.panel(), {}, Allowance(MaxInline(size_bytes=0)))

    page = templating.write(
        "task.html",
        run=run_card(samples.run()),
        panel=panel,
        facts=(),
        command="",
        banners=(),
        is_later=False,
        is_same=False,
        next_url=None,
    )

    assert "This task has left no files and no logs." in page


def test_static_files_are_found_by_version_and_name_alone() -> None:
    address = assets.url("main.js")
    _, _, _, version, name = address.split("/")

    assert assets.find(version, name).media_type == "text/javascript"
    for wrong_version, wrong_name in [("0" * 16, name), (version, "nothing.js"), (version, "../templates/base.html")]:
        with pytest.raises(NotFound):
            assets.find(wrong_version, wrong_name)


def test_a_run_without_tasks_says_that_they_will_come() -> None:
    assert "This run has no tasks yet. They appear here" in run_page()


def test_without_javascript_a_page_is_loaded_again_by_hand_and_never_by_itself() -> None:
    """What a reader has unfolded would fold again under their eyes. Source: WCAG 2.2, 2.2.1, failure F41."""
    moving, over = run_page(refresh_s=3), run_page(refresh_s=None)

    assert re.search(r'<noscript><p class="live">[^<]*<a href="">Load it again</a></p></noscript>', moving)
    assert "noscript" not in over
    assert not any("http-equiv" in attributes for page in (moving, over) for _, attributes in Reader(page).tags)


def test_a_filter_that_leaves_nothing_is_not_a_run_without_tasks() -> None:
    card = run_card(samples.run(state=RunState.RUNNING, counts={"running": 3}))

    page = run_page(run=card, bar=bar(card, count=0, text="nothing"))

    assert "No task of this run is like that." in page
    assert "has no tasks yet" not in page
    assert '<span class="tally">0 of 3</span>' in page


def test_a_list_without_runs_and_a_filter_without_runs_differ() -> None:
    def listed(**asked: Any) -> str:
        filtered = filters.runs_bar(RunsAsked(**asked), ["daint", "eiger"], may_choose_owner=True)
        shown = {"runs": (), "bar": filtered, "banners": (), "is_later": False, "next_url": None, "viewer": "ada"}
        return templating.write("runs.html", **shown)

    assert "No runs yet" in listed()
    assert "No run is like that" in listed(text=HOSTILE)
    assert "No runs yet" not in listed(text=HOSTILE)
    assert HOSTILE not in listed(text=HOSTILE, owner=HOSTILE, cluster=HOSTILE)


def test_a_run_that_waits_says_that_nothing_runs_yet() -> None:
    card = run_card(samples.run(state=RunState.PENDING, counts={"queued": 3}))

    assert "Nothing runs yet." in run_page(run=card, bar=bar(card))


def test_only_what_is_alive_and_ones_own_can_be_cancelled() -> None:
    alive = run_card(samples.run(state=RunState.RUNNING, counts={"running": 1, "queued": 2, "failed": 1}))
    over = run_card(samples.run(state=RunState.FAILED, counts={"failed": 1}))
    empty = run_card(samples.run(state=RunState.PENDING, counts={}))

    assert "Its tasks, which are still to come, are ended before they begin." in run_page(run=empty)
    assert "3 tasks that wait or run are ended for good." in run_page(run=alive)
    assert 'id="cancel"' not in run_page(run=alive, may_cancel=False)
    assert 'id="cancel"' not in run_page(run=over)


def test_a_run_of_which_something_could_not_be_collected_offers_to_try_again() -> None:
    unfinished = run_card(samples.run(is_unfinished=True))

    assert 'action="/ui/runs/r1/collect"' in run_page(run=unfinished)
    assert 'action="/ui/runs/r1/collect"' not in run_page()


def test_files_of_a_task_that_runs_are_shown_as_of_when_they_were_read() -> None:
    running = samples.item(state=ItemState.RUNNING, outcome=None, ended_at=None, followed_at=samples.AT)
    found = samples.panel(samples.file(b"loss.png"))
    panel = showing.panel(running, found, {}, Allowance(MaxInline(size_bytes=0)))

    page = run_page(rows=(panel.row,), panels={panel.row.task_id: panel})

    assert re.search(r"Running, as of <time[^>]*>3 Nov 2026, 17:05 UTC</time>", page)


def test_an_unknown_verdict_says_what_that_means() -> None:
    lost = samples.item(outcome=Outcome.UNKNOWN, confirmed=False, reason="the scheduler has no record of this job")
    panel = showing.panel(lost, samples.panel(), {}, Allowance(MaxInline(size_bytes=0)))

    page = run_page(rows=(panel.row,))

    assert "the scheduler has no record of this job" in page
    assert "Nobody knows how this ended" in page


def test_what_can_be_copied_waits_for_javascript() -> None:
    buttons = [attributes for _, attributes in Reader(run_page()).tags if "data-copy" in attributes]

    assert buttons
    assert all("hidden" in button for button in buttons)
