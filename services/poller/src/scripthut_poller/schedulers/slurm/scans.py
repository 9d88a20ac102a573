"""Find tagged and announced jobs of other accounts in Slurm: in the queue, and in accounting since the last scan.

A tag is the job's comment, given to sbatch or in the script. Accounting tells comments only where its operator has it
keep them, else the command line that named one.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer, Program
from scripthut_poller.schedulers import Question, scanning
from scripthut_poller.schedulers.reading import line, said
from scripthut_poller.schedulers.scanning import Candidate, Element, Scanned

from . import programs, rows

# `12`, `12_3`, `12_[3-9%2]`, `12+1` of a heterogeneous job.
_ID = re.compile(r"(?P<base>[0-9]{1,10})(_((?P<index>[0-9]{1,7})|\[(?P<list>[^\]]*)\])|\+(?P<part>[0-9]{1,9}))?")

# $1: a random mark, $2: accounts, comma-separated, $3: since when by this clock, or nothing, $4: rows for each account.
# Standard input: announced ids, a line each. Comments and command lines are users' text: squeue begins every record
# with the mark, sacct separates fields by it, and awk prints what concerns us and nothing else. A comment ends with
# its first line here: only its author can have cut it. A record without partition is Slurm's first draft of it, in
# which an array is a job.
SCAN = Program(
    name="slurm-scan",
    text=programs.PLAIN
    + f"""
export SLURM_BITSTR_LEN=0
announced=$(tr "\\n" " ") now=$(date +%s) || exit
since=${{3:-$((now - {scanning.FIRST_LOOK_BACK_S}))}}
ago=$((now - since + {scanning.OVERLAP_S}))
[ "$ago" -le {scanning.LONGEST_LOOK_BACK_S} ] || ago={scanning.LONGEST_LOOK_BACK_S}
echo "$now"
{{
    squeue -a -h -t all -u "$2" -o "$1|%i|%V|%u|%k"
    printf '\\n%s%s%s\\n' "$1" "$1" "$?"
    sacct -n -P -X -D --delimiter="$1" -u "$2" -S "now-${{ago}}seconds" -E now \\
        -s CD,F,TO,CA,NF,OOM,PR,BF,DL -o JobID,Submit,User,Partition,Comment,SubmitLine,State
    printf '\\n%s%s%s\\n' "$1" "$1" "$?"
}} | awk -v mark="$1" -v most="$4" -v announced="$announced" '
BEGIN {{
    count = split(announced, ids, " ")
    for (i = 1; i <= count; i++) wanted[ids[i]] = 1
    of_queue = 1; field = 1; begin = "scripthut:"
}}
function take(id, submitted, user, has, tag,    base) {{
    base = id
    sub(/[_+].*/, "", base)
    if (!has && !(base in wanted)) return
    tag = has ? "=" substr(tag, 1, 300) : ""
    size = length(id) + length(tag)
    if (taken[user] >= most || bytes[user] + size > {scanning.MAX_BYTES_PER_USER}) {{ left[user]++; return }}
    taken[user]++; bytes[user] += size
    print mark "|" id "|" submitted "|" user "|" tag
}}
index($0, mark mark) == 1 {{ print; of_queue = 0; field = 1; next }}
of_queue && index($0, mark "|") == 1 {{
    rest = substr($0, length(mark) + 2)
    for (i = 1; i < 4; i++) {{
        at = index(rest, "|")
        part[i] = substr(rest, 1, at - 1)
        rest = substr(rest, at + 1)
    }}
    has = index(rest, begin) == 1
    take(part[1], part[2], part[3], has, has ? substr(rest, length(begin) + 1) : "")
}}
of_queue || (field == 1 && $0 == "") {{ next }}
{{
    count = split($0, piece, mark)
    for (i = 1; i <= count; i++) {{
        if (i > 1) field++
        if (field < 5) {{ part[field] = piece[i]; has = 0; tag = "" }}
        else if (field == 5 && i > 1 && index(piece[i], begin) == 1) {{
            has = 1
            tag = substr(piece[i], length(begin) + 1)
        }}
        else if (field == 6 && !has && match(piece[i], /(^|[ \\t])--comment[= ]scripthut:[^ \\t]*/)) {{
            has = 1
            tag = substr(piece[i], RSTART, RLENGTH)
            tag = substr(tag, index(tag, begin) + length(begin))
        }}
    }}
    if (field < 7) next
    field = 1
    if (part[4] != "") take(part[1], part[2], part[3], has, tag)
}}
END {{ for (user in left) print mark "-" user "|" left[user]; print mark mark "end" }}'
""",
)


class SlurmScanner:
    """The words of Slurm; see `Scanner`."""

    def scan(self, users: Sequence[str], since: datetime | None, announced_ids: Sequence[str]) -> Question[Scanned]:
        """Ask for tagged and announced jobs of these accounts: one squeue, one sacct."""
        mark = scanning.new_mark()
        return Question(
            program=SCAN,
            argv=(mark, ",".join(users), scanning.epoch(since), str(scanning.MAX_ROWS_PER_USER)),
            stdin=b"".join(line(id_) for id_ in announced_ids if rows.is_job_id(id_)),
            parse=lambda answer: parse(answer, mark, frozenset(users)),
            cost=2,
        )


def parse(answer: Answer, mark: str, users: frozenset[str]) -> Scanned:
    """Read the answer of `SCAN`; jobs that the queue tells of are not taken from accounting once more.

    Raises:
        BadOutput: the queue did not answer, or the answer is not whole.
    """
    text = answer.stdout.decode("utf-8", "replace")
    at, found, left_out, statuses = scanning.read_rows(text, mark)
    if answer.exit_status or len(statuses) != 2 or statuses[0] != "0":
        raise BadOutput(f"exit status {answer.exit_status}: {said(answer)}")
    is_whole = statuses[1] == "0" or rows.NOT_KEPT in answer.stderr
    candidates = scanning.chosen(found, _candidate, users, left_out)
    return Scanned(candidates=candidates, at=at, is_whole=is_whole, left_out=left_out)


def _candidate(job_id: str, submitted: str, user: str, tagged: str) -> Candidate | None:
    known = _ID.fullmatch(job_id)
    # The other parts of a heterogeneous job end with the first.
    if known is None or int(known["part"] or 0):
        return None
    base = known["base"]
    elements: tuple[Element, ...] = (Element(job_id=base),)
    if known["index"] or known["list"] is not None:
        listed = scanning.indices(known["index"] or known["list"]) or ()
        elements = tuple(Element(job_id=f"{base}_{index}", index=index) for index in listed)
    return Candidate(
        base_id=base,
        user=user,
        submitted_at=rows.epoch_or_none(submitted),
        tag=tagged[1:] if tagged else None,
        elements=elements,
    )
