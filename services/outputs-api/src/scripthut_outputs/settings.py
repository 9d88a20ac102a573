"""What the outputs service is told when it starts: `SCRIPTHUT_OUTPUTS_…` variables, all faults reported at once."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from scripthut_common import clusters, settings

PREFIX = "SCRIPTHUT_OUTPUTS"
MIB = 1024 * 1024
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
S = TypeVar("S", bound=msgspec.Struct)


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What migrations need."""

    database_url: str


class DoorSettings(DatabaseSettings, frozen=True, kw_only=True):
    """What letting people in needs.

    `tokens_file` is made at the first start; beside it lies the key that signs sessions. `public_url` is where people
    reach us, if not at the address we listen on.
    """

    tokens_file: str
    listen_host: str = "127.0.0.1"
    listen_port: Port = 8080
    public_url: str | None = None
    session_days: Annotated[float, msgspec.Meta(gt=0)] = 7.0
    login_code_minutes: Annotated[float, msgspec.Meta(gt=0)] = 10.0

    @property
    def url(self) -> str:
        """Where people reach us, without a slash at the end."""
        host = f"[{self.listen_host}]" if ":" in self.listen_host else self.listen_host
        return (self.public_url or f"http://{host}:{self.listen_port}").rstrip("/")


class Settings(DoorSettings, frozen=True, kw_only=True):
    """What the service itself needs, whichever bus it is given.

    `allowed_hosts`: names by which browsers may address us, without ports; what DNS rebinding would forge.
    `cors_origins`: other origins whose pages may read us with a token; none unless named.
    `cluster_silent_after_s`: a cluster of which nothing was heard for so long is shown as stale; the poller speaks
    every 30 s. `cluster_unseen_after_s`: one of which no round went well for so long, too.
    `max_rendered_bytes`: so much of a document is rendered, by `render_workers` processes that a document may hold
    for `render_timeout_s` and fill by `render_memory_bytes`.
    `collection_lease_s`: so long after a collector died others take over what it had begun.
    """

    clusters_file: str
    blobs_dir: str
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    cors_origins: tuple[str, ...] = ()
    max_inline_html_bytes: int = 2 * MIB
    cluster_silent_after_s: Annotated[float, msgspec.Meta(gt=30)] = 120.0
    cluster_unseen_after_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    max_rendered_bytes: Annotated[int, msgspec.Meta(ge=1024)] = MIB
    render_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    render_memory_bytes: Annotated[int, msgspec.Meta(ge=64 * MIB)] = 512 * MIB
    render_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    collection_lease_s: Annotated[float, msgspec.Meta(ge=1)] = 30.0
    database_connections: Annotated[int, msgspec.Meta(ge=1)] = 8


class ProcessSettings(Settings, frozen=True, kw_only=True):
    """What a process of its own needs besides: the broker, and where it says how it is."""

    amqp_url: str
    health_host: str = "127.0.0.1"
    health_port: Port = 8082


def load(environ: Mapping[str, str]) -> ProcessSettings:
    """Read the settings of a process.

    Raises:
        SettingsError: lists everything that is missing or wrong, the clusters file included.
    """
    return clusters.settings_with_clusters(ProcessSettings, environ, prefix=PREFIX)


def load_some(type_: type[S], environ: Mapping[str, str]) -> S:
    """Read what one command needs, and no more.

    Raises:
        SettingsError: lists everything that is missing or wrong.
    """
    return settings.load(type_, environ, prefix=PREFIX)
