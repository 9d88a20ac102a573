"""Print the audit log: who saw or changed what, from where; newest first."""

import argparse
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from scripthut_common import text
from scripthut_common.database import Database
from scripthut_common.errors import SettingsError
from scripthut_outputs.catalog.auditing import Asked, Audit, Entry
from scripthut_outputs.settings import DatabaseSettings, load_some

_PAGE = 1000
_AGO = re.compile(r"([0-9]{1,6})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


async def audit(environ: Mapping[str, str], asked: argparse.Namespace) -> None:
    """Print the entries asked for: a line for each, for people or as JSON.

    Raises:
        SettingsError: the database is not named, or `--since` is no time.
        DatabaseUnavailable: the database is away.
    """
    wanted = Asked(run_id=asked.run or "", actor=asked.actor or "", since=_since(asked.since))
    database = Database(load_some(DatabaseSettings, environ).database_url)
    try:
        async for entry in _entries(Audit(database), wanted, asked.limit):
            print(text.ascii_json(msgspec.json.encode(entry)) if asked.json else _line(entry))
    finally:
        await database.close()


async def _entries(log: Audit, wanted: Asked, limit: int | None) -> AsyncIterator[Entry]:
    left, cursor = limit, None
    while left is None or left > 0:
        page = await log.read(wanted, limit=_PAGE if left is None else min(left, _PAGE), cursor=cursor)
        for entry in page.entries:
            yield entry
        left, cursor = left if left is None else left - len(page.entries), page.next
        if cursor is None:
            return


def _line(entry: Entry) -> str:
    """`2026-11-26 10:42:00  root (session) 192.0.2.7  run.read  r1  details`."""
    who = f"{text.name(entry.actor or 'nobody')} ({text.name(entry.credential or '-')})"
    details = text.ascii_json(msgspec.json.encode(entry.details)) if entry.details else None
    rest = (entry.act, entry.run_id, entry.target, details)
    told = "  ".join(text.name(word) for word in rest if word)
    return f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {who} {text.name(entry.address or '-')}  {told}"


def _since(said: str | None) -> datetime | None:
    """Read `90m`, `12h`, `7d`, or a time as ISO 8601 writes it, UTC unless it says so.

    Raises:
        SettingsError: it is none of them.
    """
    if said is None:
        return None
    ago = _AGO.fullmatch(said)
    if ago is not None:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        raise SettingsError(f"--since {said!r}: say 90m, 12h, 7d, or a time as 2026-11-26T10:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
