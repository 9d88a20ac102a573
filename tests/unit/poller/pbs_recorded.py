"""Recorded answers of PBS's clients, put as our programs put them."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import Accounted, Accounts, Queue
from scripthut_poller.schedulers.pbs import answers, rows

RECORDINGS = Path(__file__).parents[2] / "recordings" / "pbs"
RELEASE = "v23.06.06"
CLOCK = 1795415327
MARK = "5f0e8c1d" * 4
# What `-D` sets apart, unless it is written `\|`.
_DELIMITER = re.compile(r"(?<!\\)((?:\\\\)*)\|")


def said(name: str, version: str = RELEASE) -> tuple[int, str]:
    """Give exit status and complaint of a recording."""
    for line in (RECORDINGS / version / "index.jsonl").read_text().splitlines():
        known = json.loads(line)
        if known["name"] == name:
            return known["exit"], known["stderr"].strip()
    raise LookupError(name)


def rows_of_dsv(name: str, version: str = RELEASE) -> str:
    """Give recorded delimited text with our mark for a delimiter."""
    text = (RECORDINGS / version / f"{name}.stdout").read_bytes().decode("utf-8", "replace")
    return _DELIMITER.sub(lambda found: found[1] + MARK, text)


def jobs_of_json(name: str, version: str = RELEASE) -> dict[str, dict[str, str]]:
    """Give the attributes of every job in a recorded document, by id."""
    text = (RECORDINGS / version / f"{name}.stdout").read_text(errors="replace")
    document = json.loads(text, parse_int=str, parse_float=str)
    return {job_id: _flat(job) for job_id, job in document.get("Jobs", {}).items()}


def row(job_id: str, fields: Mapping[str, str]) -> str:
    return MARK.join([f"Job Id: {job_id}", *(f"{name}={value}" for name, value in fields.items())]) + "\n"


def block(output: str, status: int = 0, complaint: str = "", chunk: int = 0) -> bytes:
    """Put what a command printed as `ask` does."""
    size = len(complaint.encode())
    return f"{output}{MARK}{MARK}{chunk} {status} {size}\n{complaint}.\n".encode()


def answer(*blocks: bytes) -> Answer:
    return Answer(stdout=f"{CLOCK}\n".encode() + b"".join(blocks), stderr=b"", exit_status=0)


def unknown(job_id: str) -> bytes:
    """Put the proof that a job is not there."""
    return block("", 153, f"qstat: Unknown Job Id {job_id}")


def queue(output: str, *asked: str) -> Queue:
    """Read rows as an answer to these ids, all of which are shown."""
    return rows.queue(answer(block(output)), MARK, [list(asked)], asked)


def accounts(output: str, *asked: str) -> Accounts:
    return rows.accounts(answer(block(output)), MARK, [list(asked)])


def accounted(name: str, job_id: str, version: str = RELEASE) -> Accounted:
    """Read what the history has of one recorded job."""
    fields = jobs_of_json(name, version)[job_id]
    (only,) = accounts(row(job_id, fields), job_id).rows[job_id]
    return only


def ids_of(output: str) -> list[str]:
    return [line.split(MARK)[0].removeprefix("Job Id: ") for line in output.splitlines()]


def chunked(*ids: str) -> Sequence[Sequence[str]]:
    return answers.chunks(ids)


def _flat(job: Mapping[str, Any]) -> dict[str, str]:
    """Write an attribute with resources as delimited text does; variables in one."""
    found = {}
    for name, value in job.items():
        if name == "Variable_List":
            found[name] = ",".join(f"{key}={one}" for key, one in value.items())
        elif isinstance(value, dict):
            found |= {f"{name}.{key}": str(one) for key, one in value.items()}
        else:
            found[name] = str(value)
    return found
