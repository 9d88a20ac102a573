"""Recording 10,000 items that change state in one round, with their events, against bare INSERTs of the same rows."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from scripthut_common import migrating
from scripthut_common.database import Database
from scripthut_common.events import ItemState, Outcome, RunRequested, Type
from scripthut_common.tasks import TaskSpec
from scripthut_poller.migrations import MIGRATIONS
from scripthut_poller.watchlist import leases, requests, rounds
from scripthut_poller.watchlist.clusters import Observed
from scripthut_poller.watchlist.items import Item
from scripthut_poller.watchlist.leases import Term
from scripthut_poller.watchlist.recording import Change
from scripthut_poller.watchlist.requests import Terms
from tests.bench.table import REPETITIONS, Row
from tests.testbed.postgres import PostgresServer

ITEMS = 10_000
CLUSTER = "bench"
_GOOD = Observed(state="reachable", is_good=True)
_STARTED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
_TABLES = ("items", "outbox")
_SAME_SHAPE = sql.SQL("INCLUDING INDEXES INCLUDING DEFAULTS INCLUDING IDENTITY")
_BareRows = list[tuple[object, ...]]


async def measure() -> list[Row]:
    """Measure in turns, every time on a new run of the same shape, and reading what is watched besides."""
    ours, bare, reading = [], [], []
    with PostgresServer() as postgres:
        uri = postgres.databases.create()
        async with _database(uri) as database:
            term = await leases.take(database, CLUSTER, "bench", 3600.0)
            assert term is not None
            await _warm(database, term)
            for number in range(REPETITIONS):
                items, read_s = await _running(database, f"run-{number}")
                reading.append(read_s)
                ours.append(await _record(database, term, items))
                bare.append(await asyncio.to_thread(_insert, uri, f"run-{number}"))
    ours_s, bare_s, read_s = map(statistics.median, (ours, bare, reading))
    return [
        Row(
            what=f"record {ITEMS} items that change state in one round, with their events",
            ours=f"{ours_s:.2f} s",
            peer=f"bare INSERTs of the same rows: {bare_s:.2f} s",
            ratio=ours_s / bare_s,
            target="≤ 3",
        ),
        Row(
            what=f"read {ITEMS} watched items at the beginning of a round",
            ours=f"{read_s:.2f} s",
            peer=f"the bare INSERTs: {bare_s:.2f} s",
            ratio=read_s / bare_s,
            target="≤ 1",
        ),
    ]


@asynccontextmanager
async def _database(uri: str) -> AsyncIterator[Database]:
    database = Database(uri)
    try:
        await migrating.upgrade(database, MIGRATIONS)
        yield database
    finally:
        await database.close()


async def _warm(database: Database, term: Term) -> None:
    """Record one round that is not counted: statements are compiled once."""
    items, _ = await _running(database, "warm")
    await _record(database, term, items)


async def _running(database: Database, run_id: str) -> tuple[Sequence[Item], float]:
    """Make a run whose items are running, and say how long it took to read them as a round does."""
    tasks = tuple(TaskSpec(id=f"t{number}", command="true") for number in range(ITEMS))
    run = RunRequested(
        run_id=run_id,
        part=0,
        parts=1,
        document_sha256="0" * 64,
        owner="ada",
        run_name="a run of many tasks",
        cluster=CLUSTER,
        log_dir="/home/ada/scripthut",
        first_position=0,
        tasks=tasks,
    )
    await requests.store(database, run, Terms())
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE poller.items SET state = 'running', job_id = position::text, nonce = md5(task_id), sequence = 3,"
            " submitted_at = now(), job_submitted_at = now(), entered_at = now(), node = 'node' || position"
            f" WHERE run_id = '{run_id}'"
        )
    begun = time.perf_counter()
    items = (await rounds.watched(database, CLUSTER)).items
    read_s = time.perf_counter() - begun
    assert len(items) == ITEMS
    return items, read_s


async def _record(database: Database, term: Term, items: Sequence[Item]) -> float:
    changes = [Change(before=item, after=_ended(item), tells=Type.ITEM_COMPLETED) for item in items]
    begun = time.perf_counter()
    await rounds.record_round(database, term, changes, _GOOD)
    return time.perf_counter() - begun


def _ended(item: Item) -> Item:
    return msgspec.structs.replace(
        item,
        state=ItemState.FINAL,
        outcome=Outcome.FAILED,
        confirmed=True,
        exit_code=1,
        reason="ended with exit code 1",
        scheduler_word="FAILED",
        started_at=_STARTED_AT,
        ended_at=_STARTED_AT,
    )


def _insert(uri: str, run_id: str) -> float:
    """Write the rows of the run, and of its events, once more: into tables of the same shape, keys and indexes."""
    with psycopg.connect(uri) as connection:
        written = {
            "items": _rows(connection, "items", sql.SQL("run_id = {}").format(run_id)),
            "outbox": _rows(
                connection,
                "outbox",
                sql.SQL("position({} in convert_from(body, 'UTF8')) > 0").format(f'"subject":"{run_id}/'),
            ),
        }
        for table in _TABLES:
            assert len(written[table][1]) == ITEMS
            connection.execute(
                sql.SQL(
                    "CREATE TABLE {} (LIKE poller.{} INCLUDING INDEXES INCLUDING DEFAULTS INCLUDING IDENTITY)"
                ).format(sql.Identifier(f"bare_{table}"), sql.Identifier(table))
            )
        connection.commit()
        begun = time.perf_counter()
        for table, (names, rows) in written.items():
            _insert_rows(connection, f"bare_{table}", names, rows)
        connection.commit()
        took_s = time.perf_counter() - begun
        for table in _TABLES:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(f"bare_{table}")))
    return took_s


def _rows(
    connection: psycopg.Connection, table: str, condition: sql.Composable
) -> tuple[list[str], list[tuple[object, ...]]]:
    """Read the rows as they were written, without the number that the database gives them."""
    found = connection.execute(sql.SQL("SELECT * FROM poller.{} WHERE {}").format(sql.Identifier(table), condition))
    names = [column.name for column in found.description or ()]
    kept = [place for place, name in enumerate(names) if name != "number"]
    return [names[place] for place in kept], [tuple(_value(row[place]) for place in kept) for row in found]


def _value(value: object) -> object:
    return Jsonb(value) if isinstance(value, dict) else value


def _insert_rows(connection: psycopg.Connection, table: str, names: Sequence[str], rows: _BareRows) -> None:
    """Insert by one prepared statement in a pipeline; the fastest of all plain INSERTs, by a factor of five."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join([sql.Placeholder()] * len(names)),
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
