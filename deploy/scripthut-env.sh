# shellcheck shell=bash
# ScriptHut in a batch script that you submit yourself: one line near its top,
#
#     source /path/to/scripthut-env.sh
#
# gives it SCRIPTHUT_OUTPUT_DIR, SCRIPTHUT_TASK_SUMMARY, SCRIPTHUT_RUN_SUMMARY, SCRIPTHUT_RUN_ID, SCRIPTHUT_TASK_ID and
# SCRIPTHUT_ATTEMPT, makes the directories, and notes how the script ended. Works on Slurm and PBS, in bash 4.3 or newer,
# also under `set -euo pipefail`; it never fails your job and never changes its exit status. Outside of a job it names
# the working directory and does nothing else. docs/authors.md tells more: run and task by a tag, traps of your own.
#
# SCRIPTHUT_LOG_DIR: below it everything is written; the service must look there too (`adopt_log_dir`).
# SCRIPTHUT_TAG: run/task, where the scheduler's own tag (Slurm's comment) is not to be asked for.
[ -n "${BASH_VERSION:-}" ] || return 0
case $BASH_VERSION in [0-3].* | 4.[0-2].*) return 0 ;; esac

# The next four are those of the batch scripts that ScriptHut itself writes.

# Attempts are one more than the scheduler's restarts; where it counts none, each leaves a directory here.
_sh_count() {
    _sh_attempt=1
    if [ -n "$_sh_restarts" ]; then
        _sh_attempt=$((_sh_restarts + 1))
        return
    fi
    while ! mkdir -- "$_sh_own/$_sh_attempt" 2> /dev/null && [ -d "$_sh_own/$_sh_attempt" ]; do
        _sh_attempt=$((_sh_attempt + 1))
    done
}

# Print the list of regular files, whole entries only; sets _sh_listed to the flag that the list deserves.
_sh_list() {
    local size mtime path files=0 found LC_ALL=C
    _sh_listed=unlisted
    find "$_sh_own" -maxdepth 0 -printf '' 2> /dev/null || return
    [ -d "$_sh_outputs" ] || { _sh_listed=; : > "$_sh_own/list"; return; }
    find "$_sh_outputs" -type f -printf '%s\0%T@\0%P\0' 2> /dev/null | head -c "$_sh_max_bytes" > "$_sh_own/found"
    found=("${PIPESTATUS[@]}")
    [ "${found[1]}" = 0 ] || return
    _sh_listed=
    [ "${found[0]}" = 0 ] || _sh_listed=truncated
    while IFS= read -r -d '' size && IFS= read -r -d '' mtime && IFS= read -r -d '' path; do
        [ "$files" -lt "$_sh_max_files" ] || { _sh_listed=truncated; break; }
        printf '%s\0' "$size" "$mtime" "$path" || { _sh_listed=unlisted; return; }
        files=$((files + 1))
    done < "$_sh_own/found" > "$_sh_own/list"
}

# Write the exit record: all of it under another name, then renamed. $1: exit code; $2: flags; $3: the file list.
_sh_write() {
    local ended
    printf -v ended '%(%s)T' -1
    {
        printf '%s\0' "$_sh_magic" "$1" "$_sh_attempt" "$_sh_job" "$_sh_nonce" "$HOSTNAME" "$_sh_began" "$ended" "$2" &&
            cat -- "$3"
    } 2> /dev/null > "$_sh_own/manifest" && mv -f -- "$_sh_own/manifest" "$_sh_records/$_sh_task.manifest"
}

_sh_record() {
    _sh_list
    [ "$_sh_listed" = unlisted ] || _sh_write "$1" "$_sh_flags$_sh_listed" "$_sh_own/list" 2> /dev/null ||
        _sh_listed=unlisted
    [ "$_sh_listed" != unlisted ] || _sh_write "$1" "${_sh_flags}unlisted" /dev/null ||
        echo "scripthut: the exit record of this task could not be written" >&2
    rm -f -- "$_sh_own/found" "$_sh_own/list" 2> /dev/null
}

# Say which job this is: its id, that of the whole array, its place there, its restarts, and a name for its run.
_sh_job_of() {
    local LC_ALL=C cluster
    _sh_job='' _sh_whole='' _sh_index='' _sh_restarts='' _sh_run=''
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        _sh_job=$SLURM_JOB_ID _sh_whole=$SLURM_JOB_ID _sh_restarts=${SLURM_RESTART_COUNT:-0}
        if [ -n "${SLURM_ARRAY_JOB_ID:-}" ] && [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
            _sh_whole=$SLURM_ARRAY_JOB_ID _sh_index=$SLURM_ARRAY_TASK_ID
            _sh_job=${_sh_whole}_$_sh_index
        fi
        cluster=${SLURM_CLUSTER_NAME:-}
        _sh_run=slurm-$cluster${cluster:+-}$_sh_whole
        _sh_is_id "$_sh_run" || _sh_run=slurm-$_sh_whole
    elif [ -n "${PBS_JOBID:-}" ]; then
        _sh_job=$PBS_JOBID _sh_whole=$PBS_JOBID
        case $PBS_JOBID in *'['[0-9]*']'*)
            _sh_index=${PBS_JOBID#*'['} _sh_whole=${PBS_JOBID%%'['*}[]${PBS_JOBID#*']'}
            _sh_index=${_sh_index%%']'*}
            ;;
        esac
        _sh_run=pbs-${_sh_whole/'[]'/}
    fi
}

_sh_is_id() {
    local LC_ALL=C
    case $1 in '' | _run | [!A-Za-z0-9]* | *[!A-Za-z0-9._-]*) return 1 ;; esac
    [ "${#1}" -le 128 ]
}

# Print the job's tag. A comment is asked for at the job's own id: of an array, every element has the same.
_sh_tag() {
    local comment
    if [ -n "${SCRIPTHUT_TAG:-}" ]; then
        printf '%s' "$SCRIPTHUT_TAG"
    elif [ -n "${SLURM_JOB_ID:-}" ]; then
        comment=$(
            unset SQUEUE_FORMAT SQUEUE_FORMAT2 SQUEUE_STATES SQUEUE_SORT
            timeout 15 squeue -a -h -t all -j "$SLURM_JOB_ID" -o %k 2> /dev/null | head -n 1
        )
        case $comment in scripthut:*) printf '%s' "${comment#scripthut:}" ;; esac
    fi
}

# Say which run and task this is: by the tag, else by the job.
_sh_name() {
    local tag
    _sh_base=job
    tag=$(_sh_tag) || :
    if [ -n "$tag" ]; then
        if [ "${tag#*/}" != "$tag" ] && _sh_is_id "${tag%%/*}" && _sh_is_id "${tag#*/}${_sh_index:+.$_sh_index}"; then
            _sh_run=${tag%%/*} _sh_base=${tag#*/}
        else
            echo "scripthut: the tag of this job is not RUN/TASK, each 1 to 128 of A-Z a-z 0-9 . _ -" >&2
        fi
    fi
    _sh_task=$_sh_base${_sh_index:+.$_sh_index}
}

# Tell the service of this job, by an empty file's name; what was told a month ago is taken away.
_sh_announce() {
    local name=$_sh_whole,$_sh_run,$_sh_base
    [ "${#name}" -le 255 ] && mkdir -p -- "$1" || return
    [ -e "$1/$name" ] || find "$1/." -maxdepth 1 -type f -user "$(id -u)" -name '[0-9]*,*,*' -mtime +30 -exec rm -f -- {} +
    touch -- "$1/$name"
}

_sh_export() {
    export SCRIPTHUT_OUTPUT_DIR=$1 SCRIPTHUT_TASK_SUMMARY=$1/task-summary.md SCRIPTHUT_RUN_SUMMARY=$2
    export SCRIPTHUT_RUN_ID=$_sh_run SCRIPTHUT_TASK_ID=$_sh_task SCRIPTHUT_ATTEMPT=$_sh_attempt SCRIPTHUT_JOB_ID=$_sh_job
}

# Without a place below the log directory the script still gets one, though nobody will look there.
_sh_make() {
    local LC_ALL=C elsewhere
    _sh_own=$_sh_records/$_sh_task.claim/$_sh_nonce
    if mkdir -p -- "$_sh_outputs" "$_sh_own" 2> /dev/null && [ -w "$_sh_outputs" ] && [ -w "$_sh_records" ]; then
        _sh_count
        printf '%s\0' "$_sh_job" "$_sh_attempt" "$_sh_nonce" 2> /dev/null >| "$_sh_own/job"
        _sh_export "$_sh_outputs" "$_sh_records/$_sh_task.md"
        return
    fi
    echo "scripthut: cannot write to $_sh_outputs; nothing of this job will be shown" >&2
    _sh_attempt=1
    elsewhere=$(mktemp -d) || elsewhere=$PWD
    _sh_export "$elsewhere" "$elsewhere/run-summary.md"
    return 1
}

# Note how the script ends. $1: its exit status. Call it from an EXIT trap that you set after sourcing this file.
scripthut_end() {
    [ "${_sh_pid:-}" = "$BASHPID" ] || return 0
    set -- "${_sh_killed:-$1}"
    (
        trap '' HUP INT QUIT TERM USR1 USR2
        trap - ERR DEBUG
        set +euC
        IFS=$' \t\n'
        _sh_record "$1"
    ) || :
}

_sh_is() {
    return "$1"
}

# A shell that dies of a signal runs its EXIT trap with the status of the command before, as if that were its own
# (seen with bash 5.2). So its EXIT trap is run here, with the signal's status, and then the signal does its work.
_sh_die() {
    local name=$1
    _sh_killed=$((128 + $(kill -l "$name")))
    eval "set -- $(trap -p EXIT)"
    _sh_exit=${3:-}
    trap "trap - $name; kill -s $name \$BASHPID" EXIT
}

# Set our EXIT trap; one that is there already runs after it, with the same $?.
_sh_trap() {
    local before name
    for name in HUP INT TERM USR1 USR2 PIPE ALRM VTALRM XCPU XFSZ ABRT SYS; do
        [ -n "$(trap -p "$name")" ] || trap "_sh_die $name; _sh_is \$_sh_killed || eval \"\$_sh_exit\"; exit \$_sh_killed" "$name"
    done
    before=$(trap -p EXIT)
    eval "set -- $before"
    _sh_before=${3:-}
    _sh_pid=$BASHPID
    if [ -z "$_sh_before" ]; then
        trap 'scripthut_end "$?" || :' EXIT
    else
        trap '_sh_status=$?; scripthut_end "$_sh_status" || :
if [ "$_sh_status" = 0 ]; then eval "$_sh_before"; else _sh_is "$_sh_status" || eval "$_sh_before"; fi' EXIT
    fi
}

_sh_begin() {
    local IFS=$' \t\n' home=~ log_dir
    printf -v _sh_began '%(%s)T' -1
    _sh_magic=scripthut-manifest-1 _sh_max_files=10000 _sh_max_bytes=16711680 _sh_flags=''
    _sh_job_of
    if [ -z "$_sh_job" ]; then
        export SCRIPTHUT_OUTPUT_DIR="${SCRIPTHUT_OUTPUT_DIR:-$PWD}" SCRIPTHUT_RUN_ID="${SCRIPTHUT_RUN_ID:-local}"
        export SCRIPTHUT_TASK_SUMMARY="${SCRIPTHUT_TASK_SUMMARY:-$SCRIPTHUT_OUTPUT_DIR/task-summary.md}"
        export SCRIPTHUT_RUN_SUMMARY="${SCRIPTHUT_RUN_SUMMARY:-$SCRIPTHUT_OUTPUT_DIR/run-summary.md}"
        export SCRIPTHUT_TASK_ID="${SCRIPTHUT_TASK_ID:-local}" SCRIPTHUT_ATTEMPT="${SCRIPTHUT_ATTEMPT:-1}"
        return
    fi
    # Set already: by ScriptHut, which submitted this job, or by the script that called this one.
    [ "${SCRIPTHUT_JOB_ID:-}" != "$_sh_job" ] || return 0
    _sh_name
    # A job that this one submits has a tag of its own.
    unset SCRIPTHUT_TAG
    log_dir=${SCRIPTHUT_LOG_DIR:-'~/scripthut'}
    case $log_dir in '~' | '~/'*) log_dir=$home${log_dir#?} ;; esac
    _sh_outputs=$log_dir/outputs/$_sh_run/$_sh_task _sh_records=$log_dir/outputs/$_sh_run/_run
    _sh_nonce=adopted-${_sh_job//[!A-Za-z0-9]/_}
    _sh_make || return 0
    _sh_announce "$log_dir/announced" 2> /dev/null
    _sh_trap
}

_sh_begin || :
