"""What the answer to each trial means. Pure: text in, finding out."""

import re
from collections.abc import Callable, Sequence

import msgspec

from scripthut_common.clusters import MIB

from .findings import Finding, Verdict, failed, fine, printable, warning

_SLOW_COMMAND_S = 1.0
_SLOW_ANSWER_S = 5.0
_SKEW_S = 30.0
_LOW_SPACE_KIB = 1024 * 1024
_LOW_FILES = 1000
_HELD_BACK = 200
_RESERVED_PORTS = 200
_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")
_SPACE = re.compile(r"(?P<total>[0-9]{1,18}) +[0-9]+ +(?P<left>[0-9]{1,18}) +[0-9]+% ")
_NUMBER = re.compile(r"[0-9]{1,12}")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_RAISE_PATH = "put it into the PATH of sessions without a terminal (~/.bashrc before any `return`, or sshd's SetEnv)"

# What a scheduler's commands complain of, in their words, and what helps.
_COMPLAINTS = (
    (r"munge", "munged does not run on the login node, or its key differs: `systemctl status munge` there"),
    (r"contact slurm controller", "slurmctld is down or out of reach: `scontrol ping`, `systemctl status slurmctld`"),
    (r"timed out on send/recv", "slurmctld hangs or is overloaded: `sdiag`, its log; ask the site"),
    (
        r"talking to the database|slurmdbd|accounting_storage",
        "slurmdbd is down: start it; exit records decide meanwhile",
    ),
    (r"configuration file|pbsconf error|slurm\.conf", "the login node lacks the scheduler's configuration"),
    (r"all reserved ports", "poll less often, or let PBS authenticate by munge: each call takes a port below 1024"),
    (r"errno=15008|unknown host", "the PBS server's name cannot be resolved: PBS_SERVER in /etc/pbs.conf"),
    (r"connect to server|errno=15010", "the PBS server is down or out of reach: `systemctl status pbs` on its host"),
    (r"invalid (user|account)", "the account is unknown to the scheduler: ask the site for an association"),
    (r"not found|no such file", _RAISE_PATH),
)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer as text, and when it was asked for (epoch seconds of our clock)."""

    stdout: str
    stderr: str = ""
    exit_status: int = 0
    sent_at_s: float = 0.0
    took_s: float = 0.0


Judge = Callable[[Reply], Finding]


def complaint(command: str, said: str, by_default: str) -> Finding:
    """Say that a command failed, with what helps against what it complains of."""
    known = (advice for words, advice in _COMPLAINTS if re.search(words, said, re.IGNORECASE))
    return failed(f"{command}: {printable(said, 240) or 'it said nothing'}", next(known, by_default))


def unsuccessful(command: str, reply: Reply, by_default: str = "") -> Finding:
    """Say that a command ended with an exit status other than 0."""
    if reply.exit_status == 127:
        return failed(f"{command}: it is not in PATH", _RAISE_PATH)
    said = printable(reply.stderr or reply.stdout, 200) or "it said nothing"
    advice = by_default or "try it by hand on the cluster"
    return complaint(command, f"{said} (exit status {reply.exit_status})", advice)


def times(took_s: Sequence[float], noise_bytes: int) -> Finding:
    """Judge what the login shell costs each command."""
    typical_s = sorted(took_s)[len(took_s) // 2]
    cost = f"{typical_s:.2f} s per command"
    if noise_bytes:
        return warning(
            f"{cost}; it prints {noise_bytes} bytes before every command",
            "we skip them, scp and rsync do not: print only where a terminal is (`[ -t 1 ]`) in its start-up files",
        )
    if typical_s > _SLOW_COMMAND_S:
        return warning(f"{cost}: slow", "look at what the account's start-up files do (`time bash -lc true` there)")
    return fine(f"silent, {cost}")


def tools(wanted: Sequence[str], reply: Reply) -> Finding:
    r"""Judge lines `squeue\t/usr/bin/squeue`, a path empty where there is none, then `PATH\t…`."""
    found = dict(line.split("\t", 1) for line in reply.stdout.splitlines() if "\t" in line)
    missing = [tool for tool in wanted if not found.get(tool)]
    if missing:
        searched = printable(found.get("PATH", ""), 150)
        return failed(f"not in PATH: {' '.join(missing)} (PATH is {searched})", _RAISE_PATH)
    folders = sorted({found[tool].rpartition("/")[0] for tool in wanted})
    return fine(f"{' '.join(wanted)} in {', '.join(folders)}")


def slurm_version(reply: Reply) -> Finding:
    """Judge `slurm-wlm 22.05.8`."""
    return _least("Slurm", reply, r"slurm", (20, 11), "`squeue --version`")


def pbs_version(reply: Reply) -> Finding:
    """Judge `pbs_version = 23.06.06`; Torque, Grid Engine and Slurm have a `qstat` of their own."""
    return _least("PBS", reply, r"pbs_version", (18, 1), "`qstat --version`")


def bash(reply: Reply) -> Finding:
    """Judge `5.2`."""
    return _least("bash", reply, "", (4, 3), "`bash`, which every task is run by")


def python3(reply: Reply) -> Finding:
    """Judge `3.11`; there is another way to read outputs, none to read generated lists."""
    found = _least("python3", reply, "", (3, 6), "`python3`, which outputs and generated lists are read with")
    return found if found.verdict is Verdict.FINE else warning(found.said, found.advice)


def reader(reply: Reply) -> Finding:
    """Judge the lines `python3 3.11`, `find works`, `tar (GNU tar) 1.34`: with what outputs will be read."""
    lines = reply.stdout.splitlines()
    said = next((line for line in lines if line.startswith("python3 ")), "")
    version = _VERSION.search(said)
    if version and (int(version[1]), int(version[2])) >= (3, 6):
        return fine(f"outputs are read by {said}")
    if "find works" in lines and any(line.startswith("tar (GNU tar)") for line in lines):
        return warning(
            "outputs are read by sh, GNU find and tar: fewer guarantees, and only what the account itself owns",
            "install python3 3.6 or newer, or put it into the PATH of sessions without a terminal",
        )
    return failed(
        "outputs cannot be read: there is neither python3 (3.6 or newer) nor GNU find and tar",
        "install python3, or put it into the PATH of sessions without a terminal",
    )


def _least(what: str, reply: Reply, mark: str, least: tuple[int, int], tried: str) -> Finding:
    wanted = f"{least[0]}.{least[1]:02d}" if least[1] > 9 else f"{least[0]}.{least[1]}"
    if reply.exit_status:
        return unsuccessful(tried, reply)
    line = printable(reply.stdout, 80)
    found = _VERSION.search(line)
    if found is None or not re.search(mark, line):
        return failed(f"{tried} printed '{line}'", f"{what} {wanted} or newer is needed")
    if (int(found[1]), int(found[2])) < least:
        return failed(f"{line}: too old", f"{what} {wanted} or newer is needed")
    return fine(line)


def find(reply: Reply) -> Finding:
    """Judge whether find prints what only GNU find prints: the line `/ works`."""
    if reply.exit_status == 0 and reply.stdout.strip() == "/ works":
        return fine("it is GNU find")
    said = printable(reply.stderr or reply.stdout, 100) or "it said nothing"
    return warning(
        f"`find -printf` failed: {said}",
        "install GNU findutils: without it a task's record lists no files, and late ones (NFS) may be missed",
    )


def tar(reply: Reply) -> Finding:
    """Judge the first line of `tar --version`."""
    if reply.exit_status == 0:
        return fine(reply.stdout.partition("\n")[0])
    return warning("`tar --version` failed", "install tar: authors pack large outputs with it")


def clock(reply: Reply) -> Finding:
    """Judge `date +%s` against the middle of the time that it took."""
    text = reply.stdout.strip()
    if reply.exit_status or not _NUMBER.fullmatch(text):
        return failed(f"`date +%s` printed '{printable(text or reply.stderr, 80)}'", "have a `date` that knows %s")
    ahead_s = int(text) + 0.5 - (reply.sent_at_s + reply.took_s / 2)
    return skew("the cluster's clock", ahead_s)


def skew(whose: str, ahead_s: float) -> Finding:
    """Judge how far another clock is from ours."""
    if abs(ahead_s) <= _SKEW_S:
        return fine(f"{whose} is within {max(abs(ahead_s), 1):.0f} s of ours")
    off = duration(abs(ahead_s))
    return warning(
        f"{whose} is {off} {'ahead of' if ahead_s > 0 else 'behind'} ours",
        "run NTP on both: verdicts do not suffer, the times that people read do",
    )


def duration(seconds: float) -> str:
    """Write `45 s`, `12 min`, `3.0 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def directory(reply: Reply) -> Finding:
    r"""Judge the lines that `probes.DIRECTORY` prints: path, there, refused, space, files, type."""
    said = dict(line.partition(" ")[::2] for line in reply.stdout.splitlines())
    path, there = said.get("path", ""), said.get("there", "")
    if reply.exit_status or not there:
        return unsuccessful("looking at the directory", reply)
    if "refused" in said:
        aim = "" if path == there else f"{path}: not there yet, and "
        return failed(
            f"{aim}cannot write in {there}: {said['refused'].rpartition(': ')[2]}",
            "give the account a directory that it may write to, with room and quota left, or name another one",
        )
    where = f"{path}: writable" if path == there else f"{path}: not there yet, can be made in {there}"
    scarce = _scarcity(said)
    if scarce:
        return warning(f"{where}, {scarce}", "clean up, or name another directory: full disks lose records and outputs")
    if said.get("type") in _IN_MEMORY:
        return warning(f"{where}, lies in memory ({said['type']})", "name a directory that compute nodes see as well")
    space = _SPACE.search(f"{said.get('space', '')} ")
    free = f", {int(space['left']) / MIB:.0f} GiB free" if space else ""
    return fine(f"{where}{free}")


def _scarcity(said: dict[str, str]) -> str:
    space, files = (_SPACE.search(f"{said.get(what, '')} ") for what in ("space", "files"))
    if space and int(space["left"]) < _LOW_SPACE_KIB:
        return f"only {int(space['left']) / 1024:.0f} MiB free"
    if files and int(files["total"]) and int(files["left"]) < _LOW_FILES:
        return f"only {files['left']} more files fit (inodes)"
    return ""


def readable_as_owner(user: str, reply: Reply) -> Finding:
    """Judge the same where outputs and exit records are read as this user, and announcements alone as ourselves."""
    word, _, path = reply.stdout.strip().partition(" ")
    if word != "closed":
        return readable(user, reply)
    return warning(
        f"{user}: {path}: our account may not read it",
        "nothing to do for jobs with a tag, which are read as their owner; those without one are not found",
    )


def readable(whose: str, reply: Reply) -> Finding:
    """Judge `ok PATH`, `missing PATH`, `closed PATH` or `nobody` of `probes.READABLE`."""
    word, _, path = reply.stdout.strip().partition(" ")
    path = f"{whose}: {path}" if whose else path
    match word:
        case "ok":
            return fine(f"{path}: readable")
        case "missing":
            return warning(f"{path}: not there yet", "nothing to do if nobody has written outputs there so far")
        case "closed":
            return failed(
                f"{path}: our account may not read it",
                "have its owner open it and what is above it (`chmod go+rx`)",
            )
        case "nobody":
            return failed(f"{whose}: the cluster knows no such account", "correct `adopt` in the clusters file")
    return unsuccessful("looking at the directory", reply)


def held_back(reply: Reply) -> Finding:
    """Judge `DBD Agent queue size: 0` of `sdiag`: what slurmctld has not yet handed to accounting."""
    found = re.search(r"DBD Agent queue size: *([0-9]{1,12})", reply.stdout)
    if reply.exit_status == 127:
        return warning("how late it is cannot be told: `sdiag` is not in PATH", _RAISE_PATH)
    if reply.exit_status or found is None:
        said = printable(reply.stderr or reply.stdout, 120) or "it said nothing"
        return warning(f"how late it is cannot be told: {said}", "see what the queue says above")
    if int(found[1]) > _HELD_BACK:
        return warning(
            f"slurmctld holds {found[1]} records back from slurmdbd",
            "accounting is late: see slurmdbd and its database; exit records decide meanwhile",
        )
    return fine(f"slurmctld holds {found[1]} records back from slurmdbd")


def trial(reply: Reply) -> Finding:
    """Judge `sbatch --test-only`, which says when a plain job would start."""
    said = printable(reply.stderr or reply.stdout, 160)
    if reply.exit_status == 0:
        return fine("sbatch would take a plain job")
    known = unsuccessful("`sbatch --test-only`", reply)
    if known.advice and re.search(r"controller|munge|timed out|not found|configuration file", said, re.IGNORECASE):
        return known
    return warning(
        f"sbatch refuses a plain job: {said}", "name partition, account or time limit in every task as the site asks"
    )


def server(reply: Reply) -> Finding:
    """Judge `server_state = Active` of `qstat -Bf`."""
    found = re.search(r"server_state = (\S+)", reply.stdout)
    if reply.exit_status or found is None:
        return unsuccessful("`qstat -Bf`", reply)
    took = f"`qstat -Bf` answers in {reply.took_s:.2f} s, the server is {found[1]}"
    if found[1] in {"Terminating", "Terminating_Delayed"}:
        return failed(took, "the server is being stopped: ask the site")
    return fine(took) if reply.took_s < _SLOW_ANSWER_S else warning(took, "it is slow: rounds will be late")


def history(reply: Reply) -> Finding:
    """Judge `job_history_enable = True` and `job_history_duration = 336:00:00` of `qstat -Bf`."""
    if reply.exit_status:
        return unsuccessful("`qstat -Bf`", reply)
    if not re.search(r"job_history_enable = True", reply.stdout):
        return warning(
            "the server keeps no history of ended jobs: exit records alone decide",
            "ask the site for `qmgr -c 'set server job_history_enable = True'`",
        )
    kept = re.search(r"job_history_duration = ([0-9]{1,9}):([0-9]{2})", reply.stdout)
    hours = int(kept[1]) + int(kept[2]) / 60 if kept else 336.0
    if hours < 1:
        return warning(f"ended jobs are kept for {duration(3600 * hours)} only", "ask the site for a day or more")
    return fine(f"ended jobs are kept for {duration(3600 * hours)}")


def ports(reply: Reply) -> Finding:
    """Judge how many ports below 1024 rest after use: PBS without munge takes one for each call, for a minute."""
    text = reply.stdout.strip()
    if reply.exit_status or not _NUMBER.fullmatch(text):
        return warning("how many reserved ports are in use cannot be told", "nothing, unless qstat stalls now and then")
    if int(text) > _RESERVED_PORTS:
        return warning(
            f"{text} reserved ports rest after use on the login node",
            "qstat will stall for everybody there: raise poll_interval_s, or have the site authenticate by munge",
        )
    return fine(f"{text} rest after use on the login node; some 500 are there")


def answered(command: str, what: str, took_s: float) -> Finding:
    """Judge how long the scheduler took for one of the poller's own questions."""
    told = f"{command} answers in {took_s:.2f} s: {what}"
    return (
        fine(told)
        if took_s < _SLOW_ANSWER_S
        else warning(told, "it is slow: rounds will be late; see the scheduler's load")
    )


def sessions(opened: int, wanted: int) -> Finding:
    """Judge how many sessions one connection may have at a time, against `max_sessions`."""
    if opened >= wanted:
        return fine(f"sshd opens {opened} at a time, as many as max_sessions")
    return failed(
        f"sshd opens {opened} at a time and refuses the next; max_sessions is {wanted}",
        f"set max_sessions = {max(opened, 1)} in the clusters file, or raise MaxSessions in sshd_config",
    )
