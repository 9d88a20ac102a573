"""Read one recorded answer of squeue as the poller does, and print what that cost: CPU seconds, greatest memory.

A process of its own, as the greatest memory of a process never falls.
"""

import json
import resource
import sys
import time
from pathlib import Path

from scripthut_common.shell import Answer
from scripthut_poller.schedulers.slurm import Slurm


def main(path: str, job_ids: list[str]) -> None:
    """Read the answer and look every job up, once."""
    answer = Answer(stdout=Path(path).read_bytes(), stderr=b"", exit_status=0)
    question = Slurm().queue(job_ids)
    began_s = time.process_time()
    queue = question.parse(answer)
    seen = sum(job_id in queue.jobs for job_id in job_ids)
    cpu_s = time.process_time() - began_s
    memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"cpu_s": cpu_s, "memory_mib": memory_kib / 1024, "seen": seen}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
