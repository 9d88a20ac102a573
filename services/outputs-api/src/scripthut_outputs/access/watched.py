"""A file that may change while we run: looked at again within a second; what was right before counts until it is."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from scripthut_common.errors import SettingsError

_LOOK_AGAIN_S = 1.0
T = TypeVar("T")

log = structlog.get_logger()


class WatchedFile(Generic[T]):
    """What a file says now.

    Args:
        path: where it is.
        read: reads it.

    Raises:
        SettingsError: it is wrong from the start.
    """

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self._path = path
        self._read = read
        self._stamp = self._look()
        self._said = read(path)
        self._looked_at = time.monotonic()

    def now(self) -> T:
        """Give what it says; while it is being edited, and wrong, what it said before."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_AGAIN_S:
            self._looked_at = now
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._read_again()
        return self._said

    def _read_again(self) -> None:
        try:
            self._said = self._read(self._path)
        except SettingsError as error:
            log.warning("file_not_read", path=str(self._path), error=str(error))

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_ino)
