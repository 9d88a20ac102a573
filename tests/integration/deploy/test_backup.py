"""A backup made while tasks run and events arrive is whole: restored elsewhere, every stored file is there."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.e2e import running
from tests.testbed.clients import Client
from tests.testbed.databases import Databases
from tests.testbed.postgres import installed_programs
from tests.testbed.services import Pair

PROGRAM = Path(__file__).parents[3] / "deploy" / "backup.py"
RUNS, TASKS = 3, 8
_STORED = "SELECT run_id, task_id, path, sha256 FROM outputs.files WHERE state = 'stored'"


@pytest.fixture
def pair(amqp_uri: str, database_uri: str, tmp_path: Path) -> Iterator[Pair]:
    clusters = {"here": {"scheduler": "localhost", "log_dir": str(tmp_path / "logs"), "poll_interval_s": 1}}
    with Pair(
        database_uri=database_uri,
        amqp_uri=amqp_uri,
        clusters=clusters,
        blobs_dir=tmp_path / "blobs",
        environment={"SCRIPTHUT_OUTPUTS_RETENTION_INTERVAL_S": "1", "SCRIPTHUT_OUTPUTS_RETENTION_DELAY_S": "0"},
    ) as pair:
        yield pair


def backup(act: str, folder: Path, database_uri: str, blobs: Path) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    told = {
        "SCRIPTHUT_POLLER_DATABASE_URL": database_uri,
        "SCRIPTHUT_OUTPUTS_DATABASE_URL": database_uri,
        "SCRIPTHUT_OUTPUTS_BLOBS_URL": str(blobs),
    }
    argv: list[str | Path] = [sys.executable, PROGRAM, act, folder, "--programs", installed_programs()]
    return subprocess.run(argv, env={**os.environ, **told}, capture_output=True, text=True, check=False, timeout=120)


def stored(database_uri: str) -> list[tuple[str, str, bytes, str]]:
    """Everything that a database calls stored."""
    with psycopg.connect(database_uri) as connection:
        return connection.execute(_STORED).fetchall()


def submit(client: Client, number: int) -> str:
    """A run whose tasks write and end one after the other."""
    command = 'for n in 1 2 3; do head -c 2000 /dev/urandom > "$SCRIPTHUT_OUTPUT_DIR/$n"; sleep 0.2; done'
    tasks = [{"id": f"t{task}", "command": command} for task in range(TASKS)]
    return client.submit({"name": f"run {number}", "cluster": "here", "tasks": tasks})


def test_what_was_saved_while_events_arrived_is_whole_elsewhere(
    pair: Pair, databases: Databases, database_uri: str, tmp_path: Path
) -> None:
    folder, elsewhere = tmp_path / "backup-0", tmp_path / "elsewhere"
    with pair.client() as client:
        first = submit(client, 0)
        client.wait_run(first, running.is_over, "the first run to end")
        runs = [submit(client, number) for number in range(1, RUNS)]
        saved: list[subprocess.CompletedProcess[str]] = []
        stop = threading.Event()

        def save() -> None:
            while not stop.is_set():
                saved.append(backup("save", tmp_path / f"backup-{len(saved)}", database_uri, tmp_path / "blobs"))

        saving = threading.Thread(target=save)
        saving.start()
        try:
            for run_id in runs:
                client.wait_run(run_id, running.is_over, "the run to end")
        finally:
            stop.set()
            saving.join()
    assert {done.returncode for done in saved} == {0}, saved[-1].stderr

    uri = databases.create()
    try:
        restored = backup("restore", folder, uri, elsewhere)
        assert restored.returncode == 0, restored.stderr
        files = stored(uri)
        assert len({file for file in files if file[0] == first}) >= 3 * TASKS
        for *_, sha256 in files:
            assert hashlib.sha256((elsewhere / "sha256" / sha256[:2] / sha256[2:]).read_bytes()).hexdigest() == sha256
        told = {"SCRIPTHUT_OUTPUTS_DATABASE_URL": uri, "SCRIPTHUT_OUTPUTS_BLOBS_URL": str(elsewhere)}
        argv = [sys.executable, "-m", "scripthut_outputs", "verify", "--json"]
        verdict = subprocess.run(argv, env={**os.environ, **told}, capture_output=True, text=True, check=False)
        assert '"missing"' not in verdict.stdout
        assert '"damaged"' not in verdict.stdout

        again = backup("restore", folder, uri, elsewhere)
        assert again.returncode == 1
        assert "the database has a schema 'poller' already: restore into an empty one" in again.stderr
    finally:
        databases.drop(uri)


def test_a_damaged_blob_is_named_and_the_others_are_saved(pair: Pair, database_uri: str, tmp_path: Path) -> None:
    with pair.client() as client:
        client.wait_run(submit(client, 0), running.is_over, "the run to end")
    *_, sha256 = stored(database_uri)[0]
    (tmp_path / "blobs" / "sha256" / sha256[:2] / sha256[2:]).write_bytes(b"rotten")

    done = backup("save", tmp_path / "backup", database_uri, tmp_path / "blobs")

    assert done.returncode == 1
    assert f"1 blobs are damaged, all others are copied; see `verify`: {sha256}" in done.stderr
    saved = {file.parent.name + file.name for file in (tmp_path / "backup" / "blobs" / "sha256").glob("*/*")}
    assert {file[-1] for file in stored(database_uri)} - saved == {sha256}


def test_what_is_no_backup_is_refused(database_uri: str, tmp_path: Path) -> None:
    done = backup("restore", tmp_path, database_uri, tmp_path / "blobs")

    assert done.returncode == 1
    assert f"{tmp_path} is no backup: it has no poller.dump" in done.stderr


def test_what_cannot_be_dumped_leaves_the_last_backup_as_it_was(database_uri: str, tmp_path: Path) -> None:
    (tmp_path / "poller.dump").write_text("the last one")

    done = backup("save", tmp_path, database_uri, tmp_path / "blobs")

    assert done.returncode == 1
    assert "pg_dump failed: pg_dump: error: no matching schemas were found" in done.stderr
    assert (tmp_path / "poller.dump").read_text() == "the last one"
