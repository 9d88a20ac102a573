"""Where embedded instances live: side by side, found again, never two in one place."""

import socket
from pathlib import Path

import pytest

import instances
from scripthut_common import clusters


def test_an_instance_is_found_again_and_a_second_one_lives_beside_it(tmp_path: Path) -> None:
    with instances.take("demo", tmp_path, None) as first, instances.take("demo", tmp_path, None) as second:
        assert first.state != second.state
        assert first.port != second.port

    with instances.take("demo", tmp_path, None) as again:
        assert again == first


def test_a_taken_port_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(instances.PortTaken, match=f"port {port} is in use; name another one: PORT={port + 1}"),
            instances.take("demo", tmp_path, port),
        ):
            pass


def test_hostile_folder_names_survive_in_the_clusters_file(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \\ name'
    with instances.take("demo", folder, None) as instance:
        cluster = clusters.load(instance.localhost_clusters())["localhost"]

    assert cluster.log_dir == str(instance.state / "cluster" / "logs")
