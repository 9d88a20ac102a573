"""From items to what a scheduler is given, from its receipts to what became of the items. Pure."""

from collections.abc import Sequence

from scripthut_common import layout
from scripthut_common.events import Outcome
from scripthut_poller import wrapper
from scripthut_poller.homes import expand
from scripthut_poller.schedulers.job import Fate, Found, Receipt, Submission
from scripthut_poller.watchlist.dependencies import Ready
from scripthut_poller.watchlist.items import Item, Key
from scripthut_poller.watchlist.recording import End
from scripthut_poller.watchlist.submissions import Handed


def submission(ready: Ready, home: str) -> Submission:
    """Write down what the scheduler is to be given for an item whose paths are known."""
    item, task = ready.item, ready.item.task
    if task is None or item.nonce is None or item.stdout_path is None or item.stderr_path is None:
        raise ValueError(f"{item.tag} is not ready to be submitted")
    working_dir = expand(task.working_dir, home) if task.working_dir else None
    return Submission(
        tag=item.tag,
        script=wrapper.batch_script(
            task, run_id=item.run_id, log_dir=item.log_dir, working_dir=working_dir, nonce=item.nonce
        ),
        log_dir=item.log_dir,
        records_dir=layout.records_dir(item.log_dir, item.run_id),
        stdout_path=item.stdout_path,
        stderr_path=item.stderr_path,
        job_name=item.task_id,
        after_ids=ready.after_ids,
        after_tags=tuple(parent.tag for parent in ready.after),
        is_held=item.is_held,
        partition=task.partition,
        account=task.account,
        cpus=task.cpus,
        memory=task.memory,
        time_limit=task.time_limit,
        gres=task.gres,
    )


def fates_of(ready: Sequence[Ready], receipts: Sequence[Receipt]) -> dict[Key, Handed | End]:
    """Read receipts, which come in the order of the submissions; what was deferred or is unsure has no fate yet."""
    fates: dict[Key, Handed | End] = {}
    for one, receipt in zip(ready, receipts, strict=True):
        if receipt.fate is Fate.ACCEPTED and receipt.job_id:
            fates[one.item.key] = Handed(job_id=receipt.job_id, submitted_at=receipt.submitted_at, at=receipt.at)
        elif receipt.fate is Fate.REFUSED:
            fates[one.item.key] = End(outcome=Outcome.SUBMISSION_FAILED, reason=receipt.message)
    return fates


def found_again(items: Sequence[Item], found: Found) -> dict[Key, Handed]:
    """Take the newest job of each tag that a look-up has found."""
    newest = {item.key: found.jobs[item.tag][0] for item in items if found.jobs.get(item.tag)}
    return {key: Handed(job_id=id_, submitted_at=found.submitted_at.get(id_)) for key, id_ in newest.items()}


def deferred(ready: Sequence[Ready], receipts: Sequence[Receipt]) -> list[Key]:
    """Name the items of which nothing was submitted, and which may be tried again."""
    return [
        one.item.key
        for one, receipt in zip(ready, receipts, strict=True)
        if receipt.fate in {Fate.DEFERRED, Fate.ORPHANED}
    ]
