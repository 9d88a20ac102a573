"""Say where the space went: files and bytes by cluster and owner."""

from collections.abc import Mapping

import msgspec

from scripthut_common import text
from scripthut_common.database import Database
from scripthut_outputs.catalog.storage import Shares
from scripthut_outputs.retention.deciding import size
from scripthut_outputs.settings import DatabaseSettings, load_some


async def storage(environ: Mapping[str, str], *, is_json: bool) -> None:
    """Print a table, or JSON.

    Raises:
        SettingsError: the database is not named.
        DatabaseUnavailable: the database is away.
    """
    database = Database(load_some(DatabaseSettings, environ).database_url)
    try:
        found = await Shares(database).read()
    finally:
        await database.close()
    if is_json:
        print(text.ascii_json(msgspec.json.format(msgspec.json.encode(found), indent=2)))
        return
    print(f"{'cluster':<16}  {'owner':<16}  {'runs':>7}  {'files':>9}  {'unique':>10}  {'shared':>10}")
    for share in found.shares:
        unique, shared = size(share.unique_bytes), size(share.shared_bytes)
        owner = text.name(share.owner)
        print(f"{share.cluster:<16}  {owner:<16}  {share.runs:>7}  {share.files:>9}  {unique:>10}  {shared:>10}")
    print(f"{found.blobs} blobs in all, {size(found.blob_bytes)}")
