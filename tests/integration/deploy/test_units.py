"""The systemd units: systemd reads them without a word, calls them well hardened, and no secret is in them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

import scripthut_outputs.settings
import scripthut_poller.settings

ROOT = Path(__file__).parents[3]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
# In tenths; 2.0 and less is what systemd calls OK.
_EXPOSURE = "20"


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        reason = "systemd-analyze is not installed: sh tests/testbed/install.sh"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    argv = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_reads_it(unit: Path, tmp_path: Path) -> None:
    """Programs are where this machine has one: whether they are installed is not the question."""
    for other in UNITS:
        text = re.sub(r"/opt/scripthut/bin/scripthut-\w+", "/bin/true", other.read_text())
        (tmp_path / other.name).write_text(text)

    answer = _analyze("verify", "--man=no", "--recursive-errors=no", tmp_path / unit.name)

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_calls_it_hardened(unit: Path) -> None:
    answer = _analyze("security", "--offline=yes", f"--threshold={_EXPOSURE}", "--no-pager", unit)

    assert answer.returncode == 0, answer.stdout[-300:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_credential_is_used_and_made_and_every_setting_exists(unit: Path) -> None:
    text = unit.read_text()
    loaded = dict(re.findall(r"^LoadCredential=([a-z-]+):/etc/scripthut/secrets/([a-z-]+)$", text, re.MULTILINE))
    parts: list[tuple[str, type[msgspec.Struct]]] = [
        (scripthut_poller.settings.PREFIX, scripthut_poller.settings.ProcessSettings),
        (scripthut_outputs.settings.PREFIX, scripthut_outputs.settings.ProcessSettings),
    ]
    known = {f"{prefix}_{field.name.upper()}" for prefix, type_ in parts for field in msgspec.structs.fields(type_)}
    told = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))

    assert set(re.findall(r"%d/([a-z-]+)", text)) == set(loaded)
    assert set(loaded.values()) <= {"database-url", "poller-amqp-url", "outputs-amqp-url", "collector-amqp-url"}
    assert {name.removesuffix("_FILE") if value.startswith("%d/") else name for name, value in told.items()} <= known
    assert "://" not in text


def test_there_is_one_for_each_process() -> None:
    named = {unit.stem.removeprefix("scripthut-") for unit in UNITS}

    assert named == {"migrate", "poller", "outputs-api", "outputs-collector"}
