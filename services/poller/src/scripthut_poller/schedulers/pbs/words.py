"""PBS's words for states and ends of jobs, and what they mean for us, as `docs/outcomes-pbs.md` shows them.

Source: qstat(1B) of 19.1 to 23.06; substates and exit codes below 0 from the server's own list (`job.h`), of which
every one that is marked *seen* was recorded.
"""

from collections.abc import Mapping

import msgspec

from scripthut_common.events import Outcome
from scripthut_poller.schedulers.job import JobState

_LAST_SIGNAL = 64
SENT = 41
DELETED = 91
FINISHED = 92
FAILED = 93


class State(msgspec.Struct, frozen=True):
    """What a letter of `job_state` says; `None` for a job that is over.

    `is_reason`: the meaning says why it waits, where no comment does.
    """

    meaning: str
    state: JobState | None
    is_reason: bool = False


class Exit(msgspec.Struct, frozen=True):
    """What a negative `Exit_status` says; `None` where it does not say how the job ended."""

    meaning: str
    outcome: Outcome | None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended. Exit code and signal are `None` where PBS does not say."""

    outcome: Outcome | None = None
    exit_code: int | None = None
    signal: int | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What the record of an ended job says that its outcome depends on."""

    substate: int | None
    status: int | None
    has_begun: bool = False
    has_dependency: bool = False
    is_array: bool = False
    is_copy: bool = False


STATES: Mapping[str, State] = {
    "Q": State("queued", JobState.QUEUED),
    "H": State("held", JobState.QUEUED, is_reason=True),
    "W": State("waits for its time, or for files to be staged in", JobState.QUEUED, is_reason=True),
    "T": State("in transit to another queue or server", JobState.QUEUED, is_reason=True),
    "R": State("running; with substate 41 only sent to its node, and counted as queued", JobState.RUNNING),
    "E": State("exiting: its outputs are copied", JobState.RUNNING),
    "S": State("suspended by the server", JobState.RUNNING),
    "U": State("suspended because its workstation is in use", JobState.RUNNING),
    "B": State("an array of which some element has begun", JobState.RUNNING),
    "M": State("moved to another server, where it goes on unseen", JobState.ODD),
    "X": State("an element that has ended, while its array goes on", None),
    "F": State("finished, failed or deleted", None),
}

EXITS: Mapping[int, Exit] = {
    -1: Exit("could not be started, before files were staged", Outcome.FAILED),
    -2: Exit("could not be started, after files were staged (seen: its prologue failed)", Outcome.FAILED),
    -3: Exit("could not be started, to be tried again", None),
    -4: Exit("aborted when the node's daemon started", Outcome.NODE_FAILED),
    -5: Exit("aborted when the node's daemon started, with a checkpoint", Outcome.NODE_FAILED),
    -6: Exit("aborted when the node's daemon started, with a checkpoint to move", Outcome.NODE_FAILED),
    -7: Exit("could not be restarted from its checkpoint", Outcome.FAILED),
    -10: Exit("its user or group is not known on the node", Outcome.FAILED),
    -11: Exit("to be run again (seen: after qrerun)", None),
    -12: Exit("checkpointed and ended", None),
    -13: Exit("wrong password", Outcome.FAILED),
    -14: Exit("to be run again", None),
    -15: Exit("to be restarted from its checkpoint", None),
    -16: Exit("a hook refused it, to be run again", None),
    -17: Exit("a hook refused it", Outcome.FAILED),
    -18: Exit("a hook wants it run again", None),
    -19: Exit("a hook deleted it", Outcome.CANCELLED),
    -20: Exit("its first node was lost (seen)", Outcome.NODE_FAILED),
    -21: Exit("a folder of PBS is not secure", Outcome.FAILED),
    -22: Exit("a hook failed", Outcome.FAILED),
    -23: Exit("no Kerberos credentials", Outcome.FAILED),
    -24: Exit("used more CPUs than it asked for, for a moment", Outcome.FAILED),
    -25: Exit("used more CPUs than it asked for", Outcome.FAILED),
    -26: Exit("used more virtual memory than it asked for", Outcome.OUT_OF_MEMORY),
    -27: Exit("used more memory than it asked for", Outcome.OUT_OF_MEMORY),
    -28: Exit("used more CPU time than it asked for", Outcome.TIMED_OUT),
    -29: Exit("ran longer than it asked for (seen)", Outcome.TIMED_OUT),
    -30: Exit("its nodes could not be joined", Outcome.FAILED),
}

_ARRAYS = {FINISHED: Outcome.SUCCEEDED, FAILED: Outcome.FAILED}


def job_state(word: str, substate: str | None = None) -> JobState | None:
    """Say how the queue holds a job by its state; `None` for one that is over."""
    if word == "R" and substate == str(SENT):
        return JobState.QUEUED
    known = STATES.get(word)
    return JobState.ODD if known is None else known.state


def reason(word: str, comment: str) -> str | None:
    """Say why a job waits: PBS's comment as it is, which decides nothing, else what its state means."""
    known = STATES.get(word)
    return comment or (known.meaning if known is not None and known.is_reason else None)


def end(ended: Ended) -> End:
    """Say how a job in state F or X ended; the outcome is `None` where its record does not say.

    A deleted job was cancelled whatever its exit status. Without one it never began: what it depended on failed.
    A negative status is PBS's own word. 128 and more: the script or what it ran was ended by a signal, 256 and more:
    the shell around it was. The status of a whole array is that of the element that ended last, and says nothing.
    """
    if ended.is_copy:
        return End()
    if ended.substate == DELETED:
        return End(outcome=Outcome.CANCELLED, signal=_signal(ended.status or 0, 256))
    if ended.is_array:
        return End(outcome=_ARRAYS.get(ended.substate or 0) if ended.has_begun else None)
    if ended.status is None:
        is_orphan = ended.substate == FINISHED and ended.has_dependency and not ended.has_begun
        return End(outcome=Outcome.DEPENDENCY_FAILED if is_orphan else None)
    return _by_status(ended.status, ended.substate)


def _by_status(status: int, substate: int | None) -> End:
    if status < 0:
        return End(outcome=EXITS[status].outcome if status in EXITS else None)
    if status == 0:
        return End(outcome=Outcome.SUCCEEDED, exit_code=0) if substate in {FINISHED, None} else End()
    return _failed(status)


def _failed(status: int) -> End:
    by_shell = _signal(status, 256)
    if by_shell is not None:
        return End(outcome=Outcome.FAILED, signal=by_shell)
    exit_code = status if status < 256 else None
    return End(outcome=Outcome.FAILED, exit_code=exit_code, signal=_signal(status, 128))


def _signal(status: int, base: int) -> int | None:
    return status - base if base < status <= base + _LAST_SIGNAL else None
