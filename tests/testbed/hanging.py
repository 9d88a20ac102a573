"""A file system that never answers: whoever asks it for anything sleeps in the kernel, as on a dead NFS server."""

import ctypes
import os
from pathlib import Path
from types import TracebackType
from typing import Self

_DETACH = 2


class HangingDirectory:
    """A FUSE mount over a directory, whose server never says its first word; needs root and /dev/fuse.

    Closing it lets everybody go who waits, with an error.
    """

    def __init__(self, path: Path) -> None:
        self._path = bytes(path)

    def __enter__(self) -> Self:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if self._libc.mount(b"hanging", self._path, b"fuse", 0, options) != 0:
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), "cannot mount")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._libc.umount2(self._path, _DETACH)
        os.close(self._fd)


def lacking() -> str:
    """Say why there can be no such directory; empty if there can."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "only root with /dev/fuse can mount a file system that hangs"
    return ""
