"""Read the announcements that jobs left on the cluster, and where each account is at home. Text in, text out.

An announcement is an empty file `announced/<job id>,<run id>,<task id>` in the account's log directory; `deploy/
scripthut-env.sh` makes it. Its name says all, so none is ever opened: a link or a pipe in its place leads nowhere. It
is its author's claim: that the job is theirs is for the scheduler to say.
"""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from scripthut_common import layout
from scripthut_common.errors import BadOutput, InvalidInput
from scripthut_common.shell import Answer, Program

from .schedulers import Question, scanning
from .schedulers.reading import shown, text_of

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_NAME = re.compile(
    rf"(?P<job>[0-9][A-Za-z0-9_.\[\]-]{{0,99}}),(?P<run>{layout.ID_PATTERN.pattern}),(?P<task>{layout.ID_PATTERN.pattern})"
)

# $1: a random mark, $2: the log directory, $3: since when by this clock, or nothing, $4: announcements for each
# account, then the accounts. Only an account's own files count. Directories that are not open to us hold none, and
# those that do not answer are left for the next time.
_LOOK = Program(
    name="notices",
    text=f"""
export LC_ALL=C
mark=$1 dir=$2 since=$3 most=$4
shift 4
now=$(date +%s) || exit
since=${{since:-$((now - {scanning.FIRST_LOOK_BACK_S}))}}
ago=$((now - since + {scanning.OVERLAP_S}))
[ "$ago" -le {scanning.LONGEST_LOOK_BACK_S} ] || ago={scanning.LONGEST_LOOK_BACK_S}
for user; do
    case $user in '' | [!A-Za-z_]* | *[!A-Za-z0-9_.-]*) exit 65 ;; esac
    eval "home=~$user"
    case $home in /*) ;; *) continue ;; esac
    place=$dir
    case $dir in '~' | '~/'*) place=${{home%/}}${{dir#?}} ;; esac
    printf '%s%s|%s\\n' "$mark" "$user" "${{home%/}}"
    [ -L "$place/announced" ] || timeout 10 find "$place/announced/." -maxdepth 1 -type f -user "$user" \\
        -mmin "-$((ago / 60 + 1))" -name '[0-9]*,*,*' ! -name '*[!][A-Za-z0-9._,-]*' 2> /dev/null |
        head -n "$most" | sed 's|.*/||'
done
printf '%send\\n' "$mark"
""",
)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a job says of itself: which run and task it is. `job_id` is that of the whole array."""

    job_id: str
    run_id: str
    task_id: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account of the cluster: its home, and what its jobs have announced, by job id."""

    home: str
    notices: Mapping[str, Notice]


def look(users: Sequence[str], log_dir: str, since: datetime | None) -> Question[Mapping[str, Account]]:
    """Ask for homes and for announcements made since then (less an overlap); accounts that do not exist are left out.

    Args:
        users: whose jobs are adopted.
        log_dir: where their outputs lie; `~` is each account's own.
        since: by the cluster's own clock; `None` for the last day.
    """
    for user in users:
        if not _USER.fullmatch(user):
            raise InvalidInput(f"{user[:80]!r} is not the name of an account")
    mark = secrets.token_hex(16)
    return Question(
        program=_LOOK,
        argv=(mark, log_dir, scanning.epoch(since), str(scanning.MAX_ANNOUNCED), *users),
        parse=lambda answer: parse(answer, mark),
        cost=0,
    )


def parse(answer: Answer, mark: str) -> Mapping[str, Account]:
    """Read each account's home and announcements.

    Sample, with M as mark: `Mbob|/home/bob`, `12,slurm-12,job`, `Mend`.

    Raises:
        BadOutput: the answer is not whole.
    """
    lines = text_of(answer).split("\n")
    if lines[-2:] != [f"{mark}end", ""]:
        raise BadOutput("the answer is not whole")
    return dict(_accounts(lines[:-2], mark))


def _accounts(lines: Sequence[str], mark: str) -> Iterator[tuple[str, Account]]:
    begins = [index for index, line in enumerate(lines) if line.startswith(mark)]
    if not lines:
        return
    if begins[:1] != [0]:
        raise BadOutput(f"the announcements program printed {shown(lines[0])}")
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        user, _, home = lines[begin].removeprefix(mark).partition("|")
        if home and not home.startswith("/"):
            raise BadOutput(f"the home of {user!r} is {shown(home)}")
        found = (_notice(name) for name in sorted(lines[begin + 1 : end], reverse=True))
        yield user, Account(home=home, notices={one.job_id: one for one in found if one is not None})


def _notice(name: str) -> Notice | None:
    known = _NAME.fullmatch(name)
    if known is None or not layout.is_id(known["run"]) or not layout.is_id(known["task"]):
        return None
    return Notice(job_id=known["job"], run_id=known["run"], task_id=known["task"])
