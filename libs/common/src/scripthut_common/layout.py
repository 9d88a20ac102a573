"""Where a task's outputs lie on the cluster, and which names are legal in those paths.

Every path is absolute POSIX text below the run's log directory, already expanded (no `~`).
Source: the contract that authors write their scripts against, `docs/authors.md`.
"""

import re
from posixpath import dirname, join

from .errors import InvalidInput, Problem

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CLUSTER_NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
RESERVED_IDS = frozenset({"_run"})
ID_RULE = "1 to 128 of A-Z a-z 0-9 . _ - and beginning with a letter or digit"
CLUSTER_NAME_RULE = "1 to 63 of a-z 0-9 - and beginning with a letter or digit"


def is_id(text: str) -> bool:
    """Answer whether `text` may be the id of a run or a task."""
    return ID_PATTERN.fullmatch(text) is not None and text not in RESERVED_IDS


def is_cluster_name(text: str) -> bool:
    """Answer whether `text` may be the name of a cluster."""
    return CLUSTER_NAME_PATTERN.fullmatch(text) is not None


def require_id(text: str, field: str) -> str:
    """Return `text` unchanged.

    Raises:
        InvalidInput: it is not a legal id; never "cleaned".
    """
    if not is_id(text):
        raise InvalidInput(
            f"{field}: {text[:200]!r} is not a legal id", [Problem(field=field, message=f"must be {ID_RULE}")]
        )
    return text


def run_dir(log_dir: str, run_id: str) -> str:
    """The directory that holds every task's outputs of one run."""
    return join(log_dir, "outputs", require_id(run_id, "run_id"))


def output_dir(log_dir: str, run_id: str, task_id: str) -> str:
    """`SCRIPTHUT_OUTPUT_DIR`: the task's private directory."""
    return join(run_dir(log_dir, run_id), require_id(task_id, "task_id"))


def task_summary_path(log_dir: str, run_id: str, task_id: str) -> str:
    """`SCRIPTHUT_TASK_SUMMARY`: shown first on the task's panel."""
    return join(output_dir(log_dir, run_id, task_id), TASK_SUMMARY_NAME)


def records_dir(log_dir: str, run_id: str) -> str:
    """The run's own directory: fragments, start claims, exit records."""
    return join(run_dir(log_dir, run_id), "_run")


def run_summary_path(log_dir: str, run_id: str, task_id: str) -> str:
    """`SCRIPTHUT_RUN_SUMMARY`: the task's fragment of the run's summary."""
    return join(records_dir(log_dir, run_id), f"{require_id(task_id, 'task_id')}.md")


def claim_path(log_dir: str, run_id: str, task_id: str) -> str:
    """The directory whose creation claims the one execution of a submission."""
    return join(records_dir(log_dir, run_id), f"{require_id(task_id, 'task_id')}.claim")


def manifest_path(log_dir: str, run_id: str, task_id: str) -> str:
    """The exit record and file list, written last by the wrapper."""
    return join(records_dir(log_dir, run_id), f"{require_id(task_id, 'task_id')}.manifest")


def manifest_beside(fragment_path: str, task_id: str) -> str:
    """The exit record that lies beside a run-summary fragment."""
    return join(dirname(fragment_path), f"{require_id(task_id, 'task_id')}.manifest")


def stdout_path(log_dir: str, run_id: str, task_id: str) -> str:
    """Where the scheduler writes the job's standard output."""
    return _log_path(log_dir, run_id, task_id, "out")


def stderr_path(log_dir: str, run_id: str, task_id: str) -> str:
    """Where the scheduler writes the job's standard error."""
    return _log_path(log_dir, run_id, task_id, "err")


def _log_path(log_dir: str, run_id: str, task_id: str, suffix: str) -> str:
    name = f"scripthut_{require_id(run_id, 'run_id')}_{require_id(task_id, 'task_id')}.{suffix}"
    return join(log_dir, name)


TASK_SUMMARY_NAME = "task-summary.md"
