"""Every state and reason that Slurm documents has a meaning, and the page that shows them to people says the same."""

import re
from pathlib import Path

import pytest

from scripthut_common.clusters import Patience
from scripthut_common.events import Outcome
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import JobState
from scripthut_poller.schedulers.slurm import queued, rows, words
from tests.unit.poller.slurm_reasons import REASON_CODES, SENTENCES, SQUEUE_REASONS, UNDOCUMENTED_REASONS

PAGE = (Path(__file__).parents[3] / "docs" / "outcomes-slurm.md").read_text()

# squeue(1), JOB STATE CODES: the same in 22.05.8, 24.11.5 and 26.05.5.
SQUEUE = [
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "CONFIGURING", "COMPLETING", "DEADLINE", "FAILED", "NODE_FAIL",
    "OUT_OF_MEMORY", "PENDING", "PREEMPTED", "RUNNING", "RESV_DEL_HOLD", "REQUEUE_FED", "REQUEUE_HOLD", "REQUEUED",
    "RESIZING", "REVOKED", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED", "TIMEOUT",
]  # fmt: skip
# sacct(1), JOB STATE CODES: the same in 22.05.8, 24.11.5 and 26.05.5.
SACCT = [
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PENDING", "PREEMPTED",
    "RUNNING", "REQUEUED", "RESIZING", "REVOKED", "SUSPENDED", "TIMEOUT",
]  # fmt: skip
# job_state_codes.html, to which the manual pages refer since 24.11, of October 2024: base states, then flags.
STATE_CODES_24_11 = [
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PENDING", "PREEMPTED",
    "RUNNING", "SUSPENDED", "TIMEOUT", "COMPLETING", "CONFIGURING", "LAUNCH_FAILED", "POWER_UP_NODE", "RECONFIG_FAIL",
    "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD", "REVOKED", "SIGNALING", "SPECIAL_EXIT",
    "STAGE_OUT", "STOPPED", "UPDATE_DB",
]  # fmt: skip
# And a flag that 25.11 added.
STATE_CODES_25_11 = [*STATE_CODES_24_11, "EXPEDITING"]
DOCUMENTED = sorted({*SQUEUE, *SACCT, *STATE_CODES_24_11, *STATE_CODES_25_11})
ENDS = [
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
]  # fmt: skip


@pytest.mark.parametrize("word", DOCUMENTED)
def test_every_documented_state_has_a_meaning(word: str) -> None:
    assert words.job_state(word) is not JobState.ODD
    # What is over in the queue is decided by accounting; a job that another cluster took has no end here.
    if words.job_state(word) is None and word != "REVOKED":
        assert words.outcome(word) is not None


def test_no_state_has_a_meaning_that_is_not_documented() -> None:
    assert sorted(state.word for state in words.STATES) == DOCUMENTED


def test_what_is_over_is_over_in_both_and_what_is_alive_decides_nothing() -> None:
    assert sorted(word for word in SACCT if words.outcome(word)) == sorted(ENDS)
    assert sorted(word for word in SQUEUE if words.job_state(word) is None) == sorted([*ENDS, "REVOKED"])


def test_one_outcome_alone_is_a_success() -> None:
    assert [state.word for state in words.STATES if state.outcome is Outcome.SUCCEEDED] == ["COMPLETED"]


@pytest.mark.parametrize("word", ["LEVITATING", "", "?", "completed", "COMPLETED+", "CANCELLEDBY", "by 7"])
def test_an_undocumented_state_is_odd_and_decides_nothing(word: str) -> None:
    assert words.job_state(word) is JobState.ODD
    assert words.outcome(word) is None


def test_the_page_shows_the_states_as_they_are() -> None:
    def cells(state: words.State) -> str:
        queue = "over" if state.queue is None else state.queue
        outcome = "-" if state.outcome is None else state.outcome
        return f"| `{state.word}` | {queue} | {outcome} | {state.why} |"

    assert table_after("## States") == [cells(state) for state in words.STATES]


@pytest.mark.parametrize("word", sorted({*SQUEUE_REASONS, *REASON_CODES, *UNDOCUMENTED_REASONS}))
def test_every_reason_is_known(word: str) -> None:
    assert words.known_reason(word) is not None


@pytest.mark.parametrize("said", SENTENCES)
def test_every_sentence_of_slurmctld_is_known(said: str) -> None:
    assert words.known_reason(said.partition(",")[0]) is not None


def test_no_reason_is_known_that_slurm_does_not_have() -> None:
    named = [*SQUEUE_REASONS, *REASON_CODES, *UNDOCUMENTED_REASONS, *(said.partition(",")[0] for said in SENTENCES)]

    assert {known.word for word in named if (known := words.known_reason(word))} == {one.word for one in words.REASONS}


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ("Priority", "waits"), ("AssocGrpCpuLimit", "waits"), ("AssocMaxJobsLimit", "waits"),
        ("AssocMaxCpuPerJobLimit", "must be changed"), ("QOSMaxJobsPerUserLimit", "waits"),
        ("QOSMaxWallDurationPerJobLimit", "must be changed"), ("QOSGrpNodeLimit", "waits"),
        ("BadConstraints", "must be changed"), ("DependencyNeverSatisfied", "must be changed"),
        ("JobHeldUser", "must be released"), ("launch failed requeued held", "must be released"),
        ("JobArrayTaskLimit,JobHeldAdmin", "must be released"), ("None,JobHeldUser", "must be released"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-4,7]", "waits"), ("burst_buffer/lua: no room", "waits"),
        ("None", "no reason"), ("None,None", "no reason"), ("WaitingForScheduling", "no reason"),
    ],
)  # fmt: skip
def test_what_must_happen_is_told_by_the_reason(said: str, waits: str) -> None:
    assert words.waits(said) == waits


@pytest.mark.parametrize("said", [*SQUEUE_REASONS, *REASON_CODES, *SENTENCES, "None,JobHeldUser", "", "lua: no room"])
def test_no_reason_changes_a_state_and_each_is_kept_as_it_is(said: str) -> None:
    answer = Answer(stdout=f"1\n7|PENDING|0|1|N/A|n/a|{said}|\n".encode(), stderr=b"", exit_status=0)

    job = queued.queue(answer).jobs["7"]

    is_told = said not in {"", "None", "WaitingForScheduling"}
    assert (job.state, job.reason) == (JobState.QUEUED, said if is_told else None)


def test_the_page_shows_the_reasons_as_they_are() -> None:
    wanted = [f"| `{one.word}` | {one.waits} | {one.why} |" for one in words.REASONS]

    assert table_after("## Reasons") == wanted


EXITS = re.compile(r"\| `(.*?)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|")


def test_the_page_shows_the_exit_codes_as_they_are_read() -> None:
    lines = table_after("## Exit codes")

    for line in lines:
        known = EXITS.fullmatch(line)
        assert known is not None, line
        printed, state, version, *told = known.groups()
        stdout = f"1\nslurm {version}\n7|{state}|{printed}|10|11|12|debug|n1\n".encode()
        (execution,) = rows.accounts(Answer(stdout=stdout, stderr=b"", exit_status=0), ["7"]).rows["7"]
        found = [execution.outcome, execution.exit_code, execution.signal]
        assert told == ["-" if one is None else str(one) for one in found], line
    assert len(lines) > 10


def test_the_page_shows_the_timers_as_they_are() -> None:
    shown = [line.split("|")[1:3] for line in table_after("## How long is waited")]

    defaults = {field: getattr(Patience(), field) for field in Patience.__struct_fields__}
    assert {name.strip(" `"): float(value) for name, value in shown} == defaults


def table_after(heading: str) -> list[str]:
    """Give the rows of the first table below a heading."""
    lines = PAGE.partition(f"{heading}\n")[2].partition("\n## ")[0].split("\n")
    return [line for line in lines if line.startswith("|")][2:]
