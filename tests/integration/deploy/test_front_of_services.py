"""Both services behind the real nginx of the example: pages, a range of a file, and a live stream, all by TLS."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e import running
from tests.integration.deploy.fronts import NGINX, Front
from tests.testbed.services import Pair

pytestmark = pytest.mark.skipif(not NGINX.exists(), reason=f"{NGINX} is not installed: sh tests/testbed/install.sh")


@pytest.fixture
def pair(amqp_uri: str, database_uri: str, tmp_path: Path) -> Iterator[Pair]:
    clusters = {"here": {"scheduler": "localhost", "log_dir": str(tmp_path / "logs"), "poll_interval_s": 1}}
    public = {"SCRIPTHUT_OUTPUTS_PUBLIC_URL": "https://localhost"}
    with Pair(database_uri=database_uri, amqp_uri=amqp_uri, clusters=clusters, environment=public) as pair:
        yield pair


def test_a_run_is_followed_and_its_files_are_read_in_ranges_through_nginx(pair: Pair, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = f'echo 0123456789 > "$SCRIPTHUT_OUTPUT_DIR/n.txt"; until [ -e {gate} ]; do sleep 0.1; done'
    document = {"name": "behind nginx", "cluster": "here", "tasks": [{"id": "t", "command": command}]}
    bearer = {"authorization": f"Bearer {pair.token}"}

    with (
        Front("nginx", pair.url.removeprefix("http://")) as front,
        pair.client() as client,
        httpx.Client(base_url=front.url, verify=front.trust, headers=bearer, timeout=60) as browser,
    ):
        run_id = browser.post("/runs", json=document).raise_for_status().json()["run_id"]
        client.wait_run(run_id, lambda run: running.is_running(run, "t"), "the task to run")
        with browser.stream("GET", f"/runs/{run_id}/events") as stream:
            assert stream.status_code == 200
            lines = stream.iter_lines()
            next(lines)
            gate.touch()
            assert any("final" in line or "succeeded" in line for line in lines)
        client.wait_run(run_id, running.is_over, "the run to be collected")

        file = f"/runs/{run_id}/tasks/t/outputs/file/n.txt"
        part = browser.get(file, headers={"range": "bytes=2-5"})
        whole = browser.get(file)
        same = browser.get(file, headers={"if-none-match": whole.headers["etag"]})
        page = browser.get("/ui/")
        plain = httpx.get(f"{front.plain_url}/ui/?a=b", follow_redirects=False)

    assert (part.status_code, part.text) == (206, "2345")
    assert (whole.status_code, whole.text) == (200, "0123456789\n")
    assert same.status_code == 304
    assert page.status_code == 200
    assert (plain.status_code, plain.headers["location"]) == (308, "https://localhost/ui/?a=b")
