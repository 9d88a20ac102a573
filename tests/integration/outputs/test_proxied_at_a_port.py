"""Behind a proxy as in production: a process of its own, its sockets, its access file while it is edited."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.outputs.api import HOST, Api
from tests.integration.outputs.test_commands import run
from tests.testbed.processes import wait_until

SECRET = "a secret that the proxy shares with us"
SHOWN = {"x-forwarded-user": "grace", "x-scripthut-proxy-secret": SECRET}
POLICY = '[proxy]\naddresses = ["127.0.0.1/32"]\nsecret_file = "{folder}/proxy-secret"\n'


@pytest.fixture
def access_file(tmp_path: Path) -> Path:
    """An access file that names a proxy."""
    (tmp_path / "proxy-secret").write_text(SECRET)
    path = tmp_path / "access.toml"
    path.write_text(POLICY.format(folder=tmp_path))
    return path


@pytest.fixture
def api(migrated_uri: str, access_file: Path) -> Iterator[Api]:
    """A process that reads it."""
    with Api(migrated_uri, access_file=access_file, allowed_hosts="*") as found:
        yield found


def status(api: Api, peer: str, headers: dict[str, str]) -> int:
    """What somebody who asks from an address is answered."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address=peer)) as client:
        return client.get(f"{api.url}/runs", headers=headers).status_code


def raw_status(api: Api, *lines: bytes) -> int:
    """What is answered to headers that no client would send as they stand."""
    with socket.create_connection((HOST, api.port), timeout=30) as connection:
        asked = [b"GET /runs HTTP/1.1", b"host: localhost", b"connection: close", *lines, b"", b""]
        connection.sendall(b"\r\n".join(asked))
        return int(connection.makefile("rb").readline().split()[1])


def test_its_word_counts_from_its_address_and_from_no_other(api: Api) -> None:
    forwarded = {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"}

    assert status(api, "127.0.0.1", SHOWN) == 200
    assert status(api, "127.0.0.2", SHOWN | forwarded) == 401
    assert status(api, "127.0.0.1", {**SHOWN, "x-scripthut-proxy-secret": "wrong"}) == 401


def test_odd_headers_name_nobody(api: Api) -> None:
    name, secret = b"X-Forwarded-User: grace", b"X-Scripthut-Proxy-Secret: " + SECRET.encode()

    assert raw_status(api, name, secret) == 200
    assert raw_status(api, name, b"x-forwarded-user: root", secret) == 401
    assert raw_status(api, b"X-Forwarded-User: grace, root", secret) == 401
    assert raw_status(api, b"X_Forwarded_User: grace", secret) == 401
    assert raw_status(api, b"X-Forwarded-User: ad\xc3\xa9", secret) in {400, 401}
    assert raw_status(api, b"X-Forwarded-User:", secret) == 401
    assert raw_status(api, b"X-Forwarded-User: grace\r\n root", secret) in {400, 401}
    assert raw_status(api, name, b"X-Scripthut-Proxy-Secret:", secret) == 401


def test_the_access_file_may_be_edited_and_a_fault_leaves_it_as_it_was(api: Api, access_file: Path) -> None:
    right = access_file.read_text()

    access_file.write_text(right + "shares_name = true\n")
    seen: set[int] = set()

    def is_told() -> bool:
        """Whether a fault is in the log; the file is looked at when somebody asks."""
        seen.add(status(api, "127.0.0.1", SHOWN))
        return "shares_name is no setting" in api.daemon.log.read_text()

    wait_until(is_told, "the fault to be told")
    assert seen == {200}
    access_file.write_text('admins = ["ada"]\n')
    wait_until(lambda: status(api, "127.0.0.1", SHOWN) == 401, "the proxy to count no more")
    access_file.write_text(right)
    wait_until(lambda: status(api, "127.0.0.1", SHOWN) == 200, "the proxy to count again")


def test_a_proxy_that_proves_nothing_is_refused_at_the_start(database_uri: str, tmp_path: Path) -> None:
    (tmp_path / "clusters.toml").write_text('[clusters.daint]\nscheduler = "localhost"\n')
    path = tmp_path / "access.toml"
    path.write_text('[proxy]\naddresses = ["0.0.0.0/0"]\n')

    ended = run(
        "api",
        database_url=database_uri,
        amqp_url="amqp://127.0.0.1:9/",
        clusters_file=str(tmp_path / "clusters.toml"),
        tokens_file=str(tmp_path / "tokens"),
        blobs_url=str(tmp_path / "blobs"),
        access_file=str(path),
    )

    assert ended.returncode == 1
    assert f"{path}: access.proxy: needs `secret_file` or `assertion_header`" in ended.stderr
    assert "Traceback" not in ended.stderr
