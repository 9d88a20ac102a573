"""The fixed programs that run PBS's commands on its login node. POSIX sh.

Every client command stands under a time limit of its own where `timeout` is there: a server that hangs keeps `qstat`
for ever. Times are printed in the client's own zone without saying so, hence `TZ`.
"""

from scripthut_common.shell import MIB, Program
from scripthut_poller.schedulers.handing_in import FUNCTIONS

PLAIN = """
export LC_ALL=C TZ=UTC0
set -f
if ! command -v qstat > /dev/null; then
    where=$(sed -n 's/^PBS_EXEC=//p' "${PBS_CONF_FILE:-/etc/pbs.conf}" 2> /dev/null)
    PATH=$PATH:${where:-/opt/pbs}/bin
fi
limit=
if command -v timeout > /dev/null; then limit='timeout -k 5 40'; fi
"""

_FIELDS = (
    "job_state|substate|exit_status|Exit_status|array_index|ctime|stime|mtime|obittime|history_timestamp|exec_host"
    "|comment|depend"
)

# `ask` runs a command and prints its output, the mark twice, which chunk of ids it was for, its exit status, and by its
# length what it complained of.
# Of a job's attributes, of which there are two kilobytes, only those come over that are read: none that users write.
# `look` asks for jobs by id, and `prove` once more for those that are missing, unless a refusal says already that all
# are. Among ids that are hidden from us nothing is refused: then it asks for either half, some times at most.
MAX_PROOFS = 12
_LOOKING = (
    PLAIN
    + """
mark=$1 chunk=0
ask() {
    answer=$({
        said=$($limit "$@" 2>&1 >&3 < /dev/null)
        printf '%s%s%s %s %s\\n%s.' "$mark" "$mark" "$chunk" "$?" "${#said}" "$said"
    } 3>&1 | awk -F "$mark" -v read="^($fields)=" '
        /^Job Id: / {
            row = $1
            for (n = 2; n <= NF; n++) if ($n ~ read) row = row FS $n
            $0 = row
        }
        { print }
    ')
    printf '%s\\n' "$answer"
}
look() {
    ask qstat -E $history -f -F dsv -D "$mark" "$@"
    case $answer in
        *"$mark$mark$chunk 0 0"*) is_refused= ;;
        *"$mark$mark$chunk 35 "* | *"$mark$mark$chunk 153 "*) is_refused=1 ;;
        *) return 1 ;;
    esac
    asked=$(printf '%s\\n' "$@" | sort)
    missing=$({
        printf '%s\\n' "$asked"
        printf '%s\\n' "$answer" | sed -n -e "s/$mark.*//" -e 's/^Job Id: //p'
    } | sort | uniq -u)
    if [ -z "$missing" ] || { [ -n "$is_refused" ] && [ "$missing" = "$asked" ]; }; then return 0; fi
    proofs=0
    prove $missing
}
prove() {
    ask qstat -E $history -f -F dsv -D "$mark" "$@"
    proofs=$((proofs + 1))
    case $answer in *"$mark$mark$chunk 0 0"*) ;; *) return 0 ;; esac
    if [ $# -lt 2 ] || [ "$proofs" -ge """
    + str(MAX_PROOFS)
    + """ ]; then return 0; fi
    half=$(($# / 2)) first=
    while [ "$half" -gt 0 ]; do
        first="$first $1" half=$((half - 1))
        shift
    done
    prove $first
    prove "$@"
}
"""
)

# $1: a random mark, $2: whether to look into the history. Standard input: a server and up to a thousand of its ids in a
# line. A server that fails is asked no further, and after one that hangs nobody is.
_LOOK_UP = (
    _LOOKING
    + """
history= fields='"""
    + _FIELDS
    + """'
if [ "$2" = history ]; then history=-x; fi
date +%s || exit
failed=' '
while IFS=' ' read -r server ids; do
    case $failed in
        *" $server "*) ;;
        *) look $ids || failed="$failed$server " ;;
    esac
    case $answer in *"$mark$mark$chunk 124 0"* | *"$mark$mark$chunk 137 0"*) break ;; esac
    chunk=$((chunk + 1))
done
"""
)
QUEUE = Program(name="pbs-queue", text=_LOOK_UP, timeout_s=115.0)
HISTORY = Program(name="pbs-history", text=_LOOK_UP, timeout_s=115.0)

# $1: a random mark, $2: how many seconds ago (whoever asks has another clock), to which ten minutes are added.
# Where no history is kept, `-x` is answered with nothing at all.
FIND = Program(
    name="pbs-find",
    timeout_s=115.0,
    text=_LOOKING
    + """
now=$(date +%s) || exit
from=$(date -d "@$((now - $2 - 600))" +%Y%m%d%H%M) || exit
echo "$now"
me=$(id -un) history=-x fields='ctime|job_state|Variable_List'
ask qselect -x -u "$me" "-tc.ge.$from"
case $answer in
    *'not configured to maintain job history'*) history=; ask qselect -u "$me" "-tc.ge.$from" ;;
esac
case $answer in
    *"$mark${mark}0 0 "*) ids=${answer%%"$mark"*} ;;
    *) exit 0 ;;
esac
[ -z "$ids" ] || look $ids
exit 0
""",
)

# $1: how many. Standard input: for each job ten lines (a backslash begins an octal escape), then the script by its
# length. Nothing is submitted of which not every byte has come. When the server does not answer, or after a minute,
# the rest is left for another time: nobody waits for an answer any more. -koed: output is written where it belongs
# from the start, not copied at the end, which may hold the job for half a minute and then fail.
SUBMIT = Program(
    name="pbs-submit",
    timeout_s=115.0,
    text=PLAIN
    + """
count=$1 index=0 reason='' began=$(date +%s) || exit
"""
    + FUNCTIONS
    + """
submit() {
    said=$(mkdir -p -- "$log_dir" "$records_dir" 2>&1) || { tell folder "$said"; return; }
    set -- -S /bin/bash -N "$job_name" -o "$out" -e "$err" -k oed -m n -v "SCRIPTHUT_TAG=$tag" $options
    [ "$held" = 0 ] || set -- "$@" -h
    [ -z "$after" ] || set -- "$@" -W "depend=afterok:$after"
    said=$(printf '%s' "$script" | $limit qsub "$@" 2>&1)
    status=$?
    tell "$status" "$said"
    case $status in 124 | 137 | 162) reason='the PBS server does not answer' ;; esac
    case $said in *'cannot connect to server'*) reason='the PBS server does not answer' ;; esac
    [ "$status" = 0 ] || return
    id=$(printf '%s\\n' "$said" | sed -n '/^[0-9][0-9]*\\.[A-Za-z0-9._-]*$/p')
    case $id in '' | *[!A-Za-z0-9._-]*) ;; *) eval "id_$index=$id" ;; esac
}
while [ "$index" -lt "$count" ]; do
    line; tag=$line
    line; log_dir=$line
    line; records_dir=$line
    line; out=$line
    line; err=$line
    line; job_name=$line
    line; options=$line
    line; after=$line
    line; parents=$line
    line; held=${line%% *} size=${line##* }
    script=$(head -c "$size"; printf .) && script=${script%.}
    [ "${#script}" = "$size" ] || exit 65
    now=$(date +%s) || exit
    [ $((now - began)) -lt 60 ] || reason=${reason:-'submitting takes too long'}
    if [ "$options" = ! ]; then
        tell unfit ''
    elif [ -n "$reason" ]; then
        tell later "$reason"
    elif resolve; then
        submit
    else
        tell orphan ''
    fi
    index=$((index + 1))
done
""",
)

# $@: ids. Older clients take a reserved port of the login node for every job, of which there are some hundred a minute
# for all its users: hence the pauses. The exit status is the last one that was not 0.
_EACH = """
worst=0
while [ $# -gt 0 ]; do
    some='' left=20
    while [ $# -gt 0 ] && [ $left -gt 0 ]; do some="$some $1" left=$((left - 1)); shift; done
    act $some || worst=$?
    case $worst in 124 | 137 | 162 | 255) exit $worst ;; esac
    [ $# = 0 ] || sleep 2
done
exit $worst
"""
RELEASE = Program(
    name="pbs-release",
    text=PLAIN + 'act() {\n    $limit qrls -h u "$@"\n}\n' + _EACH,
    timeout_s=170.0,
    idle_timeout_s=170.0,
    max_stderr_bytes=MIB,
)
CANCEL = Program(
    name="pbs-cancel",
    text=PLAIN + 'act() {\n    $limit qdel "$@"\n}\n' + _EACH,
    timeout_s=170.0,
    idle_timeout_s=170.0,
    max_stderr_bytes=MIB,
)
