"""What `Database` makes of outages: always `DatabaseUnavailable`, nothing leaks, and it works again afterwards."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, select, text
from sqlalchemy.exc import IntegrityError

from scripthut_common import database as database_room
from scripthut_common.database import Database, UtcTime, notify
from scripthut_common.errors import DatabaseUnavailable, InvalidInput, SettingsError
from tests.eventually import eventually
from tests.testbed import warden
from tests.testbed.postgres import PostgresServer


@pytest.fixture
async def database(database_uri: str) -> AsyncIterator[Database]:
    found = Database(database_uri, pool_size=2)
    yield found
    await found.close()


@pytest.fixture
async def killable(postgres: PostgresServer) -> AsyncIterator[Database]:
    """A database on the server that this test may kill."""
    found = Database(postgres.databases.create(), pool_size=2)
    yield found
    await found.close()


async def test_a_transaction_is_committed_at_its_end_and_rolled_back_by_any_exception(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE t (n int)"))

    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as connection:
            await connection.execute(text("INSERT INTO t VALUES (1)"))
            raise ZeroDivisionError
    async with database.transaction() as connection:
        await connection.execute(text("INSERT INTO t VALUES (2)"))

    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT n FROM t"))).scalars().all() == [2]


async def test_a_stopped_server_is_an_outage_and_the_first_transaction_after_it_works(
    killable: Database, postgres: PostgresServer
) -> None:
    await killable.ping()

    postgres.daemon.stop()
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL: "):
        await killable.ping()
    said = await killable.check()
    postgres.daemon.start()

    assert said is not None
    await killable.ping()
    assert await killable.check() is None


async def test_idle_connections_that_died_with_the_server_are_never_handed_out(
    killable: Database, postgres: PostgresServer
) -> None:
    await asyncio.gather(killable.ping(), killable.ping())

    postgres.daemon.kill()
    postgres.daemon.start()

    for _ in range(3):
        await killable.ping()


async def test_a_server_killed_in_the_middle_of_a_transaction_is_an_outage(
    killable: Database, postgres: PostgresServer
) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with killable.transaction() as connection:
            await connection.execute(text("CREATE TABLE half (n int)"))
            postgres.daemon.kill()
            await connection.execute(text("SELECT 1"))
    postgres.daemon.start()

    async with killable.transaction() as connection:
        assert (await connection.execute(text("SELECT to_regclass('half')"))).scalar_one() is None


async def test_a_server_killed_before_the_commit_is_an_outage(killable: Database, postgres: PostgresServer) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with killable.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            postgres.daemon.kill()
    postgres.daemon.start()

    await killable.ping()


async def test_a_server_that_hangs_is_an_outage_after_the_time_limit(
    killable: Database, postgres: PostgresServer
) -> None:
    await killable.ping()

    with hanging(postgres), pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.5 s"):
        async with killable.transaction(timeout_s=0.5) as connection:
            await connection.execute(text("SELECT 1"))

    await killable.ping()
    assert checked_out(killable) == 0


async def test_a_backend_ended_by_an_admin_is_an_outage(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await database.ping()


async def test_a_server_without_a_free_connection_is_an_outage(database: Database, database_uri: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("ALTER ROLE CURRENT_USER CONNECTION LIMIT -1"))
        name = (await connection.execute(text("SELECT current_database()"))).scalar_one()
        await connection.execute(text("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0"))
        await connection.execute(text(f'GRANT CONNECT ON DATABASE "{name}" TO crowded'))
    crowded = Database(database_uri.replace("postgres@", "crowded@", 1).replace("postgres:", "crowded:", 1))

    with pytest.raises(DatabaseUnavailable, match="too many connections"):
        await crowded.ping()

    await crowded.close()
    async with database.transaction() as connection:
        await connection.execute(text(f'REVOKE ALL ON DATABASE "{name}" FROM crowded'))
        await connection.execute(text("DROP ROLE crowded"))


async def test_a_pool_whose_connections_are_all_busy_is_an_outage(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database._engine.pool._timeout = 0.1  # type: ignore[attr-defined]  # ten seconds are too long for a test
    release = asyncio.Event()

    async def hold() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            await release.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(hold())
        await eventually(lambda: checked_out(database) == 4)
        with pytest.raises(DatabaseUnavailable, match="every connection was busy"):
            await database.ping()
        release.set()

    await database.ping()


async def test_a_cancelled_transaction_is_rolled_back_and_gives_its_connection_back(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE t (n int)"))

    async def hang() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("INSERT INTO t VALUES (1)"))
            await connection.execute(text("SELECT pg_sleep(60)"))

    hanging = [asyncio.create_task(hang()) for _ in range(3)]
    await eventually(lambda: checked_out(database) == 3)
    for task in hanging:
        task.cancel()
    results = await asyncio.gather(*hanging, return_exceptions=True)

    assert [type(result) for result in results] == [asyncio.CancelledError] * 3
    await eventually(lambda: checked_out(database) == 0)
    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar_one() == 0


async def test_a_time_limit_of_the_body_itself_stays_what_it_is(database: Database) -> None:
    with pytest.raises(TimeoutError):
        async with database.transaction():
            async with asyncio.timeout(0):
                await asyncio.sleep(1)


async def test_two_transactions_in_each_others_way_are_told_to_try_again(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE t (n int primary key, v int)"))
        await connection.execute(text("INSERT INTO t VALUES (1, 0), (2, 0)"))
    both = asyncio.Barrier(2)

    async def cross(first: int, second: int) -> None:
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE t SET v = v + 1 WHERE n = :n"), {"n": first})
            await both.wait()
            await connection.execute(text("UPDATE t SET v = v + 1 WHERE n = :n"), {"n": second})

    results = await asyncio.gather(cross(1, 2), cross(2, 1), return_exceptions=True)

    assert sorted(str(type(result).__name__) for result in results) == ["DatabaseUnavailable", "NoneType"]


@pytest.mark.parametrize("value", ["nul \0 inside", "lone \ud800 surrogate"])
async def test_a_text_that_postgresql_cannot_hold_is_the_inputs_fault(database: Database, value: str) -> None:
    with pytest.raises(InvalidInput, match="cannot hold"):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT CAST(:value AS text)"), {"value": value})


async def test_a_number_out_of_range_is_the_inputs_fault(database: Database) -> None:
    with pytest.raises(InvalidInput, match="out of range"):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT CAST(:value AS int)"), {"value": 2**40})


async def test_a_text_too_long_for_its_index_is_the_inputs_fault(database: Database) -> None:
    noise = secrets.token_hex(20_000)

    with pytest.raises(InvalidInput, match="index row"):
        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE t (name text primary key)"))
            await connection.execute(text("INSERT INTO t VALUES (:name)"), {"name": noise})


async def test_a_schema_not_yet_migrated_is_waited_for(database: Database) -> None:
    for statement in ("SELECT * FROM nowhere.things", "SELECT * FROM things", "SELECT colour FROM pg_class"):
        with pytest.raises(DatabaseUnavailable, match="has the schema been migrated"):
            async with database.transaction() as connection:
                await connection.execute(text(statement))


async def test_a_broken_constraint_is_left_for_the_caller_to_understand(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE t (n int unique)"))
            await connection.execute(text("INSERT INTO t VALUES (1), (1)"))


async def test_times_go_in_with_a_zone_and_come_back_as_utc(database: Database) -> None:
    table = Table("times", MetaData(), Column("n", Integer), Column("at", UtcTime), Column("note", Text))
    at = datetime.fromisoformat("2026-03-01T12:00:00+05:30")

    async with database.transaction() as connection:
        await connection.run_sync(table.create)
        await connection.execute(table.insert().values(n=1, at=at))
        found = (await connection.execute(select(table.c.at))).scalar_one()

    assert found == at
    assert found.tzinfo is UTC
    with pytest.raises(Exception, match="without zone"):
        async with database.transaction() as connection:
            await connection.execute(table.insert().values(n=1, at=at.replace(tzinfo=None)))


async def test_notifications_are_heard_after_the_commit(database: Database) -> None:
    heard: list[str] = []
    listening = asyncio.Event()

    async def on_connect() -> None:
        listening.set()

    async def on_notify(payload: str) -> None:
        heard.append(payload)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(database.listen("room", on_connect, on_notify))
        await listening.wait()
        with pytest.raises(ZeroDivisionError):
            async with database.transaction() as connection:
                await notify(connection, "room", "rolled back")
                raise ZeroDivisionError
        async with database.transaction() as connection:
            await notify(connection, "room", "committed")
        await eventually(lambda: bool(heard))
        task.cancel()

    assert heard == ["committed"]


async def test_listening_ends_with_the_server_and_says_so(killable: Database, postgres: PostgresServer) -> None:
    listening = asyncio.Event()

    async def on_connect() -> None:
        listening.set()

    async def on_notify(_: str) -> None:
        raise AssertionError

    task = asyncio.create_task(killable.listen("room", on_connect, on_notify))
    await listening.wait()
    postgres.daemon.kill()
    with pytest.raises(DatabaseUnavailable):
        await asyncio.wait_for(task, 10)
    with pytest.raises(DatabaseUnavailable):
        await killable.listen("room", on_connect, on_notify)


async def test_listening_notices_a_server_that_hangs(
    killable: Database, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_room, "_LISTEN_CHECK_S", 0.2)
    listening = asyncio.Event()

    async def on_connect() -> None:
        listening.set()

    async def on_notify(_: str) -> None:
        raise AssertionError

    task = asyncio.create_task(killable.listen("room", on_connect, on_notify))
    await listening.wait()
    with hanging(postgres), pytest.raises(DatabaseUnavailable):
        await asyncio.wait_for(task, 30)


@pytest.mark.parametrize("url", ["", "nonsense", "postgresql://user@host:port/name", "postgresql://u@h/d?bad=1"])
def test_an_address_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="address of the database"):
        Database(url)


def checked_out(database: Database) -> int:
    """How many connections are in use."""
    return database._engine.pool.checkedout()  # type: ignore[attr-defined,no-any-return]


@contextmanager
def hanging(server: PostgresServer) -> Iterator[None]:
    """Stop the server and its backends in their tracks: nobody answers, nobody hangs up."""
    family = warden.descendants({server.daemon.pid})
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
