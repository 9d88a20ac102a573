"""The testbed itself: what other tests rely on when they ask for a real server."""

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path

import aio_pika
import psycopg
import pytest

from tests.testbed import ports
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.browser import Browser
from tests.testbed.delay import DelayedPort
from tests.testbed.nginx import Nginx
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import ServerError, wait_until
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd


def test_a_job_submitted_through_sshd_runs_as_its_user_and_is_accounted(slurm: SlurmCluster, sshd: Sshd) -> None:
    folder = slurm.directory_of(ALICE)

    job = sshd.run(ALICE, f"sbatch --parsable --chdir={folder} --output=who", "#!/bin/sh\nid -un\n").strip()

    assert slurm.wait_ended(job) == "COMPLETED"
    assert (folder / "who").read_text() == f"{ALICE}\n"


def test_two_clusters_run_side_by_side(slurm: SlurmCluster) -> None:
    with SlurmCluster(nodes=1) as other:
        mine, theirs = slurm.submit("#!/bin/sh\nexit 0\n"), other.submit("#!/bin/sh\nexit 3\n", user=BOB)

        assert slurm.wait_ended(mine) == "COMPLETED"
        assert other.wait_ended(theirs) == "FAILED"


def test_closing_a_cluster_ends_its_jobs_and_removes_its_directory(tmp_path: Path) -> None:
    with SlurmCluster(nodes=1) as cluster:
        pid_file = cluster.directory_of(ALICE) / "pid"
        cluster.submit("#!/bin/sh\ntrap '' TERM\necho $$ > pid.new\nmv pid.new pid\nsleep 1000\n")
        wait_until(pid_file.exists, "the job to start")
        pid = pid_file.read_text().strip()

    wait_until(lambda: not _is_running(pid), "the job to end")
    assert not cluster.directory.exists()


def test_a_job_outlives_its_stopped_controller(slurm: SlurmCluster) -> None:
    job = slurm.submit("#!/bin/sh\nsleep 2\n")

    slurm.slurmctld.stop()
    with pytest.raises(ServerError, match="ended with 1"):
        slurm.run("scontrol", "ping")
    slurm.slurmctld.start()

    assert slurm.wait_ended(job) == "COMPLETED"


def test_a_changed_host_key_is_refused_until_it_is_trusted(own_sshd: Sshd) -> None:
    assert own_sshd.run(BOB, "id -un") == f"{BOB}\n"

    own_sshd.change_host_key()

    with pytest.raises(ServerError, match="REMOTE HOST IDENTIFICATION HAS CHANGED"):
        own_sshd.run(BOB, "id -un")
    own_sshd.trust_host_key()
    assert own_sshd.run(BOB, "id -un") == f"{BOB}\n"


def test_stopping_sshd_cuts_its_sessions(own_sshd: Sshd) -> None:
    with subprocess.Popen([*own_sshd.command(ALICE), "echo in; sleep 1000"], stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"in\n"

        own_sshd.daemon.stop()

        assert session.wait(30) == 255


async def test_a_durable_message_survives_the_broker_being_killed(rabbitmq: RabbitMq, amqp_uri: str) -> None:
    async with await aio_pika.connect(amqp_uri) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"still here", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")

        rabbitmq.kill()
    rabbitmq.daemon.start()

    async with await aio_pika.connect(amqp_uri) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", passive=True)
        received = await queue.get(timeout=30)
        assert received.body == b"still here"


def test_committed_rows_survive_the_database_being_killed(postgres: PostgresServer, database_uri: str) -> None:
    with psycopg.connect(database_uri) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    postgres.daemon.kill()
    postgres.daemon.start()

    with psycopg.connect(database_uri) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]


def test_a_server_outlives_its_testbed_by_no_more_than_a_moment(tmp_path: Path) -> None:
    program = "from tests.testbed.postgres import PostgresServer as P; print(P().directory, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as testbed:
        assert testbed.stdout is not None
        directory = Path(testbed.stdout.readline().decode().strip())
        assert directory.is_dir()

        testbed.kill()

    wait_until(lambda: not directory.exists(), "the orphaned server's directory to go")


def test_a_paused_server_takes_connections_and_answers_when_it_is_resumed(own_sshd: Sshd) -> None:
    own_sshd.daemon.pause()
    with subprocess.Popen([*own_sshd.command(ALICE), "echo late"], stdout=subprocess.PIPE) as session:
        with pytest.raises(subprocess.TimeoutExpired):
            session.wait(1)

        own_sshd.daemon.resume()

        assert session.communicate(timeout=30)[0] == b"late\n"


def test_a_delayed_port_carries_every_byte_both_ways_and_the_end_of_each() -> None:
    received = bytearray()
    sent = os.urandom(3_000_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                while piece := connection.recv(65536):
                    received.extend(piece)
                connection.sendall(bytes(received[::-1]))

        server = threading.Thread(target=answer)
        server.start()
        with DelayedPort(listener.getsockname()[1], 20) as delayed:
            with socket.create_connection(("127.0.0.1", delayed.port), timeout=30) as client:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                answered = b"".join(iter(lambda: client.recv(65536), b""))
            server.join()

    assert bytes(received) == sent
    assert answered == sent[::-1]


def test_a_delayed_port_whose_target_is_down_closes_its_connections() -> None:
    with (
        DelayedPort(ports.reserve_port(), 5) as delayed,
        socket.create_connection(("127.0.0.1", delayed.port), timeout=30) as client,
        suppress(ConnectionResetError),
    ):
        assert client.recv(1) == b""


def test_nginx_serves_what_is_put_into_its_folder() -> None:
    with Nginx() as nginx:
        (nginx.files / "plot.png").write_bytes(b"\x89PNG")

        with urllib.request.urlopen(f"{nginx.url}/plot.png") as answer:
            assert answer.read() == b"\x89PNG"
        assert Path(f"/proc/{nginx.worker_pid}").is_dir()


async def test_the_browser_keeps_what_a_page_did(browser: Browser, tmp_path: Path) -> None:
    async with browser.visit() as visit:
        await visit.page.set_content("<h1>hello</h1><script>console.log('said'); alert('asked'); missing()</script>")
        await visit.screenshot(tmp_path / "page.png")

    assert visit.console == ["log: said"]
    assert visit.dialogs == ["asked"]
    assert visit.errors == ["missing is not defined"]
    assert (tmp_path / "page.png").stat().st_size > 0


def _is_running(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
