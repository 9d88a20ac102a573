"""The addresses of pages, made and read. Pure."""

import re
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from scripthut_common.errors import NotFound
from scripthut_outputs.ledger import Place
from scripthut_outputs.rendering import page_url

_TOLD_DIGITS = 12
_FILE = re.compile(rb"/ui/runs/([A-Za-z0-9._-]+)/tasks/([A-Za-z0-9._-]+)/files/(.+)", re.DOTALL)


def of_task(run_id: str, task_id: str) -> str:
    """The page of a task."""
    return f"/ui/runs/{run_id}/tasks/{task_id}"


def of_file(run_id: str, task_id: str, path: bytes) -> str:
    """The page of a file; its path's bytes are kept exactly."""
    return page_url(run_id, task_id, path)


def of_log(run_id: str, task_id: str, place: Place) -> str:
    """The page of standard output or error."""
    return f"{of_task(run_id, task_id)}/{place}"


def of_content(url: str, content: str | None) -> str:
    """The same address, another one for other bytes; `content` is their SHA-256. It is read by nobody.

    Browsers show a picture that they have without asking when only what is at its address has changed.
    """
    return f"{url}{'&' if '?' in url else '?'}v={(content or '')[:_TOLD_DIGITS]}"


def id_of(name: bytes) -> str:
    """What names a file in the ids of elements, whatever bytes its name has."""
    return sha256(name).hexdigest()[:_TOLD_DIGITS]


def read_file_path(raw_path: bytes, run_id: str, task_id: str) -> bytes:
    """Give the exact bytes of the path that a file page's raw address names; frameworks decode them lossily.

    Raises:
        NotFound: the address is not written as `of_file` writes that of a file of this run and task.
    """
    found = _FILE.fullmatch(raw_path)
    if found is None or (found[1].decode("ascii"), found[2].decode("ascii")) != (run_id, task_id):
        raise NotFound("there is no such file")
    return unquote_to_bytes(found[3])
