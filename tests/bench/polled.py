"""Do one round's question to Slurm as the poller does, and print what that cost: CPU seconds, greatest memory.

A process of its own, as the greatest memory of a process never falls. Standard input: the cluster, and what to ask.
"""

import asyncio
import resource
import sys
import time

import msgspec

from scripthut_common.clusters import Cluster
from scripthut_common.shell import Program
from scripthut_common.shell.ssh import SshShell
from scripthut_poller.schedulers.slurm import Slurm


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask of which cluster; `text` is the program, which prints a row for each element of an array, or not."""

    cluster: Cluster
    text: str
    job_ids: tuple[str, ...]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """`received_s` is the part of `cpu_s` that went into SSH; `seen` is how many of the jobs were found."""

    cpu_s: float
    received_s: float
    memory_mb: float
    seen: int


async def cost(asked: Asked) -> Cost:
    """Ask over a connection that is open already, read the answer and look every job up, twice, as a round does."""
    shell = SshShell(asked.cluster)
    await shell.run(Program(name="nothing", text=":"))
    question = Slurm().queue(asked.job_ids)
    program = msgspec.structs.replace(question.program, text=asked.text)
    began_s = time.process_time()
    answer = await shell.run(program)
    received_s = time.process_time()
    queue = question.parse(answer)
    seen = [job_id in queue.jobs for _ in range(2) for job_id in asked.job_ids]
    ended_s = time.process_time()
    await shell.close()
    return Cost(
        cpu_s=ended_s - began_s,
        received_s=received_s - began_s,
        memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        seen=sum(seen) // 2,
    )


if __name__ == "__main__":
    told = asyncio.run(cost(msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)))
    sys.stdout.buffer.write(msgspec.json.encode(told))
