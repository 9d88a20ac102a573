"""The trials of each scheduler: a fixed program, its arguments, and what judges the answer. Pure."""

from collections.abc import Mapping
from functools import partial

import msgspec

from scripthut_common.clusters import AsWhom, Cluster
from scripthut_common.shell import MIB, Program

from . import answers
from .answers import Judge

_QUICK_S = 20.0
# A hung slurmctld lets go after 10 s, a hung PBS server never.
_ASKING_S = 25.0


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. `if_silent`: what to do when no answer comes in time."""

    step: str
    program: Program
    judge: Judge
    argv: tuple[str, ...] = ()
    if_silent: str = "the login node hangs, perhaps on a dead file system: log in and try it by hand"


def program(name: str, text: str, timeout_s: float = _QUICK_S) -> Program:
    """Make a program that answers in the C locale and within bounds."""
    return Program(
        name=name,
        text=f"export LC_ALL=C\n{text}",
        timeout_s=timeout_s,
        idle_timeout_s=timeout_s,
        max_stdout_bytes=MIB,
    )


NOTHING = program("login", ":\n")

# Begins with more than the shell holds back, so that we see it begin; then it waits.
SESSION = program("session", "printf '%0200d' 0\nexec sleep 30\n")

_TOOLS = program(
    "tools",
    """
for tool do printf '%s\\t%s\\n' "$tool" "$(command -v "$tool")"; done
printf 'PATH\\t%s\\n' "$PATH"
""",
)

# $1: a directory, ~ is ours. Where it is not there, the directory that it would be made in is tried.
DIRECTORY = program(
    "directory",
    """
dir=$1
case $dir in '~') dir=$HOME ;; '~/'*) dir=$HOME/${dir#??} ;; esac
printf 'path %s\\n' "$dir"
there=$dir
while [ -n "$there" ] && ! [ -e "$there" ]; do there=${there%/*}; done
there=${there:-/}
printf 'there %s\\n' "$there"
own=$there/.scripthut-check.$$
said=$(mkdir "$own" 2>&1 && head -c 65536 /dev/zero 2>&1 >"$own/trial" && [ -s "$own/trial" ]) || {
    printf 'refused %s\\n' "$(printf '%s' "${said:-it cannot be written}" | tr '\\n' ' ')"
}
rm -rf -- "$own"
df -Pk -- "$there" 2>/dev/null | sed -n '2s/^/space /p'
df -Pi -- "$there" 2>/dev/null | sed -n '2s/^/files /p'
type=$(stat -f -c %T -- "$there" 2>/dev/null) && printf 'type %s\\n' "$type"
exit 0
""",
)

# $1: an account or nothing, $2: a directory, ~ is that account's. Accounts are checked where settings are read.
READABLE = program(
    "readable",
    """
home=$HOME
if [ -n "$1" ]; then
    home=$(getent passwd "$1" | cut -d: -f6)
    [ -n "$home" ] || { echo nobody; exit 0; }
fi
dir=$2
case $dir in '~') dir=$home ;; '~/'*) dir=$home/${dir#??} ;; esac
above=${dir%/*}
if [ -r "$dir" ] && [ -x "$dir" ]; then word=ok
elif [ -e "$dir" ]; then word=closed
elif [ -e "${above:-/}" ] && ! [ -x "${above:-/}" ]; then word=closed
else word=missing; fi
printf '%s %s\\n' "$word" "$dir"
""",
)

_CLOCK = Probe(step="clock", program=program("clock", "exec date +%s\n"), judge=answers.clock)

# The same trials that decide when the first outputs are collected.
_READER = program(
    "reader",
    """
python3 -I -S -c 'import sys; print("python3 %d.%d" % sys.version_info[:2])' 2>/dev/null
dd if=/dev/null count=0 iflag=nofollow,nonblock,skip_bytes,count_bytes,fullblock 2>/dev/null &&
    find / -maxdepth 0 -readable -printf 'find works\\n' 2>/dev/null
tar --version 2>/dev/null | head -n 1
exit 0
""",
)

_SOFTWARE = (
    Probe(
        step="bash",
        program=program("bash", """exec bash -c 'echo "${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}"'\n"""),
        judge=answers.bash,
    ),
    Probe(
        step="python3",
        program=program("python3", """exec python3 -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])'\n"""),
        judge=answers.python3,
    ),
    Probe(step="find", program=program("find", "exec find / -maxdepth 0 -printf '%p works\\n'\n"), judge=answers.find),
    Probe(step="tar", program=program("tar", "exec tar --version\n"), judge=answers.tar),
    Probe(step="reader", program=_READER, judge=answers.reader),
)

_HANGING_SLURM = "slurmctld hangs: `scontrol ping`, its log; ask the site. Rounds judge nobody meanwhile"
_HANGING_PBS = "the PBS server hangs: ask the site. Rounds judge nobody meanwhile"
_SLURM_TOOLS = ("squeue", "sbatch", "sacct", "scancel", "scontrol")
_PBS_TOOLS = ("qstat", "qsub", "qdel", "qrls")
_SERVER = program("server", "exec qstat -Bf\n", _ASKING_S)
_TRIAL_TEXT = "printf '#!/bin/sh\\ntrue\\n' | sbatch --test-only --job-name=scripthut-check\n"
_TRIAL = program("trial", _TRIAL_TEXT, _ASKING_S)
_SLEEPING_PORTS = """cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    awk '$4 == "06" { n = split($2, at, ":"); if (at[n] < "0400") count++ } END { print count + 0 }'
"""


def _tools(*wanted: str) -> Probe:
    return Probe(step="tools", program=_TOOLS, argv=wanted, judge=partial(answers.tools, wanted))


# By the scheduler's name, tried before the poller's own questions and after them.
BEFORE: Mapping[str, tuple[Probe, ...]] = {
    "slurm": (
        _tools(*_SLURM_TOOLS),
        Probe(step="version", program=program("version", "exec squeue --version\n"), judge=answers.slurm_version),
    ),
    "pbs": (
        _tools(*_PBS_TOOLS),
        Probe(step="version", program=program("version", "exec qstat --version\n"), judge=answers.pbs_version),
        Probe(step="queue", program=_SERVER, judge=answers.server, if_silent=_HANGING_PBS),
        Probe(step="history", program=_SERVER, judge=answers.history, if_silent=_HANGING_PBS),
        Probe(step="ports", program=program("ports", _SLEEPING_PORTS), judge=answers.ports),
    ),
}
AFTER: Mapping[str, tuple[Probe, ...]] = {
    "slurm": (
        Probe(
            step="lag",
            program=program("lag", "exec sdiag\n", _ASKING_S),
            judge=answers.held_back,
            if_silent=_HANGING_SLURM,
        ),
        Probe(
            step="submitting",
            program=_TRIAL,
            judge=answers.trial,
            if_silent=_HANGING_SLURM,
        ),
    ),
}


def of_machine(cluster: Cluster) -> tuple[Probe, ...]:
    """Give the trials of the login node itself: software, directories, clock."""
    own = [("home", "~"), ("log_dir", cluster.log_dir)]
    if cluster.spool_dir is not None:
        own.append(("spool_dir", cluster.spool_dir))
    return (
        *_SOFTWARE,
        *(Probe(step=step, program=DIRECTORY, argv=(path,), judge=answers.directory) for step, path in own),
        *(_adopted(cluster, user) for user in cluster.adopted_users),
        *(_announced(root) for root in cluster.announced_roots),
        _CLOCK,
    )


def _adopted(cluster: Cluster, user: str) -> Probe:
    is_service = cluster.as_whom is AsWhom.SERVICE
    judge = partial(answers.readable if is_service else answers.readable_as_owner, user)
    return Probe(step="adoption", program=READABLE, argv=(user, cluster.adopt_log_dir), judge=judge)


def _announced(root: str) -> Probe:
    return Probe(step="announced", program=READABLE, argv=("", root), judge=partial(answers.readable, ""))
