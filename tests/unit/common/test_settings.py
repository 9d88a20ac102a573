"""Settings and clusters files: read as they say, or refused with every fault in them."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from scripthut_common import clusters, settings
from scripthut_common.clusters import CollectionLimits, SchedulerKind
from scripthut_common.errors import SettingsError


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a service that there is not."""

    database_url: str
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    hosts: tuple[str, ...] = ("localhost",)
    is_loud: bool = False
    interval_s: Annotated[float, msgspec.Meta(gt=0)] = 1.5


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A part of settings."""

    region: str = "here"
    timeout_s: float = 1.0


class WithBucket(Sample, frozen=True, kw_only=True):
    """Settings with a part."""

    bucket: Bucket = Bucket()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_a_variable_beats_the_file_and_the_file_the_default(file: Path) -> None:
    file.write_text('database_url = "from file"\nport = 1\nhosts = ["a"]\n')
    environ = {"X_PORT": "2", "X_IS_LOUD": "true", "X_HOSTS": "b, c ,", "Y_PORT": "3"}

    found = settings.load(Sample, environ, prefix="X", file=file)

    assert found == Sample(database_url="from file", port=2, hosts=("b", "c"), is_loud=True)


def test_everything_missing_or_wrong_is_told_at_once_without_the_values(file: Path) -> None:
    file.write_text('interval_s = "often"\ncolour = 1\n')

    with pytest.raises(SettingsError) as caught:
        settings.load(Sample, {"X_PORT": "s3cret", "X_IS_LOUD": "perhaps"}, prefix="X", file=file)

    assert str(caught.value).splitlines() == [
        "settings are incomplete or wrong:",
        f"  {file}: colour is no setting",
        "  X_DATABASE_URL is missing",
        "  X_PORT: Expected `int`, got `str`",
        "  X_IS_LOUD: Expected `bool`, got `str`",
        "  X_INTERVAL_S: Expected `float`, got `str`",
    ]


def test_a_part_has_variables_and_a_table_of_its_own(file: Path) -> None:
    file.write_text('[bucket]\nregion = "there"\n')
    needed = {"X_DATABASE_URL": "u", "X_PORT": "1"}

    assert settings.load(WithBucket, needed, prefix="X").bucket == Bucket()
    assert settings.load(WithBucket, needed | {"X_BUCKET_TIMEOUT_S": "2"}, prefix="X").bucket == Bucket(timeout_s=2)
    assert settings.load(WithBucket, needed, prefix="X", file=file).bucket == Bucket(region="there")
    with pytest.raises(SettingsError) as caught:
        settings.load(WithBucket, {"X_PORT": "1", "X_BUCKET_TIMEOUT_S": "soon"}, prefix="X")
    assert str(caught.value).splitlines()[1:] == [
        "  X_DATABASE_URL is missing",
        "  X_BUCKET_TIMEOUT_S: Expected `float`, got `str`",
    ]


def test_an_empty_variable_is_as_good_as_none() -> None:
    with pytest.raises(SettingsError, match="X_DATABASE_URL is missing"):
        settings.load(Sample, {"X_DATABASE_URL": "", "X_PORT": "1"}, prefix="X")

    assert settings.load(Sample, {"X_DATABASE_URL": "u", "X_PORT": "1", "X_HOSTS": ""}, prefix="X").hosts == (
        "localhost",
    )


@pytest.mark.parametrize("text", ["port = ", "= 1", '"a', "a = \xff"])
def test_a_file_that_is_no_toml_is_named(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))

    with pytest.raises(SettingsError, match=str(file)):
        settings.load(Sample, {}, prefix="X", file=file)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=f"{file}: No such file"):
        settings.read_toml(file)


def test_clusters_are_read_with_their_names_and_defaults(file: Path) -> None:
    file.write_text(
        '[clusters.daint]\nscheduler = "slurm"\nhost = "daint.example.org"\npoll_interval_s = 5\n'
        '[clusters.daint.collection]\nmax_files = 10\n[clusters.here]\nscheduler = "localhost"\nlog_dir = "/tmp/x"\n'
    )

    found = clusters.load(file)

    assert list(found) == ["daint", "here"]
    assert (found["daint"].name, found["daint"].poll_interval_s, found["daint"].port) == ("daint", 5.0, 22)
    assert found["daint"].collection == CollectionLimits(max_files=10)
    assert found["here"].scheduler is SchedulerKind.LOCALHOST


def test_everything_wrong_with_clusters_is_told_at_once(file: Path) -> None:
    file.write_text(
        '[clusters.Daint]\nscheduler = "slurm"\n'
        '[clusters.a]\nscheduler = "lsf"\nport = 0\nhots = "x"\nname = "b"\n'
        "[clusters.a.collection]\nmax_files = -1\ndepth = 1\n"
        '[clusters.b]\nlog_dir = 1\n[clusters.c]\nscheduler = "slurm"\nlog_dir = "relative"\n'
    )

    with pytest.raises(SettingsError) as caught:
        clusters.load(file)

    assert [line.removeprefix(f"{file}: ") for line in str(caught.value).splitlines()] == [
        "clusters.'Daint': the name must be 1 to 63 of a-z 0-9 - and beginning with a letter or digit",
        "clusters.a.name is no setting; the name stands in the brackets",
        "clusters.a.hots is no setting",
        "clusters.a.scheduler: Invalid enum value 'lsf'",
        "clusters.a.port: Expected `int` >= 1",
        "clusters.a.collection.depth is no setting",
        "clusters.a.collection.max_files: Expected `int` >= 0",
        "clusters.b.scheduler is missing",
        "clusters.b.log_dir: Expected `str`, got `int`",
        "clusters.c.log_dir must be absolute or begin with ~/",
    ]


def test_a_cluster_whose_jobs_run_as_their_owners_must_say_how(file: Path) -> None:
    file.write_text(
        '[clusters.a]\nscheduler = "localhost"\nas_whom = "sudo"\n'
        '[clusters.b]\nscheduler = "slurm"\nas_whom = "certificate"\n'
        '[clusters.c]\nscheduler = "slurm"\nas_whom = "certificate"\n'
        '[clusters.c.certificates]\nca_key_file = "/ca"\ncommand = ["sign"]\n'
        '[clusters.d]\nscheduler = "slurm"\nas_whom = "sudo"\nsudo_program = "/x\'; id #"\n'
        '[clusters.e]\nscheduler = "slurm"\naccounts = { ada = "a;b" }\n'
    )

    with pytest.raises(SettingsError) as caught:
        clusters.load(file)

    lines = [line.removeprefix(f"{file}: ") for line in str(caught.value).splitlines()]
    assert lines[:3] == [
        "clusters.a.as_whom must be service: a localhost cluster runs jobs as whoever runs the service",
        "clusters.b.certificates must have ca_key_file or command, one of them",
        "clusters.c.certificates must have ca_key_file or command, one of them",
    ]
    assert [line.partition(":")[0] for line in lines[3:]] == ["clusters.d.sudo_program", "clusters.e.accounts"]


@pytest.mark.parametrize("text", ["", "clusters = 1", "[clusters]", "[clusters]\na = 1", "[other]\nx = 1"])
def test_a_file_without_clusters_is_refused(file: Path, text: str) -> None:
    file.write_text(text)

    with pytest.raises(SettingsError, match="cluster"):
        clusters.load(file)
