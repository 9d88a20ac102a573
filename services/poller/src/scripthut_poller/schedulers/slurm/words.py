"""Slurm's words for states, and what they mean for us: in the queue, and in a row of accounting.

Source: squeue(1) and sacct(1), JOB STATE CODES, and job_state_codes.html, of 22.05 to 26.05. `docs/outcomes-slurm.md`
shows the same to people.
"""

import msgspec

from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import JobState


class State(msgspec.Struct, frozen=True):
    """One state. `queue` is `None` for a job that is over, `outcome` where a row of accounting is not final."""

    word: str
    queue: JobState | None
    outcome: Outcome | None
    why: str


_QUEUED, _RUNNING = JobState.QUEUED, JobState.RUNNING

STATES = (
    State("COMPLETED", None, Outcome.SUCCEEDED, "`failed` if an exit code or a signal says so"),
    State("FAILED", None, Outcome.FAILED, "a more specific state of the batch script wins"),
    State("CANCELLED", None, Outcome.CANCELLED, "also `CANCELLED by UID`; see below for dependencies"),
    State("TIMEOUT", None, Outcome.TIMED_OUT, "the time limit"),
    State("DEADLINE", None, Outcome.TIMED_OUT, "`--deadline` passed"),
    State("OUT_OF_MEMORY", None, Outcome.OUT_OF_MEMORY, "of the job or its batch script; of a step it decides nothing"),
    State("NODE_FAIL", None, Outcome.NODE_FAILED, "unless the queue still has the job: then it was requeued"),
    State("BOOT_FAIL", None, Outcome.NODE_FAILED, "its nodes did not boot"),
    State("PREEMPTED", None, Outcome.PREEMPTED, "unless the queue still has the job: then it was requeued"),
    State("LAUNCH_FAILED", _QUEUED, Outcome.NODE_FAILED, "usually it is tried again: alive while in the queue"),
    State("RECONFIG_FAIL", _QUEUED, Outcome.NODE_FAILED, "usually it is tried again: alive while in the queue"),
    State("PENDING", _QUEUED, None, "in accounting also the draft of a job that has just begun"),
    State("CONFIGURING", _QUEUED, None, "its nodes boot"),
    State("POWER_UP_NODE", _QUEUED, None, "its nodes boot"),
    State("EXPEDITING", _RUNNING, None, "it ends, and may be requeued at once (25.11 and newer)"),
    State("REQUEUED", _QUEUED, None, "the end of one attempt, not of the job"),
    State("REQUEUE_HOLD", _QUEUED, None, "requeued and held"),
    State("REQUEUE_FED", _QUEUED, None, "requeued by its federation"),
    State("RESV_DEL_HOLD", _QUEUED, None, "held: its reservation was deleted"),
    State("SPECIAL_EXIT", _QUEUED, None, "requeued and held, with a mark"),
    State("RUNNING", _RUNNING, None, ""),
    State("COMPLETING", _RUNNING, None, "the epilog runs, and a requeued job passes through it"),
    State("RESIZING", _RUNNING, None, "in accounting the same attempt before its size changed"),
    State("SIGNALING", _RUNNING, None, ""),
    State("STAGE_OUT", _RUNNING, None, ""),
    State("STOPPED", _RUNNING, None, "it keeps its processors"),
    State("SUSPENDED", _RUNNING, None, ""),
    State("UPDATE_DB", _RUNNING, None, "accounting is being told"),
    State("REVOKED", None, None, "another cluster of the federation took it: it ends as `unknown` here"),
)  # fmt: skip
_MEANING = {state.word: state for state in STATES}


def job_state(word: str) -> JobState | None:
    """Say how the queue holds a job by its state; `None` for one that is over and only still shown."""
    known = _MEANING.get(word)
    return JobState.ODD if known is None else known.queue


def outcome(state: str) -> Outcome | None:
    """Read accounting's state, `CANCELLED by 1002` too; `None` for one that is not final or not known."""
    known = _MEANING.get(state.partition(" ")[0])
    return None if known is None else known.outcome
