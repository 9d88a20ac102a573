"""What the outputs service is told when it starts: `SCRIPTHUT_OUTPUTS_…` variables, all faults reported at once."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from scripthut_common import clusters, settings
from scripthut_common.settings import Secret

PREFIX = "SCRIPTHUT_OUTPUTS"
MIB = 1024 * 1024
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
S = TypeVar("S", bound=msgspec.Struct)


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What migrations need."""

    database_url: Secret


class S3Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a blob store in a bucket is reached: `SCRIPTHUT_OUTPUTS_S3_…` variables.

    `endpoint`: of a store that is not AWS; `http://` only if it says so. `credentials_file`: keys as AWS writes them,
    profile `default`; without it, the `AWS_…` variables and then the machine's own keys are taken. `ca_file`: whom to
    trust besides the system's authorities. `spool_dir`: where a batch waits until it is uploaded, for a batch
    carries at most 2 GiB, or one larger file; the system's folder for temporary files unless named.
    `timeout_s`: silence for so long is a fault.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    credentials_file: str | None = None
    ca_file: str | None = None
    spool_dir: str | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0


class StoreSettings(DatabaseSettings, frozen=True, kw_only=True):
    """What verifying needs: the catalog, and where the bytes are."""

    blobs_url: str
    s3: S3Settings = S3Settings()


class SweepSettings(StoreSettings, frozen=True, kw_only=True):
    """What one pass of retention and sweep needs."""

    clusters_file: str
    sweep_grace_s: Annotated[float, msgspec.Meta(gt=0)] = 86_400.0


class DoorSettings(DatabaseSettings, frozen=True, kw_only=True):
    """What letting people in needs.

    `tokens_file` is made at the first start; beside it lies the key that signs sessions. `public_url` is where people
    reach us, if not at the address we listen on. `access_file` says who is an admin, which groups there are and how
    people log in; without one, the tokens file alone does. `token_max_days`: so long a personal token is good at most.
    """

    tokens_file: str
    access_file: str | None = None
    listen_host: str = "127.0.0.1"
    listen_port: Port = 8080
    public_url: str | None = None
    session_days: Annotated[float, msgspec.Meta(gt=0)] = 7.0
    login_code_minutes: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    token_max_days: Annotated[float, msgspec.Meta(gt=0, le=366)] = 90.0

    @property
    def url(self) -> str:
        """Where people reach us, without a slash at the end."""
        host = f"[{self.listen_host}]" if ":" in self.listen_host else self.listen_host
        return (self.public_url or f"http://{host}:{self.listen_port}").rstrip("/")


class Settings(DoorSettings, frozen=True, kw_only=True):
    """What the service itself needs, whichever bus it is given.

    `blobs_url`: where bytes are kept, a folder or `s3://bucket/prefix`.
    `allowed_hosts`: names by which browsers may address us, without ports; what DNS rebinding would forge.
    `cors_origins`: other origins whose pages may read us with a token; none unless named.
    `cluster_silent_after_s`: a cluster of which nothing was heard for so long is shown as stale; the poller speaks
    every 30 s. `cluster_unseen_after_s`: one of which no round went well for so long, too.
    `max_rendered_bytes`: so much of a document is rendered, by `render_workers` processes that a document may hold
    for `render_timeout_s` and fill by `render_memory_bytes`.
    `preview_workers` processes, each started when first needed, show files on pages; one file may hold one for
    `preview_timeout_s` and fill it by `preview_memory_bytes`. Readers wait for their turn for `preview_wait_s`.
    `archives_at_once`: so many archives are made at the same time, `archives_each` of them for one person; others wait
    for `archive_wait_s`. Who takes nothing of an archive for `archive_stalled_s` is cut off.
    `streams_at_once`: so many streams of events are open at the same time, `streams_each` of them of one person; who
    takes nothing of one for `stream_stalled_s`, or lets more than `live_waiting_bytes` wait, is cut off and may come
    back. A run that somebody has open is read at most every `live_spacing_s`; a stream is silent for
    `live_heartbeat_s` at most.
    `retention_interval_s`: so often what is too old is removed, for the first time `retention_delay_s` after the start;
    blobs that nobody refers to go once no collection has touched them for `sweep_grace_s`.
    `collection_lease_s`: so long after a collector died others take over what it had begun.
    `trusted_proxies`: networks whose word counts of whom a request came from (`X-Forwarded-For`); none unless named.
    `audit_keep_days`: so long the audit log stays; `audit_own_reads`: owners are noted too who look at what is theirs.
    """

    clusters_file: str
    blobs_url: str
    s3: S3Settings = S3Settings()
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    cors_origins: tuple[str, ...] = ()
    max_inline_html_bytes: int = 2 * MIB
    cluster_silent_after_s: Annotated[float, msgspec.Meta(gt=30)] = 120.0
    cluster_unseen_after_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    max_rendered_bytes: Annotated[int, msgspec.Meta(ge=1024)] = MIB
    render_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    render_memory_bytes: Annotated[int, msgspec.Meta(ge=64 * MIB)] = 512 * MIB
    render_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    preview_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    preview_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    preview_memory_bytes: Annotated[int, msgspec.Meta(ge=64 * MIB)] = 512 * MIB
    preview_wait_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    archives_at_once: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    archives_each: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    archive_wait_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    archive_stalled_s: Annotated[float, msgspec.Meta(gt=0)] = 120.0
    streams_at_once: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000
    streams_each: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    stream_stalled_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    live_waiting_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 4 * MIB
    live_spacing_s: Annotated[float, msgspec.Meta(gt=0)] = 0.25
    live_heartbeat_s: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    retention_interval_s: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    retention_delay_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    sweep_grace_s: Annotated[float, msgspec.Meta(gt=0)] = 86_400.0
    collection_lease_s: Annotated[float, msgspec.Meta(ge=1)] = 30.0
    trusted_proxies: tuple[str, ...] = ()
    audit_keep_days: Annotated[float, msgspec.Meta(gt=0)] = 400.0
    audit_own_reads: bool = False
    database_connections: Annotated[int, msgspec.Meta(ge=1)] = 8


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
