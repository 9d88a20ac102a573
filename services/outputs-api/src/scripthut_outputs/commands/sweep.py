"""Do one pass of retention and sweep now, and say what it did."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from scripthut_common import clusters as clusters_file
from scripthut_common import telemetry, text
from scripthut_common.database import Database
from scripthut_common.errors import Conflict
from scripthut_outputs.blobs import open_store
from scripthut_outputs.retention import Done, Keeper, Terms
from scripthut_outputs.retention.deciding import size
from scripthut_outputs.settings import SweepSettings, load_some


async def sweep(environ: Mapping[str, str], *, is_dry: bool, is_json: bool) -> None:
    """Remove what retention says and what nobody refers to; a dry pass only tells.

    Raises:
        Conflict: another process is at it.
        SettingsError: settings are missing or wrong.
        TransientError: the database or the store is away; what was done is done.
    """
    telemetry.configure({"SCRIPTHUT_LOG_LEVEL": "error", **environ})
    found = load_some(SweepSettings, environ)
    clusters = clusters_file.load(Path(found.clusters_file))
    database = Database(found.database_url)
    terms = Terms(grace_s=found.sweep_grace_s)
    keeper = Keeper(database, open_store(found.blobs_url, found.s3), clusters, terms, CollectorRegistry())
    try:
        done = await (keeper.preview() if is_dry else keeper.work())
    finally:
        await database.close()
    if done is None:
        raise Conflict("another process is removing and sweeping just now")
    if is_json:
        print(text.ascii_json(msgspec.json.format(msgspec.json.encode(done), indent=2)))
    else:
        _tell(done, "would be " if is_dry else "")


def _tell(done: Done, mood: str) -> None:
    for taken in done.removed:
        amount = f"{taken.files} files, {size(taken.stored_bytes)}"
        print(f"{mood}removed: {amount} of run {taken.run_id} on {taken.cluster} ({taken.removal})")
    files = sum(taken.files for taken in done.removed)
    print(f"{mood}removed: {files} files of {len({taken.run_id for taken in done.removed})} runs")
    print(f"{mood}swept: {done.swept_blobs} blobs, {size(done.swept_bytes)}")
