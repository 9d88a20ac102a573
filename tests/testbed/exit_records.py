"""Exit records as the wrapper writes them, for tasks that no wrapper ran."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from scripthut_common import layout, manifest

Seen = tuple[bytes, int, bytes]
"""A file's path below the output directory, its size in bytes, its time as `find` prints it."""


def write_record(
    log_dir: str,
    run_id: str,
    task_id: str,
    seen: Iterable[Seen] | None = None,
    *,
    attempt: int = 1,
    job_id: str = "42",
    flags: bytes = b"",
) -> Path:
    """Write a task's exit record; it names what is in the output directory now, or `seen`."""
    files = regular_files(layout.output_dir(log_dir, run_id, task_id).encode()) if seen is None else seen
    head = [manifest.MAGIC, b"0", b"%d" % attempt, job_id.encode(), b"nonce", b"node", b"1", b"2", flags]
    fields = [field for path, size_bytes, mtime in files for field in (b"%d" % size_bytes, mtime, path)]
    record = Path(layout.manifest_path(log_dir, run_id, task_id))
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_bytes(b"\0".join([*head, *fields, b""]))
    return record


def regular_files(folder: bytes) -> Iterator[Seen]:
    r"""Yield what `find -type f -printf '%s\0%T@\0%P\0'` prints."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  a path of bytes
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode):
                yield os.path.relpath(path, folder), found.st_size, b"%d.%09d0" % divmod(found.st_mtime_ns, 10**9)
