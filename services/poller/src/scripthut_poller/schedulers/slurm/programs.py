"""The fixed programs that run Slurm's commands on its login node. POSIX sh.

Users' settings (`SQUEUE_FORMAT`, `SACCT_FORMAT` …) in a login node's profile would change the answers, so they go.
"""

from scripthut_common.shell import MIB, Program
from scripthut_poller.schedulers.handing_in import FUNCTIONS

PLAIN = """
export LC_ALL=C SLURM_TIME_FORMAT=%s SLURM_BITSTR_LEN=0
for name in $(env | sed -n -e 's/^\\(SQUEUE_[A-Z_]*\\)=.*/\\1/p' -e 's/^\\(SACCT_[A-Z_]*\\)=.*/\\1/p' \\
    -e 's/^\\(SCANCEL_[A-Z_]*\\)=.*/\\1/p'); do unset "$name"; done
"""

# $1…: accounts besides our own. The state poll asks for no field that a user writes; the order is that of
# `queued.queue`. -a: partitions that are hidden or not open to us hold jobs too. Without -r a waiting array is one
# row. An account that this machine does not know is left out of -u, whatever jobs it has: then everybody's are asked.
QUEUE = Program(
    name="slurm-queue",
    text=PLAIN
    + """
date +%s || exit
users=$(id -u) || exit
id -nu >/dev/null 2>&1 || users=
for name; do
    user=$(id -u "$name" 2>/dev/null) && users=${users:+$users,$user} || users=
done
exec squeue -a -h ${users:+-u "$users"} \\
    -O 'JobArrayID:|,State:|,RestartCnt:|,SubmitTime:|,StartTime:|,BatchHost:|,Reason:|'
""",
)

# $1: ids, comma-separated, or nothing. $2: the arrays of the elements among them, or nothing: a row of all elements
# that were cancelled while they waited is found by the array's id alone. -D: a requeued job has a record for each
# execution. The order is that of `rows.accounts`.
ACCOUNTING = Program(
    name="slurm-accounting",
    text=PLAIN
    + """
date +%s || exit
sacct -V || exit
fields=JobID,State,ExitCode,Submit,Start,End,Partition,NodeList
[ -z "$1" ] || sacct -n -P -D -j "$1" -o "$fields" || exit
[ -z "$2" ] || exec sacct -n -P -D -X -s CA,DL -j "$2" -o "$fields"
""",
)

# $1: a random mark, $2: how many seconds ago (whoever asks has another clock). Ten minutes are added: the clock of the
# login node may differ from slurmctld's, but by less, since MUNGE lets a credential live for five. Comments and command
# lines are users' text: in the queue every record begins with the mark, in accounting fields are separated by it.
# -t all: slurmctld shows a job that has just ended before accounting does.
# -E now with states selects by end time; without, jobs that never became eligible would not show.
FIND = Program(
    name="slurm-find",
    text=PLAIN
    + """
date +%s || exit
squeue -a -h -t all -u "$(id -u)" -o "$1|%A|%V|%k" || exit
echo "$1$1"
exec sacct -n -P -X -D --delimiter="$1" -u "$(id -u)" -S "now-$(($2 + 600))seconds" -E now \\
    -s CD,F,TO,CA,NF,OOM,PR,BF,DL -o JobIDRaw,Submit,SubmitLine,State
""",
)

# $1: how many. Standard input: for each job nine lines (a backslash begins an octal escape), then the script by its
# length. Nothing is submitted of which not every byte has come. When slurmctld does not answer, or after a minute,
# the rest is left for another time: nobody waits for an answer any more. In the end slurmctld is asked when it took the
# jobs, by its own clock: that tells them from others that bear the same ids, also if they are over before a round sees
# them. What was requeued meanwhile has another time by then, and is left out.
SUBMIT = Program(
    name="slurm-submit",
    timeout_s=115.0,
    text="""
export LC_ALL=C
count=$1 index=0 reason='' ids='' began=$(date +%s) || exit
"""
    + FUNCTIONS
    + """
submit() {
    said=$(mkdir -p -- "$log_dir" "$records_dir" 2>&1) || { tell folder "$said"; return; }
    set -- --parsable "--comment=scripthut:$tag" "--job-name=$job_name"
    set -- "$@" "--output=$out" "--error=$err" --open-mode=append
    [ "$held" = 0 ] || set -- "$@" --hold
    [ -z "$after" ] || set -- "$@" "--dependency=afterok:$after" --kill-on-invalid-dep=yes
    said=$(printf '%s' "$script" | sbatch "$@" 2>&1)
    status=$?
    tell "$status" "$said"
    case $said in *'contact slurm controller'* | *'timed out'*) reason='slurmctld does not answer' ;; esac
    [ "$status" = 0 ] || return
    id=$(printf '%s\\n' "$said" | sed -n 's/^\\([0-9][0-9]*\\)\\(;.*\\)\\{0,1\\}$/\\1/p')
    case $id in '' | *[!0-9]*) ;; *) eval "id_$index=$id" ids=${ids:+$ids,}$id ;; esac
}
while [ "$index" -lt "$count" ]; do
    line; tag=$line
    line; log_dir=$line
    line; records_dir=$line
    line; out=$line
    line; err=$line
    line; job_name=$line
    line; after=$line
    line; parents=$line
    line; held=${line%% *} size=${line##* }
    script=$(head -c "$size"; printf .) && script=${script%.}
    [ "${#script}" = "$size" ] || exit 65
    now=$(date +%s) || exit
    [ $((now - began)) -lt 60 ] || reason=${reason:-'submitting takes too long'}
    if [ -n "$reason" ]; then tell later "$reason"; elif resolve; then submit; else tell orphan ''; fi
    index=$((index + 1))
done
said=''
[ -z "$ids" ] || [ -n "$reason" ] || said=$("""
    + PLAIN
    + """
squeue -a -h -t all -u "$(id -u)" -O 'JobID:|,RestartCnt:|,SubmitTime:|' 2> /dev/null |
    awk -F '|' -v ids=",$ids," 'index(ids, "," $1 ",")'
)
tell times "$said"
""",
)

RELEASE = Program(name="slurm-release", text='export LC_ALL=C\n[ -z "$1" ] || exec scontrol release "$1"\n')
CANCEL = Program(name="slurm-cancel", text=PLAIN + '[ $# = 0 ] || exec scancel "$@"\n', max_stderr_bytes=MIB)
