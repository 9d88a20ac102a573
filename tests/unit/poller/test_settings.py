"""A start without its settings stops and lists all that is wrong at once."""

from pathlib import Path

import pytest

from scripthut_common.errors import SettingsError
from scripthut_poller import settings
from scripthut_poller.commands import main

RIGHT = {
    "SCRIPTHUT_POLLER_DATABASE_URL": "postgresql://localhost/x",
    "SCRIPTHUT_POLLER_AMQP_URL": "amqp://localhost/",
}


@pytest.fixture
def clusters_file(tmp_path: Path) -> Path:
    path = tmp_path / "clusters.toml"
    path.write_text('[clusters.here]\nscheduler = "localhost"\n')
    return path


def test_settings_are_read_from_the_environment(clusters_file: Path) -> None:
    found = settings.load(
        RIGHT | {"SCRIPTHUT_POLLER_CLUSTERS_FILE": str(clusters_file), "SCRIPTHUT_POLLER_HEALTH_PORT": "0"}
    )

    assert (found.amqp_url, found.health_port) == ("amqp://localhost/", 0)


def test_everything_that_is_missing_is_listed_at_once() -> None:
    with pytest.raises(SettingsError) as refusal:
        settings.load({"SCRIPTHUT_POLLER_HEALTH_PORT": "many"})

    for name in ("DATABASE_URL", "AMQP_URL", "CLUSTERS_FILE", "HEALTH_PORT"):
        assert f"SCRIPTHUT_POLLER_{name}" in str(refusal.value)


def test_a_wrong_clusters_file_is_named_along_with_the_rest(clusters_file: Path) -> None:
    clusters_file.write_text('[clusters."Big Iron"]\nscheduler = "localhost"\n')

    with pytest.raises(SettingsError) as refusal:
        settings.load({"SCRIPTHUT_POLLER_CLUSTERS_FILE": str(clusters_file)})

    assert "SCRIPTHUT_POLLER_DATABASE_URL is missing" in str(refusal.value)
    assert "Big Iron" in str(refusal.value)


def test_a_wrong_clusters_file_alone_is_refused(clusters_file: Path) -> None:
    clusters_file.write_text("[clusters.here]\nscheduler = 'abacus'\n")

    with pytest.raises(SettingsError, match="abacus"):
        settings.load(RIGHT | {"SCRIPTHUT_POLLER_CLUSTERS_FILE": str(clusters_file)})


def test_a_start_without_settings_says_so_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "AMQP_URL", "CLUSTERS_FILE"):
        monkeypatch.delenv(f"SCRIPTHUT_POLLER_{name}", raising=False)

    status = main(["run"])

    assert status == 1
    assert "SCRIPTHUT_POLLER_DATABASE_URL is missing" in capsys.readouterr().err
