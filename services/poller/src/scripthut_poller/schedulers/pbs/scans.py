"""Find tagged and announced jobs of other accounts in OpenPBS: alive, and in the history since the last scan.

A tag is the variable SCRIPTHUT_TAG of the job. The elements of an array are those that it was submitted with.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer, Program
from scripthut_poller.schedulers import Question, scanning
from scripthut_poller.schedulers.reading import line, said
from scripthut_poller.schedulers.scanning import Candidate, Element, Scanned

from . import programs

_JOB_ID = re.compile(r"(?P<number>[0-9]{1,12})(?P<array>\[\])?\.(?P<server>[A-Za-z0-9][A-Za-z0-9_.-]{0,254})")

# $1: a random mark, $2: accounts, comma-separated, $3: since when by this clock, or nothing, $4: rows for each account.
# Standard input: announced ids, a line each. Without history, `-x` is answered with nothing at all, so it is asked for
# by itself. qstat separates attributes by the mark and writes a job in a line; awk prints what concerns us and nothing
# else. A comma of a variable's own is written `\\,`.
SCAN = Program(
    name="pbs-scan",
    timeout_s=115.0,
    text=programs.PLAIN
    + f"""
mark=$1 most=$4 history=-x past=0
announced=$(tr "\\n" " ") now=$(date +%s) || exit
since=${{3:-$((now - {scanning.FIRST_LOOK_BACK_S}))}}
ago=$((now - since + {scanning.OVERLAP_S}))
[ "$ago" -le {scanning.LONGEST_LOOK_BACK_S} ] || ago={scanning.LONGEST_LOOK_BACK_S}
from=$(date -d "@$((now - ago))" +%Y%m%d%H%M) || exit
echo "$now"
ids=
select_jobs() {{
    found=$($limit qselect "$@" 2>&1 < /dev/null) || {{ printf '%s\\n' "$found" >&2; return 1; }}
    case $found in *'not configured to maintain job history'*) history=; return ;; esac
    [ -z "$found" ] || ids="$ids
$(printf '%s\\n' "$found" | head -n "$most")"
    count=$(printf '%s\\n' "$found" | wc -l)
    [ "$count" -le "$most" ] || printf '%s-%s|%s\\n' "$mark" "$user" "$((count - most))"
}}
IFS=,
set -- $2
unset IFS
for user; do
    select_jobs -u "$user" || exit
    [ -z "$history" ] || select_jobs -x -u "$user" "-tm.ge.$from" || past=$?
done
printf '%s%s%s\\n' "$mark" "$mark" "$past"
asked=$(printf '%s\\n' "$ids" | sed -e '/^$/d' -e '/[^][0-9A-Za-z_.-]/d' -e '/^[0-9]/!d' | sort -u)
{{
    set -- $asked
    while [ "$#" -gt 0 ]; do
        portion='' left=500
        while [ "$#" -gt 0 ] && [ "$left" -gt 0 ]; do
            portion="$portion $1" left=$((left - 1))
            shift
        done
        $limit qstat -E $history -f -F dsv -D "$mark" $portion < /dev/null
        status=$?
        case $status in 0 | 35 | 153) ;; *) printf '\\n%s%s%s\\n' "$mark" "$mark" "$status"; break ;; esac
    done
    printf '\\n%s%s0\\n' "$mark" "$mark"
}} | awk -v mark="$mark" -v announced="$announced" '
BEGIN {{ count = split(announced, ids, " "); for (i = 1; i <= count; i++) wanted[ids[i]] = 1 }}
index($0, mark mark) == 1 {{ print; next }}
index($0, "Job Id: ") != 1 {{ next }}
{{
    count = split($0, piece, mark)
    id = substr(piece[1], 9)
    owner = made = elements = variables = ""
    for (i = 2; i <= count; i++) {{
        if (index(piece[i], "Job_Owner=") == 1) owner = substr(piece[i], 11)
        else if (index(piece[i], "ctime=") == 1) made = substr(piece[i], 7)
        else if (index(piece[i], "array_indices_submitted=") == 1) elements = substr(piece[i], 25)
        else if (index(piece[i], "Variable_List=") == 1) variables = "x," substr(piece[i], 15)
    }}
    sub(/@.*/, "", owner)
    has = match(variables, /[^\\\\],SCRIPTHUT_TAG=[^,]*/)
    if (!has && !(id in wanted)) next
    tag = has ? "=" substr(variables, RSTART + 16, RLENGTH - 16 < 300 ? RLENGTH - 16 : 300) : ""
    size = length(id) + length(elements) + length(tag)
    if (bytes[owner] + size > {scanning.MAX_BYTES_PER_USER}) {{ left[owner]++; next }}
    bytes[owner] += size
    print mark "|" id " " elements "|" made "|" owner "|" tag
}}
END {{ for (user in left) print mark "-" user "|" left[user]; print mark mark "end" }}'
""",
)


class PbsScanner:
    """The words of OpenPBS; see `Scanner`."""

    def scan(self, users: Sequence[str], since: datetime | None, announced_ids: Sequence[str]) -> Question[Scanned]:
        """Ask for tagged and announced jobs of these accounts: qselect for each, then qstat by id."""
        mark = scanning.new_mark()
        return Question(
            program=SCAN,
            argv=(mark, ",".join(users), scanning.epoch(since), str(scanning.MAX_ROWS_PER_USER)),
            stdin=b"".join(line(id_) for id_ in announced_ids if _JOB_ID.fullmatch(id_)),
            parse=lambda answer: parse(answer, mark, frozenset(users)),
            cost=2 * len(users) + 1,
        )


def parse(answer: Answer, mark: str, users: frozenset[str]) -> Scanned:
    """Read the answer of `SCAN`.

    Sample, with M as mark: `1795457272`, `MM0`, `M|21[].pbs01 0-5|Mon Nov 23 07:05:59 2026|bob|=r/t1`, `MM0`, `MMend`.

    Raises:
        BadOutput: a command did not answer, or the answer is not whole.
    """
    at, found, left_out, statuses = scanning.read_rows(answer.stdout.decode("utf-8", "replace"), mark)
    if answer.exit_status or len(statuses) != 2 or statuses[1] != "0":
        raise BadOutput(f"exit status {answer.exit_status}: {said(answer)}")
    candidates = scanning.chosen(found, _candidate, users, left_out)
    return Scanned(candidates=candidates, at=at, is_whole=statuses[0] == "0", left_out=left_out)


def _candidate(id_and_elements: str, made: str, user: str, tagged: str) -> Candidate | None:
    job_id, _, listed = id_and_elements.partition(" ")
    known = _JOB_ID.fullmatch(job_id)
    if known is None:
        return None
    elements: tuple[Element, ...] = (Element(job_id=job_id),)
    if known["array"]:
        number, server = known["number"], known["server"]
        indices = scanning.indices(listed) or ()
        elements = tuple(Element(job_id=f"{number}[{index}].{server}", index=index) for index in indices)
    return Candidate(
        base_id=job_id,
        user=user,
        submitted_at=_time(made),
        tag=tagged[1:] if tagged else None,
        elements=elements,
    )


def _time(text: str) -> datetime | None:
    """Read a time as PBS writes it in UTC: `Mon Nov 23 07:05:59 2026`."""
    try:
        return datetime.strptime(text, "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None
