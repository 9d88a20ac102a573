"""Slurm as the poller sees it: what tests of its words ask again and again."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from scripthut_common import layout
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.shell.ssh import SshShell
from scripthut_common.tasks import TaskSpec
from scripthut_poller import records, wrapper
from scripthut_poller.records import Claim, Trace, Wanted
from scripthut_poller.schedulers import Question
from scripthut_poller.schedulers.job import Accounted, JobState, Receipt, Seen, Submission
from scripthut_poller.schedulers.slurm import Slurm
from tests.testbed.accounts import ALICE
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

Told = TypeVar("Told")
NONCE = "a1b2c3"


class Bed:
    """Slurm as the poller sees it, and a fresh log directory of Alice's in it."""

    def __init__(self, shell: SshShell, log_dir: Path, run_id: str) -> None:
        self.shell = shell
        self.log_dir = log_dir
        self.run_id = run_id
        self.slurm = Slurm()

    async def ask(self, question: Question[Told]) -> Told:
        return question.parse(await self.shell.run(question.program, *question.argv, stdin=question.stdin))

    def submission(self, task_id: str, command: str, **more: Any) -> Submission:
        fields = {name: more.pop(name) for name in ("partition", "time_limit", "memory", "cpus") if name in more}
        task = TaskSpec(id=task_id, command=command, env=more.pop("env", {}))
        log_dir, run_id = str(self.log_dir), self.run_id
        script = wrapper.batch_script(task, run_id=run_id, log_dir=log_dir, working_dir=log_dir, nonce=NONCE)
        return Submission(
            tag=f"{run_id}/{task_id}",
            script=script,
            log_dir=log_dir,
            records_dir=layout.records_dir(log_dir, run_id),
            stdout_path=layout.stdout_path(log_dir, run_id, task_id),
            stderr_path=layout.stderr_path(log_dir, run_id, task_id),
            job_name=task_id,
            **fields,
            **more,
        )

    async def submit(self, *submissions: Submission) -> list[Receipt]:
        receipts = await self.ask(self.slurm.submit(submissions))
        return list(receipts)

    async def run(self, task_id: str, command: str, **more: Any) -> str:
        """Submit one task and return its job id."""
        (receipt,) = await self.submit(self.submission(task_id, command, **more))
        assert receipt.job_id is not None, receipt
        return receipt.job_id

    @staticmethod
    async def until(condition: Callable[[], Awaitable[Told | None]]) -> Told:
        """Ask again until there is an answer."""
        async with asyncio.timeout(60):
            while (answer := await condition()) is None:  # noqa: ASYNC110  Slurm sets no event
                await asyncio.sleep(0.1)
        return answer

    async def sighted(self, job_id: str, state: JobState) -> Seen:
        async def look() -> Seen | None:
            sighting = (await self.ask(self.slurm.queue([job_id]))).look(job_id)
            return sighting if isinstance(sighting, Seen) and sighting.job.state is state else None

        return await self.until(look)

    async def left(self, *job_ids: str) -> None:
        """Wait until the queue holds none of these jobs; accounting takes up to 5 s more."""

        async def look() -> bool | None:
            queue = await self.ask(self.slurm.queue(job_ids))
            return None if any(job_id in queue.jobs for job_id in job_ids) else True

        await self.until(look)

    async def ended(self, job_id: str) -> Accounted:
        """Wait until accounting has the job's end."""

        async def look() -> Accounted | None:
            rows = (await self.ask(self.slurm.accounting([job_id]))).look(job_id)
            return rows[-1] if isinstance(rows, tuple) and rows[-1].outcome else None

        return await self.until(look)

    async def trace(self, task_id: str) -> Trace:
        where = layout.records_dir(str(self.log_dir), self.run_id)
        wanted = Wanted(records_dir=where, run_id=self.run_id, task_id=task_id, nonce=NONCE)
        return (await self.ask(records.read([wanted])))[self.run_id, task_id]

    async def claimed(self, task_id: str) -> Claim:
        """Wait until the task has begun."""

        async def look() -> Claim | None:
            return (await self.trace(task_id)).claim

        return await self.until(look)

    def logs(self, task_id: str) -> tuple[str, str]:
        log_dir = str(self.log_dir)
        paths = layout.stdout_path(log_dir, self.run_id, task_id), layout.stderr_path(log_dir, self.run_id, task_id)
        return Path(paths[0]).read_text(), Path(paths[1]).read_text()


@asynccontextmanager
async def slurm_bed(slurm: SlurmCluster, sshd: Sshd) -> AsyncIterator[Bed]:
    """Look at the testbed's Slurm over its sshd, as Alice."""
    cluster = Cluster(
        name="testbed",
        scheduler=SchedulerKind.SLURM,
        host=sshd.host,
        port=sshd.port,
        user=ALICE,
        key_file=str(sshd.key(ALICE)),
        known_hosts_file=str(sshd.known_hosts),
    )
    run_id = f"r{os.urandom(6).hex()}"
    shell = SshShell(cluster)
    try:
        yield Bed(shell, slurm.directory_of(ALICE) / run_id, run_id)
    finally:
        await shell.close()
