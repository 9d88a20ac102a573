"""What an operator says of a cluster: host, account, scheduler, limits. Both services read the same file.

[clusters.daint]
scheduler = "slurm"
host = "daint.example.org"
user = "outputs"
key_file = "~/.ssh/id_ed25519"
log_dir = "~/scripthut"
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from . import layout
from .errors import SettingsError
from .settings import read_toml

MIB = 1024 * 1024


class SchedulerKind(StrEnum):
    """Which program hands out the nodes."""

    SLURM = "slurm"
    LOCALHOST = "localhost"


class CollectionLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of one task's outputs is taken; what exceeds it stands in the ledger with the reason."""

    max_depth: int = 3
    max_files: int = 1000
    max_file_bytes: int = 10 * MIB
    max_total_bytes: int = 200 * MIB
    log_tail_bytes: int = MIB
    max_named_rows: int = 10_000


class Cluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cluster as its operator describes it. `~` in `log_dir` is expanded on the cluster.

    `spool_dir` is where a localhost cluster keeps its jobs; else that is `.spool` in `log_dir`.
    """

    scheduler: SchedulerKind
    name: str = ""
    host: str = "localhost"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 22
    user: str | None = None
    key_file: str | None = None
    known_hosts_file: str | None = None
    check_host_key: bool = True
    log_dir: str = "~/scripthut"
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1)] = 10.0
    connect_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    command_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    transfer_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    max_sessions: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    spool_dir: str | None = None
    collection: CollectionLimits = CollectionLimits()


class _File(msgspec.Struct, frozen=True, kw_only=True):
    clusters: dict[str, Cluster]


def load(path: Path) -> dict[str, Cluster]:
    """Read the clusters of a TOML file, by name.

    Raises:
        SettingsError: the file is missing or wrong; names the file, the field and the fault.
    """
    try:
        found = msgspec.convert(read_toml(path), type=_File).clusters
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {error}") from error
    wrong = [name for name in found if not layout.is_cluster_name(name)]
    if wrong:
        raise SettingsError(f"{path}: cluster names must be {layout.CLUSTER_NAME_RULE}; found {wrong!r}")
    return {name: msgspec.structs.replace(cluster, name=name) for name, cluster in found.items()}
