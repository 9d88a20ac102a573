"""A backup made while tasks run and events arrive is whole: restored elsewhere, every stored file is there."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import conninfo

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


def backup(
    act: str, folder: Path, database_uri: str, blobs: Path, programs: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program, as somebody who lets others read what they write."""
    told = {
        "SCRIPTHUT_POLLER_DATABASE_URL": database_uri,
        "SCRIPTHUT_OUTPUTS_DATABASE_URL": database_uri,
        "SCRIPTHUT_OUTPUTS_BLOBS_URL": str(blobs),
    }
    argv: list[str | Path] = [sys.executable, PROGRAM, act, folder, "--programs", programs or installed_programs()]
    return subprocess.run(
        argv, env={**os.environ, **told}, capture_output=True, text=True, check=False, timeout=120, umask=0o022
    )


def with_more(uri: str, **parameters: str) -> str:
    """A database's URL that says more."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(parameters, quote_via=quote)}"


def assert_private(folder: Path) -> None:
    """Nobody else may enter a folder or read a file of a backup."""
    found = [folder, *folder.rglob("*")]
    assert {"poller.dump", "outputs.dump", "blobs"} <= {path.name for path in found}
    assert [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


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
        assert_private(folder)
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


# A stand-in for pg_dump and pg_restore: it notes what it is told, and that is the dump.
NOTES = """#!{python}
import json, os, sys
told = {{"argv": sys.argv, "password": os.environ.get("PGPASSWORD")}}
with open({said!r}, "a") as notes:
    print(json.dumps(told), file=notes)
for word in sys.argv:
    if word.startswith("--file="):
        open(word.removeprefix("--file="), "w").close()
"""


def test_everything_that_the_url_says_reaches_the_programs_and_the_password_is_in_no_command_line(
    database_uri: str, databases: Databases, tmp_path: Path
) -> None:
    said, programs, folder = tmp_path / "said", tmp_path / "programs", tmp_path / "backup"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (programs / name).write_text(NOTES.format(python=sys.executable, said=str(said)))
        (programs / name).chmod(0o755)
    more = {"sslmode": "disable", "sslrootcert": "/etc/a b/ca.pem", "connect_timeout": "7", "password": "open'sesame"}
    empty = databases.create()
    try:
        urls = [with_more(uri, **more) for uri in (database_uri, empty)]
        done = [
            backup(act, folder, url, tmp_path / "blobs", programs)
            for act, url in zip(("save", "restore"), urls, strict=True)
        ]
    finally:
        databases.drop(empty)

    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    notes = [json.loads(line) for line in said.read_text().splitlines()]
    assert [Path(note["argv"][0]).name for note in notes] == ["pg_dump"] * 2 + ["pg_restore"] * 2
    for note, uri in zip(notes, [database_uri] * 2 + [empty] * 2, strict=True):
        (connection,) = [word for word in note["argv"] if word.startswith("--dbname=")]
        expected = {**conninfo.conninfo_to_dict(uri), **more}
        assert note["password"] == expected.pop("password")
        assert conninfo.conninfo_to_dict(connection.removeprefix("--dbname=")) == expected
        assert "sesame" not in " ".join(note["argv"])


def test_a_secret_that_would_be_seen_is_refused(database_uri: str, tmp_path: Path) -> None:
    url = with_more(database_uri, sslmode="disable", sslpassword="sesame")

    done = backup("save", tmp_path / "backup", url, tmp_path / "blobs")

    assert done.returncode == 1
    assert "`sslpassword` of the database's URL would be seen by others" in done.stderr
    assert "sesame" not in done.stderr
