"""Slurm's words for states, and what they mean for us.

Source: squeue(1) and sacct(1), JOB STATE CODES, of 22.05 to 25.05.
"""

from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import JobState

OUTCOMES = {
    "COMPLETED": Outcome.SUCCEEDED,
    "FAILED": Outcome.FAILED,
    "CANCELLED": Outcome.CANCELLED,
    "TIMEOUT": Outcome.TIMED_OUT,
    "DEADLINE": Outcome.TIMED_OUT,
    "OUT_OF_MEMORY": Outcome.OUT_OF_MEMORY,
    "NODE_FAIL": Outcome.NODE_FAILED,
    "BOOT_FAIL": Outcome.NODE_FAILED,
    "LAUNCH_FAILED": Outcome.NODE_FAILED,
    "RECONFIG_FAIL": Outcome.NODE_FAILED,
    "PREEMPTED": Outcome.PREEMPTED,
}

_QUEUED = frozenset(
    {
        "PENDING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    }
)  # fmt: skip
# Completing is alive: the epilog runs, and a requeued job passes through it.
_RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "EXPEDITING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "UPDATE_DB"}
)


def job_state(word: str) -> JobState | None:
    """Say how the queue holds a job by its state; `None` for one that is over and only still shown."""
    if word in _QUEUED:
        return JobState.QUEUED
    if word in _RUNNING:
        return JobState.RUNNING
    return None if word in OUTCOMES or word == "REVOKED" else JobState.ODD


def outcome(state: str) -> Outcome | None:
    """Read accounting's state, `CANCELLED by 1002` too; `None` for one that is not final or not known."""
    return OUTCOMES.get(state.partition(" ")[0])
