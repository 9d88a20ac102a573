"""Why a task waits and how it ended, in plain words, the scheduler's own beside them. Pure.

Sources: squeue(1) of Slurm 22.05 and 24.11, "JOB REASON CODES", and job_reason_codes.html; the comments of PBS's
scheduler (src/scheduler/constant.h of OpenPBS 23.06).
"""

import re
from collections.abc import Mapping
from signal import Signals

import msgspec

# In lower case. A code may have more behind it: `ReqNodeNotAvail, UnavailableNodes:n[1-4]`.
SLURM: Mapping[str, str] = {
    "priority": "Others come first: tasks of higher priority wait for the same machines.",
    "resources": "It is next, and waits until enough machines are free.",
    "dependency": "It waits for other tasks to end.",
    "dependencyneversatisfied": "It can never start: a task that it depends on did not end as it had to.",
    "none": "The scheduler has not looked at it yet.",
    "cleaning": "What is left of an earlier attempt is being cleaned up.",
    "begintime": "It is not to start before a set time; after a failed start the scheduler waits a while too.",
    "jobheldadmin": "An administrator holds it back; ask them why.",
    "jobhelduser": "Its owner holds it back; `scontrol release` lets it go.",
    "jobarraytasklimit": "As many elements of its array run as may run at once.",
    "joblaunchfailure": "It could not be launched; the scheduler's logs say why.",
    "job requeued in held state": "It was put back and is held; `scontrol release` lets it go.",
    "job requeued in special exit state": "For how it ended it is held; `scontrol release` lets it go.",
    "launch failed requeued held": "It failed to launch and is held; an administrator must look at the node.",
    "reqnodenotavail": "A machine that it needs is down, drained or reserved.",
    "nodes required for job are down, drained or reserved for jobs in higher priority partitions": (
        "Machines that it needs are down, drained or kept for others."
    ),
    "constraints": "No machine that is free now meets what it asks for.",
    "nodedown": "A machine that it needs is down.",
    "badconstraints": "No machine can ever meet what it asks for; change what it asks for.",
    "partitiondown": "Its partition is switched off just now.",
    "partitioninactive": "Its partition takes no tasks just now.",
    "partitionconfig": "It asks for more than its partition allows.",
    "partitionnodelimit": "It asks for more machines than its partition allows, or fewer than are up.",
    "partitiontimelimit": "It asks for more time than its partition allows.",
    "reservation": "It waits for its reservation to begin.",
    "reservationdeleted": "Its reservation is gone.",
    "reservationinvalid": "Its reservation cannot be used.",
    "licenses": "It waits for a licence.",
    "accountnotallowed": "Its account may not use this partition.",
    "invalidaccount": "The scheduler does not know its account.",
    "invalidqos": "The scheduler does not know its quality of service.",
    "qosnotallowed": "Its account may not use this quality of service.",
    "associationjoblimit": "Its account runs as many tasks as it may.",
    "assocmaxjobslimit": "Its account runs as many tasks as it may.",
    "assocmaxsubmitjoblimit": "Its account has as many tasks in the queue as it may.",
    "accountingpolicy": "It is outside what its account or its quality of service allows.",
    "maxmemperlimit": "It asks for more memory on a machine or a processor than is allowed.",
    "deadline": "It could not end before its deadline.",
    "associationresourcelimit": "Its account uses as much as it may.",
    "associationtimelimit": "Its account has used up its time.",
    "qosjoblimit": "Its quality of service runs as many tasks as it may.",
    "qosmaxjobsperuserlimit": "You run as many tasks at once as you may in this quality of service.",
    "qosmaxsubmitjobperuserlimit": "You have as many tasks in the queue as you may in this quality of service.",
    "qosresourcelimit": "Its quality of service uses as much as it may.",
    "qostimelimit": "It asks for more time than its quality of service has left.",
    "qosusagethreshold": "Too much was used lately in this quality of service.",
    "timelimit": "It ran into its time limit.",
    "outofmemory": "It used more memory than it asked for.",
    "nodefail": "The machine that it ran on failed.",
    "nonzeroexitcode": "Its program ended with an error.",
    "raisedsignal:53(real-time_signal_19)": "Its output could not be written: the directory is missing or full.",
    "systemfailure": "The scheduler, or something beneath it, failed.",
    "prolog": "The machine is being prepared for it.",
    "powernotavail": "There is not enough power to run it just now.",
    "powerreserved": "The power that it needs is kept for others.",
    "frontenddown": "The machine that would start it is down.",
    "blockmaxerror": "The machines that it needs had too many errors.",
    "blockfreeaction": "The machines that it needs are being freed.",
    "scheddefer": "The scheduler decides about it a little later.",
    "inactivelimit": "It did nothing for too long.",
    "raisedsignal": "It was ended by a signal.",
    "jobholdmaxrequeue": "It was started again as often as is allowed, and is held; `scontrol release` lets it go.",
    "fedjoblock": "The federation of clusters decides where it runs.",
    "burstbufferstagein": "Its files are being brought to the fast store.",
    "burstbufferoperation": "Its files could not be brought to the fast store, and it is held.",
    "burstbufferresources": "It waits for room in the fast store.",
}
# The rest of families with a word for every limit: `AssocGrpCPUMinutesLimit`, `QOSMaxGRESPerUser`.
_FAMILIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.ASCII), words)
    for pattern, words in (
        (r"assocgrp\w*minutes(?:limit)?", "Its account has used up its share of computing time."),
        (r"assocgrp\w*", "Its account uses as much as it may at once; it starts when others of it end."),
        (r"assocmax\w*", "It asks for more than its account allows one task; change what it asks for."),
        (r"qosgrp\w*minutes(?:limit)?", "Its quality of service has used up its share of computing time."),
        (
            r"qosmax\w*per(?:user|u|account|a)(?:limit)?",
            "You use as much at once as you may; it starts when others end.",
        ),
        (r"qosmaxwall\w*", "It asks for more time than its quality of service allows."),
        (r"qosgrp\w*", "It is outside what its quality of service allows just now."),
        (r"qosmax\w*", "It asks for more than its quality of service allows one task; change what it asks for."),
        (r"qosmin\w*", "It asks for less than its quality of service wants of one task; change what it asks for."),
        (r"max\w*peraccount", "Its account uses as much as it may at once; it starts when others of it end."),
    )
)
# The first that is part of a comment counts.
PBS: tuple[tuple[str, str], ...] = (
    ("can never run", "No machine can ever meet what it asks for; change what it asks for."),
    ("insufficient amount of resource", "It waits until enough machines are free."),
    ("not enough free nodes available", "It waits until enough machines are free."),
    ("not enough total nodes available", "The cluster has fewer machines than it asks for."),
    ("job would conflict with reservation", "A reservation begins before it would end."),
    ("would cross dedicated time boundary", "The machines are reserved before it would end."),
    ("queue not started", "Its queue is switched off just now."),
    ("queue not an execution queue", "It was given to a queue that runs nothing."),
    ("user has reached server running job limit", "You run as many tasks at once as you may."),
    ("user has reached queue running job limit", "You run as many tasks at once as you may in this queue."),
    ("server job limit reached", "The cluster runs as many tasks as it may."),
    ("queue job limit reached", "Its queue runs as many tasks as it may."),
    ("limit reached", "As much is used at once as is allowed; it starts when others end."),
    ("higher priority jobs", "Others come first: tasks of higher priority wait for the same machines."),
    ("draining system to allow starving job", "A task that has waited for very long comes first."),
    ("job held", "It is held back; `qrls` lets it go, if you may."),
    ("job is held", "It is held back; `qrls` lets it go, if you may."),
    ("waiting on dependency", "It waits for other tasks to end."),
    ("dependency", "It waits for other tasks to end."),
    ("could not run job", "It could not be started; the scheduler tries again."),
)
_SIGNALS: Mapping[int, str] = {
    2: "it was interrupted",
    6: "it aborted itself",
    9: "often out of memory",
    11: "it reached for memory that was not its own",
    15: "it was told to end, often at a time limit or when cancelled",
    24: "it used up its processor time",
    25: "it wrote a file larger than allowed",
}
_CODES: Mapping[int, str] = {
    126: "the command was found but may not be executed",
    127: "a command was not found; is a module missing?",
}
_CODE_ALONE = re.compile(r"(?:ended with )?exit code \d+|ended by signal \d+|failed", re.ASCII)


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is so: `words` are ours or a sentence of somebody else, `own` is the scheduler's word for it."""

    words: str
    own: str = ""


def of_waiting(said: str) -> Reason:
    """Explain why a task waits; what the tables do not know is shown as it is.

    Args:
        said: one line, as `Resources` from Slurm or `Not Running: Insufficient amount of resource: ncpus` from PBS.
    """
    code = re.split(r"[,(: ]", said.strip("() "), maxsplit=1)[0].lower()
    known = SLURM.get(said.lower()) or SLURM.get(code)
    if known is None:
        known = next((words for pattern, words in _FAMILIES if pattern.fullmatch(code)), None)
    if known is None:
        known = next((words for part, words in PBS if part in said.lower()), None)
    return Reason(words=said) if known is None else Reason(words=known, own=said)


def of_outcome(said: str) -> Reason:
    """Explain why a task ended as it did: one of Slurm's words alone, else the sentence as it is."""
    known = SLURM.get(said.lower())
    return Reason(words=said) if known is None else Reason(words=known, own=said)


def of_ending(exit_code: int | None, signal: int | None) -> str:
    """`exit 137: killed by signal 9 (KILL), often out of memory`; empty where the number says all there is to say."""
    if signal:
        return _of_signal(f"signal {signal}", signal)
    if exit_code is None or exit_code == 0:
        return ""
    if exit_code > 128 and (_name_of(exit_code - 128) or exit_code - 128 in _SIGNALS):
        return _of_signal(f"exit {exit_code}", exit_code - 128)
    hint = _CODES.get(exit_code)
    return f"exit {exit_code}: {hint}" if hint else f"exit {exit_code}: its program ended with an error"


def says_only_the_code(said: str) -> bool:
    """Whether a reason says no more than `of_ending` does."""
    return _CODE_ALONE.fullmatch(said) is not None


def exit_column(exit_code: int | None, signal: int | None) -> str:
    """`3`, or `signal 15 (TERM)`."""
    if signal:
        name = _name_of(signal)
        return f"signal {signal} ({name})" if name else f"signal {signal}"
    return "" if exit_code is None else str(exit_code)


def _of_signal(what: str, signal: int) -> str:
    name, hint = _name_of(signal), _SIGNALS.get(signal)
    named = f"signal {signal} ({name})" if name else f"signal {signal}"
    ended = f"{what}: killed by {named}"
    return f"{ended}, {hint}" if hint else ended


def _name_of(number: int) -> str:
    try:
        return Signals(number).name.removeprefix("SIG")
    except ValueError:
        return ""
