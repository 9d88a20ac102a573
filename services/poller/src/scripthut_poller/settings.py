"""What the poller is told when it starts: `SCRIPTHUT_POLLER_…` variables, all faults reported at once."""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from scripthut_common import clusters
from scripthut_common.settings import Secret

PREFIX = "SCRIPTHUT_POLLER"


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What migrations need."""

    database_url: Secret


class CheckSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of clusters needs; the database only to compare its clock."""

    clusters_file: str
    database_url: Secret | None = None


class Settings(DatabaseSettings, frozen=True, kw_only=True):
    """What the service itself needs, whichever bus it is given."""

    clusters_file: str


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What looking after dead letters needs."""

    amqp_url: Secret


class ReplaySettings(BrokerSettings, frozen=True, kw_only=True):
    """What saying events again needs."""

    database_url: Secret


class ProcessSettings(Settings, frozen=True, kw_only=True):
    """What a process of its own needs besides: the broker, and where it says how it is."""

    amqp_url: Secret
    health_host: str = "127.0.0.1"
    health_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8081


def load(environ: Mapping[str, str]) -> ProcessSettings:
    """Read the settings of a process.

    Raises:
        SettingsError: lists everything that is missing or wrong, the clusters file included.
    """
    return clusters.settings_with_clusters(ProcessSettings, environ, prefix=PREFIX)
