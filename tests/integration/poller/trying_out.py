"""A cluster without a scheduler in a directory of its own, and what tests ask of it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripthut_common.shell.local import LocalShell
from scripthut_poller.asking import ask
from scripthut_poller.localhost import processes, spool
from scripthut_poller.localhost.limits import Terms
from scripthut_poller.localhost.processes import Process
from scripthut_poller.localhost.scheduler import Localhost
from scripthut_poller.schedulers.job import Accounted, Action, Fate, Found, Job, Receipt, Submission
from tests.eventually import eventually


async def until(is_so: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
    """Return once the cluster says so."""
    async with asyncio.timeout(timeout_s):
        while not await is_so():  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Answer whether a process runs; one that nobody has waited for yet does not."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def waiting_for(flag: Path, then: str = "") -> str:
    """Write a script that goes on once the flag is there."""
    return f"while [ ! -e '{flag}' ]; do sleep 0.05; done; {then}"


def content(path: str) -> bytes:
    """Read a file."""
    return Path(path).read_bytes()


def names(folder: Path) -> list[str]:
    """List what lies in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


class TryingOut:
    """One spool, asked through a real shell."""

    def __init__(self, directory: Path, *, max_running: int = 4, grace_s: float = 1.0) -> None:
        self.directory = directory
        self.place = spool.Spool(directory / "spool")
        self.scheduler = Localhost(str(self.place.directory), Terms(max_running=max_running, grace_s=grace_s))
        self.shell = LocalShell()

    def job(self, tag: str, script: str, **values: Any) -> Submission:
        """Write a job that logs into this directory."""
        logs = self.directory / "logs"
        name = f"{abs(hash(tag))}"
        paths = {"stdout_path": str(logs / f"{name}.out"), "stderr_path": str(logs / f"{name}.err")}
        return Submission(
            **{
                "tag": tag,
                "script": script.encode("utf-8", "surrogateescape"),
                "log_dir": str(logs),
                "records_dir": str(logs / "records"),
                "job_name": "job",
                **paths,
                **values,
            }
        )

    async def receipts(self, *submissions: Submission) -> tuple[Receipt, ...]:
        return await ask(self.shell, self.scheduler.submit(submissions))

    async def submit(self, *submissions: Submission) -> list[str]:
        """Hand in what must be accepted."""
        receipts = await self.receipts(*submissions)
        assert [receipt.fate for receipt in receipts] == [Fate.ACCEPTED] * len(submissions), receipts
        return [receipt.job_id or "" for receipt in receipts]

    async def queue(self, *job_ids: str) -> Mapping[str, Job]:
        return (await ask(self.shell, self.scheduler.queue(job_ids))).jobs

    async def accounting(self, job_ids: Sequence[str]) -> Mapping[str, tuple[Accounted, ...]]:
        return (await ask(self.shell, self.scheduler.accounting(job_ids))).rows

    async def find(self, *tags: str) -> Found:
        return await ask(self.shell, self.scheduler.find(tags, 0.0))

    async def act(self, action: Action, *job_ids: str) -> Mapping[str, str]:
        return await ask(self.shell, self.scheduler.act(action, job_ids))

    async def ends(self, *job_ids: str, timeout_s: float = 60.0) -> list[Accounted]:
        """Wait until all are over and return how they ended."""

        async def are_over() -> bool:
            return not await self.queue(*job_ids)

        await until(are_over, timeout_s)
        rows = await self.accounting(job_ids)
        return [rows[job_id][0] for job_id in job_ids]

    async def is_running(self, job_id: str) -> bool:
        job = (await self.queue(job_id)).get(job_id)
        return job is not None and job.word == "RUNNING"

    def stdout_bytes(self, submission: Submission) -> bytes:
        return Path(submission.stdout_path).read_bytes()

    def stdout(self, submission: Submission) -> str:
        return Path(submission.stdout_path).read_text()

    def supervisor(self) -> int:
        """Say which process supervises."""
        return int(self.place.supervisor_lock.read_text())

    def is_supervised(self) -> bool:
        with suppress(FileNotFoundError):
            lock = spool.try_lock(self.place.supervisor_lock)
            if lock is None:
                return True
            os.close(lock)
        return False

    def leader(self, job_id: str) -> Process | None:
        """Say which process is the job's bash."""
        with suppress(FileNotFoundError):
            return spool.read(self.place.live / job_id / spool.PROCESS, Process)
        return None

    def runner(self, job_id: str) -> int:
        """Say which process waits for the job."""
        leader = self.leader(job_id)
        assert leader is not None
        return int(Path(f"/proc/{leader.pid}/stat").read_text().rpartition(")")[2].split()[1])

    async def end_supervisor(self) -> None:
        """Let the jobs alone with their runners."""
        if self.is_supervised():
            os.kill(self.supervisor(), signal.SIGTERM)
        await eventually(lambda: not self.is_supervised())

    async def close(self) -> None:
        """End every job, then the supervisor."""
        if not self.place.live.is_dir():
            return
        live = self.place.live_ids()
        leaders = [leader for leader in map(self.leader, live) if leader is not None]
        await self.act(Action.CANCEL, *live)
        await self.ends(*live)
        await self.end_supervisor()
        assert not [leader for leader in leaders if processes.describe(leader.pid) == leader]
