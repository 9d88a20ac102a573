"""Files of hostile names, written by a real task, come back byte for byte: ledger, API, page and archive."""

import os
import secrets
import shutil
import subprocess
import zipfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import msgspec
import pytest

from scripthut_common import text
from scripthut_common.events import RunState
from scripthut_outputs.controllers.shapes import ArchivedLedgerJson
from scripthut_outputs.ledger import FileState, Place
from tests.e2e import hostile, running
from tests.testbed.accounts import ALICE
from tests.testbed.browser import Browser
from tests.testbed.clients import Client
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster

_TASK = "names"
_WANTED = {name: hostile.content(name) for name in hostile.NAMES}
_FILES = """() => [...document.querySelectorAll('.files a[download]')].map(link => [
    link.getAttribute('href'), link.parentElement.querySelector('.path').textContent,
    link.parentElement.querySelectorAll('.path *').length])"""
_FETCH = """async (urls) => {
    const found = [];
    for (const url of urls) {
        const answer = await fetch(url);
        const bytes = new Uint8Array(await answer.arrayBuffer());
        found.push([answer.status, [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('')]);
    }
    return found;
}"""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The run whose task has written them, collected."""

    pair: Pair
    client: Client
    run_id: str
    folder: Path

    @property
    def task(self) -> str:
        """The address of the task."""
        return f"/runs/{self.run_id}/tasks/{_TASK}"


@pytest.fixture(scope="module")
def written(pair: Pair, slurm: SlurmCluster) -> Iterator[Written]:
    log_dir = slurm.directory_of(ALICE) / f"hostile-{secrets.token_hex(4)}"
    command = f'export TMPDIR=$(mktemp -d)\n{hostile.command()}rm -r "$TMPDIR"\n'
    document = {"name": "names", "cluster": "testbed", "log_dir": str(log_dir), "tasks": [{"id": _TASK}]}
    document["tasks"] = [{"id": _TASK, "command": command}]
    with pair.client() as client:
        run_id = client.submit(document)
        run = client.wait_run(run_id, running.is_over, "the names to be written and collected")
        assert run.state is RunState.SUCCEEDED, client.detail(run_id, _TASK, "error").content
        yield Written(pair=pair, client=client, run_id=run_id, folder=log_dir / "outputs" / run_id / _TASK)


def test_there_are_sixty_and_each_is_a_file_on_the_cluster(written: Written) -> None:
    root = os.fsencode(written.folder)
    found = {
        os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118  of bytes
        for folder, _, names in os.walk(root)
        for name in names
    }

    assert len(_WANTED) == len(hostile.NAMES) >= 60
    assert found == set(_WANTED)


def test_the_ledger_has_every_name_byte_for_byte_and_its_address_gives_the_file(written: Written) -> None:
    outputs = written.client.outputs(written.run_id, _TASK).outputs

    assert {output.state for output in outputs} == {FileState.STORED}
    assert {b64decode(output.path_b64): written.client.read(str(output.url)) for output in outputs} == _WANTED
    assert {running.name_of(output): output.path for output in outputs} == {
        name: name.decode("utf-8", "replace") for name in _WANTED
    }


async def test_the_page_shows_every_name_as_text_and_each_link_gives_the_file(
    written: Written, browser: Browser, tmp_path: Path
) -> None:
    url = f"{written.pair.url}/ui{written.task}"
    async with browser.visit() as visit:
        await visit.page.goto(written.pair.login_url())
        await visit.page.goto(url)
        await visit.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        await visit.screenshot(tmp_path / "names.png")
        links = await visit.page.evaluate(_FILES)
        fetched = await visit.page.evaluate(_FETCH, [href for href, _, _ in links])

        names = [_name_in(href) for href, _, _ in links]
        assert sorted(names) == sorted(_WANTED)
        assert [shown for _, shown, _ in links] == [_shown(name) for name in names]
        assert {elements for _, _, elements in links} == {1}
        assert [(status, bytes.fromhex(body)) for status, body in fetched] == [(200, _WANTED[name]) for name in names]
        assert await visit.page.locator("main script, main img[src='x'], main [onerror]").count() == 0
        assert visit.dialogs == []
        assert visit.errors == []
        assert [asked for asked in visit.requests if not asked.startswith(f"{written.pair.url}/")] == []


@pytest.mark.parametrize("unpacker", ["zipfile", "unzip", "bsdtar", "7z"])
def test_the_archive_unpacks_to_the_same_files_and_nothing_outside(
    written: Written, tmp_path: Path, unpacker: str
) -> None:
    packed, inside = tmp_path / "all.zip", tmp_path / "around" / "inside"
    inside.mkdir(parents=True)
    packed.write_bytes(written.client.read(f"{written.task}/outputs/archive"))

    _unpack(unpacker, packed, inside)

    assert _read_by_ledger(inside) == _WANTED
    assert [path.name for path in inside.parent.iterdir()] == ["inside"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.zip", "around"]
    entries = [path for path in inside.rglob("*") if not path.is_dir()]
    assert not any(path.is_symlink() for path in entries)
    assert len(entries) == len(zipfile.ZipFile(packed).namelist())


def test_the_archive_of_the_run_holds_the_same_in_the_tasks_folder(written: Written, tmp_path: Path) -> None:
    packed = tmp_path / "run.zip"
    packed.write_bytes(written.client.read(f"/runs/{written.run_id}/archive"))

    _unpack("zipfile", packed, tmp_path / "all")

    told = msgspec.json.decode((tmp_path / "all" / "run.json").read_bytes())
    assert [task["folder"] for task in told["tasks"]] == [f"tasks/{_TASK}/"]
    assert _read_by_ledger(tmp_path / "all" / "tasks" / _TASK) == _WANTED


def _name_in(href: str) -> bytes:
    return unquote_to_bytes(urlsplit(urljoin("http://x/", href)).path.partition("/outputs/file/")[2])


def _shown(name: bytes) -> str:
    folder, slash, last = name.rpartition(b"/")
    return text.name(folder + slash) + text.name(last)


def _read_by_ledger(folder: Path) -> dict[bytes, bytes]:
    ledger = msgspec.json.decode((folder / "ledger.json").read_bytes(), type=ArchivedLedgerJson)
    return {
        b64decode(file.path_b64): (folder / str(file.entry)).read_bytes()
        for file in ledger.files
        if file.place is Place.OUTPUT
    }


def _unpack(unpacker: str, packed: Path, inside: Path) -> None:
    commands = {
        "unzip": ["unzip", "-q", str(packed), "-d", str(inside)],
        "bsdtar": ["bsdtar", "-x", "-f", str(packed), "-C", str(inside)],
        "7z": ["7z", "x", "-y", f"-o{inside}", str(packed)],
    }
    if unpacker == "zipfile":
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(inside)
        return
    if shutil.which(unpacker) is None:
        pytest.skip(f"{unpacker} is not installed here")
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(commands[unpacker], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr + done.stdout
