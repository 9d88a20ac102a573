"""The outputs service on a real port, in this process, with the in-process bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from scripthut_common import supervision
from scripthut_common.bus.memory import MemoryBus
from scripthut_common.clusters import Cluster
from scripthut_common.shell import RemoteShell
from scripthut_common.shell.local import LocalShell
from scripthut_common.supervision import Pulse
from scripthut_outputs import wiring
from scripthut_outputs.settings import Settings
from tests.integration.outputs.house import TOKENS
from tests.testbed.ports import reserve_port

CLUSTERS = '[clusters.daint]\nscheduler = "localhost"\n[clusters.eiger]\nscheduler = "localhost"\n'


class Running:
    """A service that runs; `shells` are its ways to the clusters, `changes` are other settings than the usual."""

    def __init__(self, database_url: str, folder: Path, **changes: Any) -> None:
        (folder / "clusters.toml").write_text(CLUSTERS)
        self.settings = Settings(
            database_url=database_url,
            clusters_file=str(folder / "clusters.toml"),
            tokens_file=str(folder / "tokens"),
            blobs_url=str(folder / "blobs"),
            listen_port=reserve_port(),
            **changes,
        )
        self.url = self.settings.url
        self.bus = MemoryBus()
        self.pulse = Pulse()
        self.stop = asyncio.Event()
        self.shells: list[RemoteShell] = []

    def client(self, actor: str | None = "ada") -> httpx.AsyncClient:
        headers = {} if actor is None else {"authorization": f"Bearer {TOKENS[actor]}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)

    def open_shell(self, cluster: Cluster) -> RemoteShell:
        shell = LocalShell(cluster.name)
        self.shells.append(shell)
        return shell

    @asynccontextmanager
    async def up(self) -> AsyncIterator["Running"]:
        """Run until the block ends."""
        service = wiring.build(self.settings, self.bus, self.pulse, shells=self.open_shell)
        async with asyncio.TaskGroup() as group:
            group.create_task(supervision.run(service.loops, self.pulse, self.stop))
            try:
                await self._answers()
                yield self
            finally:
                self.stop.set()
        await service.close()

    async def _answers(self) -> None:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                try:
                    await client.get(f"{self.url}/health/live")
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
                else:
                    return
