"""Take the pictures of the documentation anew: `python -m tests.pictures [FOLDER]`, into `docs/images`."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.integration.outputs.exhibition import opened
from tests.integration.outputs.exhibits import fill
from tests.pictures.taking import take
from tests.testbed import needs
from tests.testbed.postgres import PostgresServer

_IMAGES = Path(__file__).parents[2] / "docs" / "images"


def main() -> None:
    """Start a database, fill it, look at it, and say what each picture weighs."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description="Take the documentation's pictures.")
    parser.add_argument("folder", nargs="?", type=Path, default=_IMAGES, help="where to put them (docs/images)")
    folder = parser.parse_args().folder
    lacking = needs.lacking_for_postgres() or needs.lacking_for_browser()
    if lacking:
        sys.exit(lacking)
    folder.mkdir(parents=True, exist_ok=True)
    with PostgresServer() as server, tempfile.TemporaryDirectory() as blobs:
        asyncio.run(_take(server.databases.create(), Path(blobs), folder))


async def _take(database_uri: str, blobs: Path, folder: Path) -> None:
    async with opened(database_uri, blobs) as exhibition:
        await fill(exhibition.house)
        async for path in take(exhibition, folder):
            print(f"{path.stat().st_size // 1024:5} KiB  {path}", flush=True)


if __name__ == "__main__":
    main()
