"""The embedded default's own PostgreSQL: starts, stops, survives being killed, lets nobody else in."""

import os
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import private_postgres


def _postmaster(uri: str) -> int:
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    assert row is not None
    return int(str(row[0]).splitlines()[0])


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A folder with a bad name; root's database lies elsewhere and is removed too."""
    state = tmp_path / "a state with 'quotes', $(touch spaces) and" / ("long" * 40) / ("long" * 40)
    yield state
    if (state / "postgres.name").exists():
        shutil.rmtree(private_postgres.roots_folder(state))


def test_rows_outlive_a_restart_and_a_kill(state: Path) -> None:
    with private_postgres.running(state) as uri:
        with psycopg.connect(uri) as connection:
            connection.execute("CREATE TABLE kept (n int)")
        os.kill(_postmaster(uri), signal.SIGKILL)

    with private_postgres.running(state) as uri, psycopg.connect(uri) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_nobody_enters_without_the_password(state: Path) -> None:
    with private_postgres.running(state) as uri:
        head, _, tail = uri.partition("@")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"{head.rpartition(':')[0]}:wrong@{tail}")
        with psycopg.connect(uri) as connection:
            row = connection.execute("SHOW unix_socket_directories").fetchone()
            assert row is not None
            assert stat.S_IMODE(Path(row[0]).stat().st_mode) == 0o700
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
