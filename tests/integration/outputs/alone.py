"""The application in a process of its own, to be measured, cut and killed.

python -m tests.integration.outputs.alone DATABASE FOLDER PORT LIMITS
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec

from scripthut_common.database import Database
from scripthut_common.serving import serve
from scripthut_outputs import app
from scripthut_outputs.catalog.changes import Listener
from scripthut_outputs.controllers.door import Rules
from scripthut_outputs.controllers.turns import Limits
from tests.integration.outputs.house import TOKENS, House
from tests.testbed.ports import reserve_port
from tests.testbed.processes import Daemon, wait_until
from tests.testbed.workspaces import Server

HOST = "127.0.0.1"


class Alone(Server):
    """A running process that serves a database and a folder of blobs which somebody else fills.

    Attributes:
        daemon: the process.
        url: where it listens.
    """

    def __init__(self, database_url: str, folder: Path, limits: Limits) -> None:
        self._argv = (database_url, str(folder))
        self._limits = limits
        self.port = reserve_port()
        self.url = f"http://{HOST}:{self.port}"
        super().__init__("alone")

    def client(self, actor: str = "ada") -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {TOKENS[actor]}"}, timeout=60)

    @property
    def peak_bytes(self) -> int:
        """The most resident memory since `forget_peak`."""
        return int(self._status("VmHWM").split()[0]) * 1024

    def forget_peak(self) -> int:
        """Begin to look for a peak anew; give what is resident now."""
        Path(f"/proc/{self.daemon.pid}/clear_refs").write_text("5")
        return self.peak_bytes

    @property
    def threads(self) -> int:
        """How many threads it has."""
        return int(self._status("Threads"))

    @property
    def open_blobs(self) -> int:
        """How many files of the blob store it holds open."""
        found = []
        for fd in Path(f"/proc/{self.daemon.pid}/fd").iterdir():
            try:
                found.append(str(fd.readlink()))
            except FileNotFoundError:
                continue
        return sum("/blobs/sha256/" in path for path in found)

    def wait_free(self, threads: int) -> None:
        """Wait until nothing is held of what downloads needed."""
        wait_until(lambda: self.open_blobs == 0 and self.threads <= threads, "downloads to be forgotten", 30)

    def _status(self, name: str) -> str:
        lines = Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines()
        return next(line for line in lines if line.startswith(f"{name}:")).partition(":")[2].strip()

    def _start(self) -> None:
        limits = msgspec.json.encode(self._limits).decode()
        argv = [sys.executable, "-m", "tests.integration.outputs.alone", *self._argv, str(self.port), limits]
        root = str(Path(__file__).parents[3])
        self.daemon = Daemon(
            argv, self._workspace, name="alone", is_ready=self._answers, environment={"PYTHONPATH": root}
        ).start()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live", headers={"host": "localhost"}).is_success
        except httpx.TransportError:
            return False


async def main(arguments: Sequence[str]) -> None:
    """Serve until killed."""
    database, folder, port = Database(arguments[0]), Path(arguments[1]), int(arguments[2])
    house = House(database, folder)
    limits = msgspec.json.decode(arguments[3], type=Limits)
    parts = msgspec.structs.replace(house.parts, archive_limits=limits)
    rules = Rules(allowed_hosts=frozenset({"localhost", HOST}), cors_origins=frozenset())
    async with asyncio.TaskGroup() as group:
        group.create_task(Listener(database, house.cache, house.hub).step())
        group.create_task(house.hub.step())
        group.create_task(serve(app.build(parts, rules), HOST, port))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
