"""Every state and exit form of PBS has an outcome, and the page shows what the code does."""

from pathlib import Path

import pytest

from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import JobState
from scripthut_poller.schedulers.pbs import words

PAGE = Path(__file__).parents[3] / "docs" / "outcomes-pbs.md"
# qstat(1B), "Job States", of PBS Professional 19.1 and OpenPBS 20.0 to 23.06.
DOCUMENTED_STATES = ["B", "E", "F", "H", "M", "Q", "R", "S", "T", "U", "W", "X"]
# job.h, JOB_EXEC_*, of 19.1 to 23.06; 0 is no failure.
DOCUMENTED_EXITS = [*range(-7, 0), *range(-30, -9)]


def test_every_documented_state_is_known() -> None:
    assert sorted(words.STATES) == DOCUMENTED_STATES


def test_every_documented_exit_code_is_known() -> None:
    assert sorted(words.EXITS) == sorted(DOCUMENTED_EXITS)


def test_what_nobody_documents_is_surfaced_and_decides_nothing() -> None:
    assert words.job_state("Y") is JobState.ODD
    assert words.end(words.Ended(substate=93, status=-99)).outcome is None


@pytest.mark.parametrize("letter", [*DOCUMENTED_STATES, "Y"])
def test_a_comment_is_the_reason_and_else_what_the_state_means_if_it_waits(letter: str) -> None:
    meaning = words.STATES[letter].meaning if letter in {"H", "T", "W"} else None

    assert words.reason(letter, "Not Running: Queue not started.") == "Not Running: Queue not started."
    assert words.reason(letter, "") == meaning


@pytest.mark.parametrize("status", [None, 0, 1, 137, 265, 271, -29])
def test_a_deleted_job_was_cancelled_whatever_its_exit_status(status: int | None) -> None:
    assert words.end(words.Ended(substate=91, status=status)).outcome is Outcome.CANCELLED


@pytest.mark.parametrize(
    ("status", "exit_code", "signal"),
    [
        (1, 1, None), (127, 127, None), (128, 128, None), (129, 129, 1), (192, 192, 64), (193, 193, None),
        (255, 255, None),        (256, None, None), (257, None, 1), (320, None, 64), (400, None, None),
    ],
)  # fmt: skip
def test_exit_codes_and_signals_are_told_apart(status: int, exit_code: int | None, signal: int | None) -> None:
    end = words.end(words.Ended(substate=93, status=status))

    assert end == words.End(outcome=Outcome.FAILED, exit_code=exit_code, signal=signal)


@pytest.mark.parametrize(
    "ended",
    [
        words.Ended(substate=93, status=0),
        words.Ended(substate=92, status=None),
        words.Ended(substate=93, status=None, has_dependency=True),
        words.Ended(substate=92, status=None, has_dependency=True, has_begun=True),
        words.Ended(substate=92, status=0, is_copy=True),
        words.Ended(substate=70, status=0, is_array=True, has_begun=True),
        words.Ended(substate=92, status=0, is_array=True),
    ],
)
def test_what_contradicts_itself_decides_nothing(ended: words.Ended) -> None:
    assert words.end(ended).outcome is None


def test_the_page_shows_the_states_of_the_code() -> None:
    shown = {None: "over", JobState.ODD: "odd"}
    told = {True: "yes", False: ""}
    wanted = [
        f"| `{letter}` | {state.meaning} | {shown.get(state.state) or state.state} | {told[state.is_reason]} |"
        for letter, state in words.STATES.items()
    ]

    assert _rows("## States") == wanted


def test_the_page_shows_the_exit_codes_of_the_code() -> None:
    wanted = [
        f"| {status} | {known.meaning} | {known.outcome or 'not final'} |" for status, known in words.EXITS.items()
    ]

    assert _rows("## Negative exit statuses") == wanted


def _rows(heading: str) -> list[str]:
    """Return the rows of the table below a heading, without its head."""
    section = PAGE.read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]
