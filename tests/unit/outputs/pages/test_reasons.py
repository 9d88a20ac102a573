"""Why tasks wait and how they ended, in words that somebody who knows no scheduler understands."""

import pytest

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.controllers.pages import reasons
from scripthut_outputs.controllers.pages.rows import row
from scripthut_poller.schedulers.slurm.words import Waits, waits
from tests.unit.poller.slurm_reasons import REASON_CODES, SENTENCES, SQUEUE_REASONS, UNDOCUMENTED_REASONS

from . import samples

REASONS = sorted(
    said
    for said in {*SQUEUE_REASONS, *REASON_CODES, *UNDOCUMENTED_REASONS, *SENTENCES}
    if "*" not in said and waits(said) is not Waits.UNSAID
)


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("Priority", "Others come first"),
        ("Resources", "until enough machines are free"),
        ("(Resources)", "until enough machines are free"),
        ("Dependency", "waits for other tasks"),
        ("DependencyNeverSatisfied", "can never start"),
        ("QOSMaxJobsPerUserLimit", "as many tasks at once as you may"),
        ("AssocGrpCPUMinutesLimit", "used up its share of computing time"),
        ("AssocGrpCpuLimit", "as much as it may at once"),
        ("QOSMaxGRESPerUser", "as much at once as you may"),
        ("QOSGrpNodeLimit", "quality of service allows"),
        ("QOSMaxWallDurationPerJobLimit", "more time than its quality of service"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-4]", "down, drained or reserved"),
        ("ReqNodeNotAvail, Reserved for maintenance", "down, drained or reserved"),
        ("BeginTime", "not to start before"),
        ("JobHeldUser", "owner holds it back"),
        ("JobHeldAdmin", "administrator holds it back"),
        ("PartitionDown", "partition is switched off"),
        ("NodeDown", "is down"),
        ("Not Running: Insufficient amount of resource: ncpus (R: 8 A: 4 T: 4)", "until enough machines are free"),
        ("Not Running: Queue not started.", "queue is switched off"),
        ("Can Never Run: Insufficient amount of resource: ncpus", "No machine can ever"),
        ("Job held by ada on Tue Nov  3", "held back"),
    ],
)
def test_what_people_meet_is_explained_with_the_schedulers_own_word_beside_it(said: str, part: str) -> None:
    reason = reasons.of_waiting(said)

    assert part in reason.words
    assert reason.own == said


@pytest.mark.parametrize("said", REASONS)
def test_every_reason_of_slurm_is_explained_and_none_promises_a_start_that_cannot_be(said: str) -> None:
    reason = reasons.of_waiting(said)

    assert reason.own == said
    if waits(said) is not Waits.ITSELF:
        assert "starts when" not in reason.words
        assert "just now" not in reason.words


@pytest.mark.parametrize("said", ["", "Nodes are tired", "<b>Priority</b>", "Priorityless", "job 7 is late", ":::"])
def test_what_nobody_knows_is_shown_as_it_is(said: str) -> None:
    assert reasons.of_waiting(said) == reasons.Reason(words=said)


@pytest.mark.parametrize(
    ("exit_code", "signal", "told"),
    [
        (0, None, ""),
        (None, None, ""),
        (1, None, "exit 1: its program ended with an error"),
        (127, None, "exit 127: a command was not found; is a module missing?"),
        (137, None, "exit 137: killed by signal 9 (KILL), often out of memory"),
        (139, None, "exit 139: killed by signal 11 (SEGV), it reached for memory that was not its own"),
        (None, 9, "signal 9: killed by signal 9 (KILL), often out of memory"),
        (255, None, "exit 255: its program ended with an error"),
        (None, 99, "signal 99: killed by signal 99"),
        (2**31, None, "exit 2147483648: its program ended with an error"),
        (-1, None, "exit -1: its program ended with an error"),
    ],
)
def test_exit_codes_and_signals_have_words(exit_code: int | None, signal: int | None, told: str) -> None:
    assert reasons.of_ending(exit_code, signal) == told


def test_a_reason_that_says_the_code_again_gives_way_to_the_words() -> None:
    failed = samples.item(outcome=Outcome.FAILED, exit_code=137, reason="ended with exit code 137")
    timed_out = samples.item(outcome=Outcome.TIMED_OUT, exit_code=None, reason="TimeLimit")

    assert [note.words for note in row(failed, has_panel=False).notes] == [
        "exit 137: killed by signal 9 (KILL), often out of memory"
    ]
    assert row(timed_out, has_panel=False).notes == (
        reasons.Reason(words="It ran into its time limit.", own="TimeLimit"),
    )


def test_a_task_that_waits_says_why_in_plain_words() -> None:
    waiting = samples.item(state=ItemState.QUEUED, outcome=None, exit_code=None, reason="Priority\x1b[31m")

    (note,) = row(waiting, has_panel=False).notes

    assert note.own == "Priority"
