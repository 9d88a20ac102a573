"""The commands of the outputs service, as programs."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

PREFIX = "SCRIPTHUT_OUTPUTS"


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCRIPTHUT")}
    environment |= {f"{PREFIX}_{name.upper()}": value for name, value in variables.items()}
    command = [sys.executable, "-m", "scripthut_outputs", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", ["api", "collect"])
def test_a_start_without_settings_lists_all_that_are_missing(command: str, tmp_path: Path) -> None:
    ended = run(command, listen_port="eighty", clusters_file=str(tmp_path / "none.toml"))

    assert ended.returncode == 1
    for name in ("DATABASE_URL", "AMQP_URL", "TOKENS_FILE", "BLOBS_URL"):
        assert f"{PREFIX}_{name} is missing" in ended.stderr
    assert f"{PREFIX}_LISTEN_PORT" in ended.stderr
    assert "none.toml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_tokens_file_is_made_at_the_first_start_and_for_its_owner_alone(database_uri: str, tmp_path: Path) -> None:
    tokens = tmp_path / "door" / "tokens"
    assert run("migrate", database_url=database_uri).returncode == 0

    ended = run(
        "login-url", database_url=database_uri, tokens_file=str(tokens), public_url="https://outputs.example.org/"
    )

    assert re.fullmatch(r"https://outputs\.example\.org/login\?code=[\w-]{40,}\n", ended.stdout), ended
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    assert stat.S_IMODE(tokens.parent.stat().st_mode) == 0o700
    again = run("login-url", "--actor", "nobody", database_url=database_uri, tokens_file=str(tokens))
    assert (again.returncode, "does not name 'nobody'" in again.stderr) == (1, True)


def test_a_wrong_line_in_the_tokens_file_is_named(database_uri: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# people\nada admin 0123456789012345678901\nbob boss 0123456789012345678901\n")

    ended = run("login-url", database_url=database_uri, tokens_file=str(tokens))

    assert ended.returncode == 1
    assert "line 3 is not" in ended.stderr


def test_the_schema_goes_down_and_up(database_uri: str) -> None:
    for direction in ("up", "down", "up"):
        ended = run("migrate", direction, database_url=database_uri)
        assert ended.returncode == 0, ended.stderr
    assert run("migrate", "up", "nowhere", database_url=database_uri).returncode == 1
