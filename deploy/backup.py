"""Back both services up while they run, and restore them into an empty place: backup.py save|restore FOLDER.

Told what the services are told: SCRIPTHUT_POLLER_DATABASE_URL, SCRIPTHUT_OUTPUTS_DATABASE_URL (or …_FILE) and
SCRIPTHUT_OUTPUTS_BLOBS_URL, a folder or a bucket. FOLDER may hold an earlier backup: blobs that are there stay.

The order is what makes a backup whole. The poller's database comes first: a service that is told again what it knows
does not mind, one that is never told would. The outputs service's comes next, blobs last: a blob is stored before the
row that names it, and never changes. That none is removed in between is seen to: meanwhile nothing is swept.

What it writes is for its own account alone, whatever the mask of whoever starts it.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from psycopg import ProgrammingError, conninfo, pq

import scripthut_outputs.settings
import scripthut_poller.settings
from scripthut_common import settings
from scripthut_common.database import Database
from scripthut_common.errors import Conflict, Error, NotFound, SettingsError, StoreUnavailable
from scripthut_outputs.blobs import open_store
from scripthut_outputs.blobs.ports import Batch, BlobStore, StoredBlob
from scripthut_outputs.catalog.retention import Retained
from scripthut_outputs.settings import StoreSettings
from scripthut_poller.settings import DatabaseSettings

SCHEMAS = ("poller", "outputs")
_PORTION_BYTES = 256 * 2**20
_WAIT_S = 5.0
# How libpq marks what must not be shown.
_SECRET = b"*"


class Place:
    """Where the services keep what they have."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        poller = settings.load(DatabaseSettings, environ, prefix=scripthut_poller.settings.PREFIX)
        outputs = settings.load(StoreSettings, environ, prefix=scripthut_outputs.settings.PREFIX)
        self.database_urls = dict(zip(SCHEMAS, (poller.database_url, outputs.database_url), strict=True))
        self.blobs = open_store(outputs.blobs_url, outputs.s3)


async def save(place: Place, folder: Path, programs: Path | None) -> int:
    """Write a backup; returns how many blobs were copied."""
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    async with _nothing_swept(place.database_urls["outputs"]):
        for schema, url in place.database_urls.items():
            dump, unfinished = folder / f"{schema}.dump", folder / f"{schema}.dump.unfinished"
            unfinished.unlink(missing_ok=True)  # one that is there would keep its mode
            await _run(["pg_dump", "--format=custom", f"--schema={schema}", f"--file={unfinished}"], url, programs)
            unfinished.replace(dump)
            print(f"{dump}: {dump.stat().st_size} bytes")
        return await copy(place.blobs, open_store(str(folder / "blobs")))


async def restore(place: Place, folder: Path, programs: Path | None) -> int:
    """Bring a backup to an empty place; returns how many blobs were copied. Blobs come first: rows never lie."""
    for schema in SCHEMAS:
        if not (folder / f"{schema}.dump").is_file():
            raise NotFound(f"{folder} is no backup: it has no {schema}.dump")
        if await _is_there(place.database_urls[schema], schema):
            raise Conflict(f"the database has a schema {schema!r} already: restore into an empty one")
    copied = await copy(open_store(str(folder / "blobs")), place.blobs)
    for schema, url in place.database_urls.items():
        words = ["pg_restore", "--exit-on-error", "--single-transaction", "--no-owner"]
        await _run([*words, str(folder / f"{schema}.dump")], url, programs)
    return copied


async def copy(source: BlobStore, target: BlobStore) -> int:
    """Copy blobs that are not there, each held against its name on the way; returns how many.

    Raises:
        StoreUnavailable: a store does not answer; or, when all others are copied, some are not what their names say.
    """
    there = {blob.sha256 async for blob in target.list_blobs()}
    batch, waiting_bytes, copied = await asyncio.to_thread(target.batch), 0, 0
    damaged: list[str] = []
    try:
        async for blob in source.list_blobs():
            if blob.sha256 in there:
                continue
            found = await _copied(source, blob.sha256, batch)
            if found.sha256 != blob.sha256:
                damaged.append(blob.sha256)
            copied, waiting_bytes = copied + 1, waiting_bytes + found.size_bytes
            if waiting_bytes > _PORTION_BYTES:
                await asyncio.to_thread(batch.settle)
                batch, waiting_bytes = await asyncio.to_thread(target.batch), 0
        await asyncio.to_thread(batch.settle)
    except BaseException:
        batch.abandon()
        raise
    if damaged:
        which = ", ".join(damaged[:10])
        raise StoreUnavailable(f"{len(damaged)} blobs are damaged, all others are copied; see `verify`: {which}")
    return copied


async def _copied(source: BlobStore, sha256: str, batch: Batch) -> StoredBlob:
    arriving = batch.begin()
    async for piece in source.stream(sha256):
        await asyncio.to_thread(arriving.write, piece)
    return await asyncio.to_thread(arriving.finish)


@asynccontextmanager
async def _nothing_swept(database_url: str) -> AsyncIterator[None]:
    """Be the only process that could remove files or blobs, and remove none; wait for one that does."""
    database = Database(database_url)
    try:
        while True:
            async with Retained(database).alone() as is_ours:
                if is_ours:
                    yield
                    return
            print("something is being removed just now; waiting for that", file=sys.stderr)
            await asyncio.sleep(_WAIT_S)
    finally:
        await database.close()


async def _is_there(url: str, schema: str) -> bool:
    database = Database(url)
    try:
        async with database.transaction() as connection:
            named = await connection.exec_driver_sql("SELECT nspname FROM pg_namespace")
            return schema in named.scalars()
    finally:
        await database.close()


async def _run(words: Sequence[str], url: str, programs: Path | None) -> None:
    """Run a program of PostgreSQL on a database; secrets stand in its environment, which others cannot see."""
    program = str(programs / words[0]) if programs else shutil.which(words[0])
    if program is None:
        raise NotFound(
            f"{words[0]} is not installed; it comes with PostgreSQL's client, of the server's version or newer"
        )
    shown, hidden = reached_by(url)
    argv = [program, f"--dbname={shown}", *words[1:]]
    done = await asyncio.to_thread(
        subprocess.run, argv, env={**os.environ, **hidden}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise StoreUnavailable(f"{words[0]} failed: {done.stderr.strip()[-2000:]}")


def reached_by(url: str) -> tuple[str, dict[str, str]]:
    """How libpq reaches a database: every parameter of its URL as a connection string, secrets as variables.

    Raises:
        SettingsError: it cannot be read, or has a secret for which libpq knows no variable, as `sslpassword`.
    """
    try:
        known = conninfo.conninfo_to_dict(url)
    except ProgrammingError:
        raise SettingsError("the database's URL cannot be read") from None
    hidden = {}
    for option in pq.Conninfo.get_defaults():
        name = option.keyword.decode()
        if option.dispchar == _SECRET and (secret := known.pop(name, None)):
            if option.envvar is None:
                raise SettingsError(f"`{name}` of the database's URL would be seen by others: use a key without one")
            hidden[option.envvar.decode()] = str(secret)
    return conninfo.make_conninfo("", **known), hidden


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="backup", description="Saves both services while they run; restores them.")
    parser.add_argument("act", choices=("save", "restore"))
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--programs", type=Path, metavar="FOLDER", help="where pg_dump and pg_restore are")
    asked = parser.parse_args(arguments)
    os.umask(0o077)
    doing = save if asked.act == "save" else restore
    try:
        copied = asyncio.run(doing(Place(os.environ), asked.folder, asked.programs))
    except (Error, OSError) as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1
    print(f"{copied} blobs were copied")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
