"""Turn a task into the batch script that its scheduler runs. Pure."""

from scripthut_common.tasks import TaskSpec


def batch_script(task: TaskSpec, *, run_id: str, log_dir: str, working_dir: str | None, nonce: str) -> bytes:
    """Write the script of one submission, without the scheduler's header.

    Args:
        task: what its author wants to run.
        run_id: the run that it belongs to.
        log_dir: absolute, `~` expanded.
        working_dir: absolute, `~` expanded; `None` means the account's home.
        nonce: of the submission; the same again when the same submission is tried a second time.
    """
    raise NotImplementedError
