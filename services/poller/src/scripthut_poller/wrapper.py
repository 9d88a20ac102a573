"""Turn a task into the batch script that its scheduler runs. Pure.

The script keeps a plain shell around the author's: everything of the author's (init lines, environment, command)
runs in a child that cannot reach the outer shell, which claims the execution, forwards signals, waits, and notes
how it ended. Needs bash 4.3; the file list needs GNU find.
"""

import shlex
from collections.abc import Iterator

from scripthut_common import layout
from scripthut_common.manifest import MAGIC, MAX_BYTES, MAX_FILES
from scripthut_common.tasks import TaskSpec

_HEAD_BYTES = 64 * 1024


def batch_script(task: TaskSpec, *, run_id: str, log_dir: str, working_dir: str | None, nonce: str) -> bytes:
    """Write the script of one submission, without the scheduler's header.

    The header must set `SCRIPTHUT_JOB_ID`, and `SCRIPTHUT_RESTARTS` where the scheduler counts them. Without its last
    line the script is one unclosed group: it runs nothing.

    Args:
        task: what its author wants to run.
        run_id: the run that it belongs to.
        log_dir: absolute, `~` expanded.
        working_dir: absolute, `~` expanded; `None` means the account's home.
        nonce: of the submission; the same again when the same submission is tried a second time.
    """
    facts = "\n".join(_facts(task.id, run_id, log_dir, nonce))
    authors = "\n".join(_authors(task, run_id, log_dir, working_dir))
    text = f"{{\nset -o pipefail\n{facts}\n{_SETTING_OUT}{authors}\n{_SEEING_OUT}}}\n"
    return text.encode("utf-8", "surrogateescape")


def quote(text: str) -> str:
    """Quote one word. No CR stands before a newline: sbatch refuses scripts with the line ends of DOS."""
    return shlex.quote(text).replace("\r\n", "\r''\n")


def _facts(task_id: str, run_id: str, log_dir: str, nonce: str) -> Iterator[str]:
    yield f"_sh_task={quote(task_id)}"
    yield f"_sh_nonce={quote(nonce)}"
    yield f"_sh_outputs={quote(layout.output_dir(log_dir, run_id, task_id))}"
    yield f"_sh_records={quote(layout.records_dir(log_dir, run_id))}"
    yield f"_sh_magic={MAGIC.decode()} _sh_max_files={MAX_FILES} _sh_max_bytes={MAX_BYTES - _HEAD_BYTES}"


def _authors(task: TaskSpec, run_id: str, log_dir: str, working_dir: str | None) -> Iterator[str]:
    """Yield the author's part: it runs in a subshell, so nothing in it reaches the outer shell.

    Init lines are evaluated from a quoted word: an unclosed quote or brace in them cannot swallow what follows.
    The command travels through a pipe: it has no size limit, and other users cannot see it in a list of processes.
    """
    if task.init:
        yield f"eval {quote(chr(10).join(task.init))}"
    yield from (f"export {name}={quote(value)}" for name, value in task.env.items())
    yield f"export SCRIPTHUT_OUTPUT_DIR={quote(layout.output_dir(log_dir, run_id, task.id))}"
    yield f"export SCRIPTHUT_TASK_SUMMARY={quote(layout.task_summary_path(log_dir, run_id, task.id))}"
    yield f"export SCRIPTHUT_RUN_SUMMARY={quote(layout.run_summary_path(log_dir, run_id, task.id))}"
    yield f"export SCRIPTHUT_RUN_ID={quote(run_id)} SCRIPTHUT_TASK_ID={quote(task.id)} SCRIPTHUT_ATTEMPT=$_sh_attempt"
    yield "export SCRIPTHUT_JOB_ID=$_sh_job"
    yield 'cd -- "$HOME" || exit' if working_dir is None else f"cd -- {quote(working_dir)} || exit"
    command = quote(task.command)
    yield f"""exec "$_sh_bash" -o pipefail <(builtin printf '%s' {command} 2> /dev/null)"""


_SETTING_OUT = r"""_sh_job=$SCRIPTHUT_JOB_ID _sh_restarts=$SCRIPTHUT_RESTARTS
unset -v "${!SCRIPTHUT_@}"
_sh_bash=$BASH _sh_author= _sh_pending= _sh_flags=
_sh_own=$_sh_records/$_sh_task.claim/$_sh_nonce
printf -v _sh_began '%(%s)T' -1

# Claim the one execution of this submission. A directory that exists is this job's own after a requeue, else
# another job's; one that cannot be made (full disk) claims nothing, and the task runs.
_sh_claim() {
    local owner=
    mkdir -p -- "${_sh_own%/*}"
    if ! mkdir -- "$_sh_own" 2> /dev/null && [ -d "$_sh_own" ]; then
        IFS= read -r -d '' owner 2> /dev/null < "$_sh_own/job"
        if [ "$owner" != "$_sh_job" ] && ! { [ -z "$owner" ] && [ "${_sh_restarts:-0}" != 0 ]; }; then
            echo "scripthut: job ${owner:-?} already runs this task; job $_sh_job ends without running it" >&2
            exit 1
        fi
    fi
    _sh_count
    printf '%s\0' "$_sh_job" "$_sh_attempt" "$_sh_nonce" 2> /dev/null > "$_sh_own/job"
}

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

# SIGKILL may follow SIGTERM soon, so that much is noted at once; the record is written again when the task ends.
# Without the author's shell, before it began or after it ended, SIGTERM is only kept in mind.
_sh_forward() {
    [ "$1" != TERM ] || _sh_flags=terminated,
    if [ -z "$_sh_author" ]; then
        [ "$_sh_pending" = TERM ] || _sh_pending=$1
        return
    fi
    kill -s "$1" "$_sh_author" 2> /dev/null
    [ "$1" != TERM ] || _sh_write 143 terminated,unlisted /dev/null
}

_sh_claim
mkdir -p -- "$_sh_outputs"
for _sh_signal in HUP INT QUIT TERM USR1 USR2; do trap "_sh_forward $_sh_signal" "$_sh_signal"; done

# The author's shell is told apart by a shell between, deaf to signals, that reports its process id and its exit status
# through a pipe: bash's own `wait` may lose the status of a child that ends while a trap runs (seen with bash 5.2).
exec {_sh_out}>&1 {_sh_err}>&2 {_sh_report}< <(
    trap '' HUP INT QUIT TERM USR1 USR2
    exec 2> /dev/null
    (
        trap - HUP INT QUIT TERM USR1 USR2
        echo "$BASHPID"
        exec >&"$_sh_out" 2>&"$_sh_err" {_sh_out}>&- {_sh_err}>&-
"""

_SEEING_OUT = r"""    )
    echo "$?"
)
IFS= read -r -u "$_sh_report" _sh_author
[ -z "$_sh_pending" ] || _sh_forward "$_sh_pending"
if ! IFS= read -r -u "$_sh_report" _sh_status; then
    _sh_status=137
    [ "$_sh_pending" != TERM ] || _sh_status=143
fi
_sh_author=
trap '' HUP INT QUIT USR1 USR2
# SIGTERM to the whole job may end the author's shell before it comes here. It is still heard while the record is
# written, in a subshell as its tools must be deaf to it, and is then noted at once; the list of files follows.
if [ -n "$_sh_flags" ] || ! (trap '' TERM; _sh_record "$_sh_status") || [ -n "$_sh_flags" ]; then
    trap '' TERM
    _sh_write "$_sh_status" "${_sh_flags}unlisted" /dev/null 2> /dev/null
    _sh_record "$_sh_status"
fi
exit "$_sh_status"
"""
