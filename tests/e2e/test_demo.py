"""`make demo` as its user meets it: one address that logs in, the example run, Ctrl-C, and going on."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import private_postgres
from scripthut_outputs.ledger import MOVING
from tests.testbed.ports import reserve_port
from tests.testbed.processes import wait_until

EMBEDDED = Path(__file__).parents[2] / "deploy" / "embedded.py"
_URL = re.compile(r"http://127\.0\.0\.1:\d+/login\?\S+")
_ENDS = {"after-unstable": "dependency_failed", "unstable": "failed"}


@contextmanager
def demo(folder: Path, port: int) -> Iterator[str]:
    """Run the embedded pair; give the address that it prints; end it as Ctrl-C does."""
    command = [sys.executable, str(EMBEDDED), "--example", "--below", str(folder), "--port", str(port)]
    printed = folder / "printed"
    with printed.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            wait_until(lambda: "login?" in printed.read_text() or process.poll() is not None, "an address", 60)
            found = _URL.search(printed.read_text())
            if found is None:
                pytest.fail(printed.read_text())
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(30)
    assert status == 0, printed.read_text()


def _outcomes(client: httpx.Client, base: str) -> dict[str, str | None]:
    items = client.get(f"{base}/runs/heat-plate").json()["items"]
    return {item["task_id"]: item["outcome"] for item in items}


def _are_collected(client: httpx.Client, base: str) -> bool:
    items = client.get(f"{base}/runs/heat-plate").json()["items"]
    return all(item["state"] == "final" and item["outputs_state"] not in MOVING for item in items)


def _is_followed(client: httpx.Client, base: str, task_id: str) -> bool:
    found = client.get(f"{base}/runs/heat-plate/tasks/{task_id}/outputs").json()
    return found["outcome"] is None and found["followed_at"] is not None and found["has_outputs"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the demo keeps everything, but for root's database, which lies elsewhere."""
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    yield folder
    for name in folder.glob("*/postgres.name"):
        shutil.rmtree(private_postgres.roots_folder(name.parent))


def test_the_demo_shows_the_example_run_stops_and_goes_on(folder: Path) -> None:
    port = reserve_port()
    base = f"http://127.0.0.1:{port}"

    with demo(folder, port) as url, httpx.Client(follow_redirects=True) as client:
        assert client.get(f"{base}/runs").status_code == 401
        page = client.get(url)
        assert page.url.path == "/ui/runs/heat-plate"
        wait_until(lambda: _is_followed(client, base, "walk"), "the walkers' files, while they walk", 120)
        wait_until(lambda: _are_collected(client, base), "every task to be collected", 90)
        ended = _outcomes(client, base)
        page = client.get(str(page.url))

    with demo(folder, port) as url, httpx.Client(follow_redirects=True) as client:
        again = client.get(url)
        assert _outcomes(client, base) == ended

    assert {task: outcome for task, outcome in ended.items() if outcome != "succeeded"} == _ENDS
    assert len(ended) == 8
    assert page.text.count("<img") >= 8
    assert "diverged" in again.text
