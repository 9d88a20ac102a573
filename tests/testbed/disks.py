"""A small disk that a test can fill, so that what is written there meets a full one."""

from contextlib import suppress
from pathlib import Path

from tests.testbed.processes import Daemon, ServerError
from tests.testbed.workspaces import Server

MIB = 1024 * 1024
# In a mount namespace of its own: with the process goes the disk, however the tests end.
_PROGRAM = 'mount -t tmpfs -o "size=$1,mode=0700" none "$2" && exec sleep infinity'
_BALLAST = "ballast"


class SmallDisk(Server):
    """A file system in memory, in a folder that only `path` reaches.

    Attributes:
        path: the root of the disk; readable by root while this disk is open.
    """

    def __init__(self, size_bytes: int) -> None:
        """Make an empty disk.

        Raises:
            ServerError: this machine does not let us mount.
        """
        self._size_bytes = size_bytes
        super().__init__("disk")

    def fill(self) -> None:
        """Leave no room on it: whoever writes there is told that the disk is full."""
        with (self.path / _BALLAST).open("ab", buffering=0) as ballast:
            for piece in (MIB, 4096, 1):
                with suppress(OSError):
                    while True:
                        ballast.write(b"\0" * piece)

    def free(self) -> None:
        """Give the room back."""
        (self.path / _BALLAST).unlink(missing_ok=True)

    def _start(self) -> None:
        room = self._workspace.directory("disk")
        unshare = ["/usr/bin/unshare", "--mount", "--propagation", "private"]
        self.daemon = Daemon(
            [*unshare, "/bin/sh", "-c", _PROGRAM, "sh", str(self._size_bytes), room],
            self._workspace,
            name="disk",
            is_ready=self._is_mounted,
        )
        self._room = room
        self.daemon.start()
        self.path = self._seen()

    def _is_mounted(self) -> bool:
        try:
            return self._seen().stat().st_dev != self._room.stat().st_dev
        except (OSError, ServerError):
            return False

    def _seen(self) -> Path:
        return Path(f"/proc/{self.daemon.pid}/root{self._room}")


class FolderDisk:
    """The same for machines that let nobody mount: instead of full, it is away.

    Args:
        path: of a folder; made here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._aside = path.with_name(f"{path.name}.aside")
        path.mkdir()

    def fill(self) -> None:
        """Have a file where the folder was."""
        self.path.rename(self._aside)
        self.path.touch()

    def free(self) -> None:
        """Bring the folder back."""
        if self._aside.exists():
            self.path.unlink()
            self._aside.rename(self.path)
