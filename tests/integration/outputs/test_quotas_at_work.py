"""A service that runs, its access file, and what people see: quotas are kept, files say so, who looks is noted."""

import asyncio
from pathlib import Path

import httpx

from tests.integration.outputs.house import House, ended, paths
from tests.integration.outputs.running import Running


def _leave(below: Path) -> None:
    """What a task has left on the cluster."""
    folder = Path(paths(below / "logs")["output_dir"])
    folder.mkdir(parents=True)
    (folder / "a.dat").write_bytes(b"a" * 1000)


async def _file(client: httpx.AsyncClient, state: str) -> dict[str, str]:
    """The task's only output, once it stands so."""
    async with asyncio.timeout(60):
        while True:
            outputs = (await client.get("/runs/r1/tasks/t0/outputs")).json()
            if outputs["outputs_state"] not in {"pending", "collecting", "partial"}:
                for found in outputs["outputs"]:
                    if found["state"] == state:
                        return dict(found)
                await client.post("/runs/r1/tasks/t0/outputs/collect")
            await asyncio.sleep(0.2)


async def test_quotas_of_the_access_file_are_kept_and_told(house: House, migrated_uri: str, tmp_path: Path) -> None:
    access_file = tmp_path / "access.toml"
    _leave(tmp_path)
    access_file.write_text("[quotas]\ndefault_bytes = 10\n[quotas.bytes_of]\nbob = 1\n")

    async with (
        Running(migrated_uri, tmp_path, access_file=str(access_file)).up() as running,
        running.client() as ada,
        running.client("root") as root,
    ):
        await house.apply(ended(**paths(tmp_path / "logs")))
        left_out = await _file(ada, "over_quota")
        page = (await root.get("/ui/runs/r1/tasks/t0")).text
        bytes_of_it = await ada.get("/runs/r1/tasks/t0/outputs/file/a.dat")
        access_file.write_text("[quotas]\ndefault_bytes = 10_000\n")
        await _file(ada, "stored")
        async with asyncio.timeout(30):
            while not (await root.get("/admin/audit?actor=root&run=r1")).json()["entries"]:  # noqa: ASYNC110  rows set none
                await asyncio.sleep(0.1)

    assert left_out["reason"].startswith("over quota: ada holds 0 B of 10 B")
    assert "over quota: ada holds" in page
    assert (bytes_of_it.status_code, "over quota" in bytes_of_it.text) == (404, True)
