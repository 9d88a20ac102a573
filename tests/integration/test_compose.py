"""The production shape: Compose reads it, refuses missing secrets, and names only settings that exist."""

import os
import re
import shutil
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest

import scripthut_outputs.settings
import scripthut_poller.settings

ROOT = Path(__file__).parents[2]
FILLED = {
    "SCRIPTHUT_SECRETS_DIR": "/srv/secrets",
    "SCRIPTHUT_PUBLIC_URL": "https://outputs.example.org",
    "SCRIPTHUT_CONFIG_DIR": "/etc/scripthut",
    "SCRIPTHUT_ALLOWED_HOSTS": "outputs.example.org",
}
PLUGIN = ["docker", "compose"]


def _compose() -> list[str]:
    has_docker = shutil.which("docker") is not None
    if has_docker and subprocess.run([*PLUGIN, "version"], capture_output=True, check=False).returncode == 0:
        return PLUGIN
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    reason = "neither `docker compose` nor docker-compose is installed: sh tests/testbed/install.sh"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the compose file and nobody's .env."""
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    return tmp_path


def _config(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    plain = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [*_compose(), "config", *words],
        env=plain | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _shape(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """What Compose makes of the file."""
    answer = _config(folder, environment)
    assert answer.returncode == 0, answer.stderr
    shape: dict[str, Any] = msgspec.yaml.decode(answer.stdout)
    return shape


def _told(shape: dict[str, Any], variable: str) -> dict[str, str | None]:
    """The variable's value in each service that has it."""
    told = {name: service.get("environment", {}) for name, service in shape["services"].items()}
    return {name: environment[variable] for name, environment in told.items() if variable in environment}


def test_compose_reads_it_when_everything_is_filled_in(folder: Path) -> None:
    answer = _config(folder, FILLED)
    assert answer.returncode == 0, answer.stderr
    for service in ("rabbitmq", "postgres", "migrate", "poller", "collector", "outputs-api", "proxy"):
        assert re.search(rf"^  {service}:$", answer.stdout, re.MULTILINE)


@pytest.mark.parametrize("missing", sorted(FILLED))
def test_nothing_has_a_default_that_should_be_chosen(folder: Path, missing: str) -> None:
    answer = _config(folder, {name: value for name, value in FILLED.items() if name != missing})
    assert answer.returncode != 0
    assert missing in answer.stderr


def test_every_setting_that_it_names_exists() -> None:
    parts: list[tuple[str, type[msgspec.Struct]]] = [
        (scripthut_poller.settings.PREFIX, scripthut_poller.settings.ProcessSettings),
        (scripthut_outputs.settings.PREFIX, scripthut_outputs.settings.ProcessSettings),
        (f"{scripthut_outputs.settings.PREFIX}_S3", scripthut_outputs.settings.S3Settings),
    ]
    known = {f"{prefix}_{field.name.upper()}" for prefix, type_ in parts for field in msgspec.structs.fields(type_)}
    named = set(re.findall(r"SCRIPTHUT_(?:POLLER|OUTPUTS)_[A-Z0-9_]+", (ROOT / "docker-compose.yml").read_text()))
    assert named
    assert {name.removesuffix("_FILE") if name.endswith("_URL_FILE") else name for name in named} <= known


def test_no_secret_is_in_the_environment(folder: Path) -> None:
    told = _config(folder, FILLED).stdout

    assert not re.search(r"(?:PASSWORD|PASS|AMQP_URL|DATABASE_URL|SECRET): ", told)
    assert len(re.findall(r"_(?:AMQP|DATABASE)_URL_FILE: /run/secrets/", told)) == 8


def test_each_part_is_given_its_own_secrets_alone(folder: Path) -> None:
    services = re.split(r"^  ([a-z-]+):$", _config(folder, FILLED).stdout.partition("services:")[2], flags=re.MULTILINE)
    named = {
        name: set(re.findall(r"source: ([a-z-]+)", part))
        for name, part in zip(services[1::2], services[2::2], strict=True)
    }

    assert "poller-amqp-url" not in named["outputs-api"] | named["collector"] | named["proxy"]
    assert named["proxy"] == {"tls-certificate", "tls-key"}


def test_what_nginx_says_of_its_clients_is_believed_of_the_inside_network_alone(folder: Path) -> None:
    shape = _shape(folder, FILLED | {"SCRIPTHUT_INSIDE_SUBNET": "10.9.8.0/24"})

    assert shape["networks"]["inside"]["ipam"]["config"] == [{"subnet": "10.9.8.0/24"}]
    assert _told(shape, "SCRIPTHUT_OUTPUTS_TRUSTED_PROXIES") == {"outputs-api": "10.9.8.0/24"}
    assert all(set(service["networks"]) == {"inside"} for service in shape["services"].values())
    overwritten = "proxy_set_header X-Forwarded-For $remote_addr;"
    assert overwritten in (ROOT / "deploy" / "nginx.conf.example").read_text()


def test_the_network_that_is_believed_is_the_one_that_is_made(folder: Path) -> None:
    shape = _shape(folder, FILLED)

    subnet = shape["networks"]["inside"]["ipam"]["config"][0]["subnet"]
    assert _told(shape, "SCRIPTHUT_OUTPUTS_TRUSTED_PROXIES") == {"outputs-api": subnet}
    assert ip_network(subnet).is_private
    assert f"\nSCRIPTHUT_INSIDE_SUBNET={subnet}\n" in (ROOT / "deploy" / "production.env.example").read_text()


def test_api_and_collectors_are_told_of_the_access_file_where_there_is_one(folder: Path) -> None:
    file = "/etc/scripthut/access.toml"

    named = _shape(folder, FILLED | {"SCRIPTHUT_ACCESS_FILE": file})
    without = _shape(folder, FILLED)

    assert _told(named, "SCRIPTHUT_OUTPUTS_ACCESS_FILE") == {"collector": file, "outputs-api": file}
    # An empty variable is as good as none.
    assert not any(_told(without, "SCRIPTHUT_OUTPUTS_ACCESS_FILE").values())


def test_a_site_builds_from_the_base_image_that_it_names(folder: Path) -> None:
    named = _shape(folder, FILLED | {"PYTHON_IMAGE": "registry.example.org/python:3.11"})

    bases = {name: one["build"]["args"]["PYTHON_IMAGE"] for name, one in named["services"].items() if "build" in one}
    assert bases == dict.fromkeys(("collector", "migrate", "outputs-api", "poller"), "registry.example.org/python:3.11")


def test_postgres_is_there_once_it_answers_others_and_not_itself_alone(folder: Path) -> None:
    asked = _shape(folder, FILLED)["services"]["postgres"]["healthcheck"]["test"]

    assert asked[:4] == ["CMD", "pg_isready", "-h", "127.0.0.1"]


def test_there_are_three_to_answer_and_two_to_collect(folder: Path) -> None:
    told = _config(folder, FILLED).stdout

    assert [int(found) for found in re.findall(r"replicas: (\d)", told)] == [2, 3]


def test_every_variable_that_it_asks_for_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert asked == set(FILLED)
    example = (ROOT / "deploy" / "production.env.example").read_text()
    assert asked <= set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
