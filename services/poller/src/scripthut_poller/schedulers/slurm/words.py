"""Slurm's words for states and reasons, and what they mean for us: in the queue, and in a row of accounting.

Sources: of states squeue(1) and sacct(1), JOB STATE CODES, and job_state_codes.html, of 22.05 to 26.05; of reasons
squeue(1) of 22.05, JOB REASON CODES, job_reason_codes.html, and Slurm's job_state_reason.c. `docs/outcomes-slurm.md`
shows the same to people.
"""

from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import JobState


class State(msgspec.Struct, frozen=True):
    """One state. `queue` is `None` for a job that is over, `outcome` where a row of accounting is not final."""

    word: str
    queue: JobState | None
    outcome: Outcome | None
    why: str


class Waits(StrEnum):
    """What must happen before a job begins that waits for a reason. Its state, and so its item's, is the same in all.

    `UNSAID`: the scheduler has not said why, and the item has no reason.
    """

    UNSAID = "no reason"
    ITSELF = "waits"
    RELEASE = "must be released"
    CHANGE = "must be changed"


class Reason(msgspec.Struct, frozen=True):
    """One reason, or with `*` several; the first that fits counts."""

    word: str
    waits: Waits
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
_UNSAID, _ITSELF, _RELEASE, _CHANGE = Waits.UNSAID, Waits.ITSELF, Waits.RELEASE, Waits.CHANGE

REASONS = (
    Reason("None", _UNSAID, "Slurm has not looked at it yet"),
    Reason("WaitingForScheduling", _UNSAID, "the same"),
    Reason("JobHeldUser", _RELEASE, "its owner, or who coordinates the account, holds it"),
    Reason("JobHeldAdmin", _RELEASE, "an administrator holds it"),
    Reason("JobHoldMaxRequeue", _RELEASE, "held: it was requeued as often as is allowed"),
    Reason("job requeued in held state", _RELEASE, "held: `scontrol requeuehold`"),
    Reason("job requeued in special exit state", _RELEASE, "held: an exit code for which Slurm was told to do so"),
    Reason("launch failed requeued held", _RELEASE, "held: its node could not start it"),
    Reason("BurstBufferOperation", _RELEASE, "held: its files could not be brought"),
    Reason("ReservationDeleted", _RELEASE, "held: its reservation is gone"),
    Reason("ReservationInvalid", _CHANGE, "its reservation cannot be used"),
    Reason("DependencyNeverSatisfied", _CHANGE, "jobs that we submit are cancelled by Slurm instead"),
    Reason("BadConstraints", _CHANGE, "no node has what it asks for"),
    Reason("PartitionNodeLimit", _CHANGE, "more nodes than the partition allows, or than are up just now"),
    Reason("PartitionTimeLimit", _CHANGE, "more time than the partition allows"),
    Reason("PartitionConfig", _CHANGE, "more of something than the partition allows"),
    Reason("MaxMemPerLimit", _CHANGE, "more memory on a node or a processor than is allowed"),
    Reason("InvalidAccount", _CHANGE, "no such account"),
    Reason("InvalidQOS", _CHANGE, "no such QOS"),
    Reason("AccountNotAllowed", _CHANGE, "the partition is not for its account"),
    Reason("QOSNotAllowed", _CHANGE, "the QOS is not for its account or partition"),
    Reason("DeadLine", _CHANGE, "it could not end before its deadline"),
    Reason("AssocMaxJobsLimit", _ITSELF, "for others of its user to end"),
    Reason("AssocMaxSubmitJobLimit", _ITSELF, "for others of its user to end"),
    Reason("AssocMax*", _CHANGE, "more than the account allows one job"),
    Reason("AssocGrp*", _ITSELF, "for others of its account to end, or for their use to count less"),
    Reason("Association*Limit", _ITSELF, "for others of its account to end, or for their use to count less"),
    Reason("Max*PerAccount", _ITSELF, "for others of its account to end"),
    Reason("QOSMax*PerUser*", _ITSELF, "for others of its user to end"),
    Reason("QOSMax*", _CHANGE, "more than the QOS allows one job"),
    Reason("QOSMin*", _CHANGE, "less than the QOS wants of one job"),
    Reason("QOSGrp*", _ITSELF, "for others of its QOS to end, or for their use to count less"),
    Reason("QOS*Limit", _ITSELF, "for others of its QOS to end, or for their use to count less"),
    Reason("QOSUsageThreshold", _ITSELF, "for the use of its QOS to count less"),
    Reason("AccountingPolicy", _ITSELF, "some limit, of which Slurm says no more"),
    Reason("Priority", _ITSELF, "for jobs that come first"),
    Reason("Resources", _ITSELF, "for nodes"),
    Reason("Constraints", _ITSELF, "for nodes that have what it asks for"),
    Reason("ReqNodeNotAvail", _ITSELF, "for a node that is down, drained, in use or reserved"),
    Reason("Nodes required for job are DOWN", _ITSELF, "the same; the sentence goes on"),
    Reason("NodeDown", _ITSELF, "for a node that is down"),
    Reason("FrontEndDown", _ITSELF, "for a front end node"),
    Reason("Power*", _ITSELF, "for electric power"),
    Reason("Block*", _ITSELF, "for a block of nodes (only BlueGene had them)"),
    Reason("PartitionDown", _ITSELF, "for its partition to be up"),
    Reason("PartitionInactive", _ITSELF, "for its partition to be up"),
    Reason("Reservation", _ITSELF, "for its reservation to begin"),
    Reason("Licenses", _ITSELF, "for a licence"),
    Reason("BeginTime", _ITSELF, "for its time; after a requeue, two minutes"),
    Reason("Dependency", _ITSELF, "for other jobs to end"),
    Reason("JobArrayTaskLimit", _ITSELF, "for other elements of its array to end"),
    Reason("Prolog", _ITSELF, "for its nodes to be made ready"),
    Reason("Cleaning", _ITSELF, "for what is left of its last attempt"),
    Reason("BurstBufferResources", _ITSELF, "for room in the burst buffer"),
    Reason("BurstBufferStageIn", _ITSELF, "for its files to be brought"),
    Reason("FedJobLock", _ITSELF, "for the clusters of its federation to agree"),
    Reason("SchedDefer", _ITSELF, "for the next pass of the scheduler"),
    Reason("JobLaunchFailure", _ITSELF, "its last attempt could not start; nothing follows from it"),
    Reason("NonZeroExitCode", _ITSELF, "how its last attempt ended; nothing follows from it"),
    Reason("RaisedSignal*", _ITSELF, "how its last attempt ended; nothing follows from it"),
    Reason("TimeLimit", _ITSELF, "how its last attempt ended; nothing follows from it"),
    Reason("OutOfMemory", _ITSELF, "how its last attempt ended; nothing follows from it"),
    Reason("InactiveLimit", _ITSELF, "how its last attempt ended; nothing follows from it"),
    Reason("SystemFailure", _ITSELF, "how its last attempt ended; nothing follows from it"),
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


def reason(said: str) -> str | None:
    """Take squeue's reason as it is; `None` where it says none."""
    return None if not said or waits(said) is Waits.UNSAID else said


@lru_cache(maxsize=1024)
def waits(said: str) -> Waits:
    """Say what must happen by a reason; one that is not known, as a plugin's sentence, decides nothing either.

    Samples: `ReqNodeNotAvail, UnavailableNodes:n[1-4]`; of an array `JobArrayTaskLimit,JobHeldAdmin`. Of several the
    one counts for which most must happen.
    """
    known = [known_reason(part) for part in said.split(",")]
    return max((Waits.ITSELF if one is None else one.waits for one in known), key=list(Waits).index)


def known_reason(word: str) -> Reason | None:
    """Find what the table has of one reason."""
    return next((one for one in REASONS if fnmatchcase(word, one.word)), None)
