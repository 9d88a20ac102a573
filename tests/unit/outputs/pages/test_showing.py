"""What the catalog says becomes what people read: words, order, and nothing twice."""

from datetime import timedelta
from typing import Any

import pytest

from scripthut_common.events import ItemState, Outcome, RunState
from scripthut_outputs.catalog.views import Panel
from scripthut_outputs.controllers.inlining import Allowance, MaxInline
from scripthut_outputs.controllers.pages import documents, showing, words
from scripthut_outputs.controllers.pages.cards import run_card
from scripthut_outputs.controllers.pages.rows import row
from scripthut_outputs.ledger import FileState, OutputsState, Place

from . import samples

PICTURE = "/runs/r1/tasks/train-0/outputs/file/a.png"


def allowance(size_bytes: int = 100_000) -> Allowance:
    return Allowance(MaxInline(size_bytes=size_bytes))


def shown(found: Panel, tails: dict[Place, bytes] | None = None, **changed: Any) -> showing.TaskPanel:
    return showing.panel(samples.item(**changed), found, tails or {}, allowance())


def test_every_state_and_outcome_has_a_word_and_an_icon() -> None:
    chips = [words.of_item(state, None) for state in ItemState]
    chips += [words.of_item(ItemState.FINAL, outcome) for outcome in Outcome]
    chips += [words.RUNS[state] for state in RunState]

    assert all(chip.word and chip.icon for chip in chips)


def test_every_reason_to_leave_a_file_out_has_words() -> None:
    assert set(words.LEFT_OUT) == set(FileState) - {FileState.STORED}


def test_a_bar_has_a_segment_for_each_word_and_is_full() -> None:
    card = run_card(samples.run(counts={"pending": 1, "succeeded": 2, "failed": 1, "running": 0}))

    assert [share.chip.word for share in card.shares] == ["Succeeded", "Failed", "Waiting"]
    assert card.shares[-1].start + card.shares[-1].width == pytest.approx(100)


def test_a_signal_is_named() -> None:
    assert row(samples.item(exit_code=None, signal=15), has_panel=False).exit == "signal 15 (TERM)"
    assert row(samples.item(exit_code=None, signal=99), has_panel=False).exit == "signal 99"


def test_an_unconfirmed_ending_says_so() -> None:
    preempted = row(samples.item(confirmed=False, outcome=Outcome.PREEMPTED, reason="made way"), has_panel=False)
    unknown = row(samples.item(confirmed=False, outcome=Outcome.UNKNOWN, reason="no record"), has_panel=False)

    assert [note.words for note in preempted.notes] == ["made way", "not confirmed by the scheduler"]
    assert unknown.notes[0].words == "no record"
    assert "Nobody knows how this ended" in unknown.notes[1].words


def test_the_task_summary_comes_first_and_apart_from_other_documents() -> None:
    found = samples.panel(samples.file(b"task-summary.md", "one"), samples.file(b"a/notes.md", "two"))

    panel = shown(found)

    assert panel.summary is not None
    assert panel.summary.html == "<p>one</p>"
    assert [document.name for document in panel.documents] == ["a/notes.md"]


def test_without_a_task_summary_every_document_is_one_of_the_others() -> None:
    panel = shown(samples.panel(samples.file(b"notes.md", "two")))

    assert panel.summary is None
    assert [document.name for document in panel.documents] == ["notes.md"]


def test_an_image_that_a_document_shows_is_not_shown_again() -> None:
    found = samples.panel(
        samples.file(b"task-summary.md", "![](loss.png)"), samples.file(b"loss.png"), samples.file(b"other.svg")
    )

    panel = shown(found)

    assert [figure.name for figure in panel.figures] == ["other.svg"]
    assert [file.name for file in panel.files] == ["task-summary.md", "loss.png", "other.svg"]


def test_links_of_a_document_in_a_folder_start_there() -> None:
    panel = shown(samples.panel(samples.file(b"sub/notes.md", "![](x.png)")))

    assert '<img src="/runs/r1/tasks/train-0/outputs/file/sub/x.png"' in (panel.documents[0].html or "")


def test_a_document_that_waits_and_one_that_is_long_are_told_apart() -> None:
    waiting = samples.file(b"waiting.md")
    long = samples.file(b"long.md")
    found = samples.panel(waiting, long, too_long=frozenset({b"long.md"}))

    panel = shown(found)

    assert [(document.html, document.is_long) for document in panel.documents] == [(None, False), (None, True)]


def test_left_out_files_carry_their_reason() -> None:
    big = samples.file(b"big.bin", state=FileState.TOO_LARGE, reason="10 MiB at most", size_bytes=2**30)
    many = samples.file(b"", state=FileState.OVER_COUNT, count=90, size_bytes=None)

    panel = shown(samples.panel(big, many))

    assert [(left.name, left.size, left.count, left.reason) for left in panel.left_out] == [
        ("big.bin", "1.0 GiB", 1, "larger than one file may be: 10 MiB at most"),
        ("", "", 90, "beyond the number of files that are kept"),
    ]
    assert panel.files == ()
    assert panel.has_anything


def test_a_failed_task_shows_its_error_output_unfolded() -> None:
    found = samples.panel(stderr=samples.log(Place.STDERR), stdout=samples.log(Place.STDOUT))
    tails = {Place.STDERR: b"line\n" * 500, Place.STDOUT: b"fine\n"}

    panel = shown(found, tails, outcome=Outcome.FAILED, exit_code=3)

    assert [(log.title, log.is_open, log.html) for log in panel.logs] == [
        ("Standard error", True, "\n".join(["line"] * showing.MAX_LOG_LINES)),
        ("Standard output", False, "fine"),
    ]
    assert panel.logs[0].is_cut


def test_empty_logs_are_not_shown() -> None:
    found = samples.panel(stderr=samples.log(Place.STDERR, stored_bytes=0))

    assert shown(found, {Place.STDERR: b""}).logs == ()


def test_a_failed_collection_is_said_in_words() -> None:
    found = samples.panel(collection_reason="cluster 'daint': no connection within 20 s")

    panel = shown(found, outputs_state=OutputsState.FAILED)

    assert panel.collection == "Outputs could not be collected. cluster 'daint': no connection within 20 s"
    assert panel.is_collection_failed
    assert panel.may_collect_again


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        (OutputsState.PENDING, None, "Outputs wait to be collected."),
        (OutputsState.PENDING, "no python3", "Outputs wait to be collected. no python3"),
        (OutputsState.PARTIAL, "1 of 2 files not yet visible", "More may come. 1 of 2 files not yet visible"),
        (OutputsState.INCOMPLETE, None, "Some files could not be collected; they are listed with the reason."),
        (OutputsState.COLLECTED, None, ""),
        (OutputsState.COLLECTED, "exit record cannot be read", "exit record cannot be read"),
        (OutputsState.NONE, None, ""),
    ],
)
def test_a_collection_that_is_not_whole_says_so(state: OutputsState, reason: str | None, told: str) -> None:
    panel = shown(samples.panel(collection_reason=reason), outputs_state=state)

    assert panel.collection == told


def test_what_may_be_collected_again_is_what_is_not_all_here() -> None:
    failing = samples.panel(collection_reason="no python3")

    asked = {state for state in OutputsState if shown(samples.panel(), outputs_state=state).may_collect_again}

    assert asked == {OutputsState.PARTIAL, OutputsState.INCOMPLETE, OutputsState.FAILED}
    assert shown(failing, outputs_state=OutputsState.PENDING).may_collect_again


def test_what_still_runs_is_followed_and_need_not_be_collected_again() -> None:
    panel = shown(samples.panel(), state=ItemState.RUNNING, outcome=None, outputs_state=OutputsState.PARTIAL)

    assert not panel.may_collect_again


def test_what_was_removed_may_be_collected_again_but_not_twice_at_a_time() -> None:
    removed = samples.panel(removed_count=1)

    assert shown(removed, outputs_state=OutputsState.COLLECTED).may_collect_again
    assert not shown(removed, outputs_state=OutputsState.COLLECTING).may_collect_again


def test_the_head_counts_what_was_left_out_and_is_quiet_when_all_is_stored() -> None:
    stored = [samples.file(b"%d" % number) for number in range(38)]
    large = samples.file(b"", state=FileState.TOO_LARGE, count=2, size_bytes=None)
    missing = samples.file(b"late", state=FileState.NOT_YET_VISIBLE)

    assert shown(samples.panel(*stored)).tally == ""
    told = shown(samples.panel(*stored, missing, large)).tally
    assert told == "38 of 41 files stored · 2 too large · 1 not yet visible"
    assert shown(samples.panel(large)).tally == "0 of 2 files stored · 2 too large"


def test_a_log_that_was_left_out_is_named_with_its_reason() -> None:
    panel = shown(samples.panel(stderr=samples.log(Place.STDERR, state=FileState.UNREADABLE, reason="no right")))

    assert [(left.name, left.reason) for left in panel.left_out] == [("Standard error", "could not be read: no right")]


def test_files_of_an_earlier_attempt_are_labelled() -> None:
    panel = shown(samples.panel(samples.file(b"old.csv", attempt=1), samples.file(b"new.csv", attempt=2)), attempt=2)

    assert [file.note for file in panel.files] == ["from an earlier attempt", ""]


def test_sections_beyond_the_budget_are_left_to_their_tasks() -> None:
    found = [samples.contribution("x" * 100, "one"), samples.contribution("y" * 100, "two")]

    sections = documents.sections("r1", found, allowance(150))

    assert [(section.html is None, section.is_long) for section in sections] == [(False, False), (True, True)]


def test_a_task_that_runs_shows_since_when() -> None:
    running = samples.item(state=ItemState.RUNNING, outcome=None, ended_at=None)

    assert row(running, has_panel=False).is_running
    ended = samples.item(ended_at=samples.AT + timedelta(seconds=75))
    assert row(ended, has_panel=False).duration == "1 min 15 s"


def test_of_a_task_that_is_followed_there_is_no_collection_to_speak_of() -> None:
    running: dict[str, Any] = {
        "outputs_state": OutputsState.PARTIAL,
        "state": ItemState.RUNNING,
        "outcome": None,
        "followed_at": samples.AT,
    }
    ended: dict[str, Any] = running | {"state": ItemState.FINAL, "outcome": Outcome.SUCCEEDED}

    followed = shown(samples.panel(samples.file(b"a.png")), **running)
    over = shown(samples.panel(samples.file(b"a.png")), **ended)

    assert (followed.collection, followed.may_collect_again) == ("", False)
    assert followed.row.followed_at == samples.AT
    assert (over.collection, over.may_collect_again) == ("More may come.", True)
    assert over.row.followed_at is None


def test_pictures_are_loaded_from_addresses_that_change_with_them() -> None:
    before, after = (
        shown(samples.panel(samples.file(b"notes.md", "![](a.png)"), samples.file(b"a.png", sha256=sha256)))
        for sha256 in ("a" * 64, "b" * 64)
    )

    assert f'src="{PICTURE}?v={"a" * 12}"' in (before.documents[0].html or "")
    assert f'src="{PICTURE}?v={"b" * 12}"' in (after.documents[0].html or "")
    assert before.files[1].url == after.files[1].url == PICTURE
    assert before.figures == after.figures == ()


@pytest.mark.parametrize(
    "html",
    [
        f'<p>src="{PICTURE}"</p>',
        f'<a href="{PICTURE}">x</a>',
        f'<img alt="{PICTURE}">',
        '<img src="/elsewhere.png">',
        f'<img alt=" src=" title="{PICTURE}">',
    ],
)
def test_nothing_but_the_address_of_a_known_picture_is_changed(html: str) -> None:
    assert documents.with_sources(html, {PICTURE: f"{PICTURE}?v=1"}) == html


def test_logs_keep_their_names_when_another_one_appears() -> None:
    stdout, stderr = samples.log(Place.STDOUT), samples.log(Place.STDERR)
    tails = {Place.STDOUT: b"fine\n", Place.STDERR: b"bad\n"}

    alone, both = shown(samples.panel(stdout=stdout), tails), shown(samples.panel(stdout=stdout, stderr=stderr), tails)

    assert [log.place for log in alone.logs] == [Place.STDOUT]
    assert [log.place for log in both.logs] == [Place.STDERR, Place.STDOUT]
