"""What an operator says of a cluster: host, account, scheduler, limits. Both services read the same file.

[clusters.daint]
scheduler = "slurm"
host = "daint.example.org"
user = "outputs"
key_file = "~/.ssh/id_ed25519"
log_dir = "~/scripthut"
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from . import layout, settings, tasks
from .errors import SettingsError
from .settings import fill, read_toml

S = TypeVar("S", bound=msgspec.Struct)
MIB = 1024 * 1024
_Limit = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(gt=0)]
_ABSOLUTE = r"\A/[A-Za-z0-9._/-]+\Z"
_User = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_.-]{0,31}\Z")]


class SchedulerKind(StrEnum):
    """Which program hands out the nodes."""

    SLURM = "slurm"
    PBS = "pbs"
    LOCALHOST = "localhost"


class CollectionLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of one task's outputs is taken; what exceeds it stands in the ledger with the reason."""

    max_depth: _Limit = 3
    max_files: _Limit = 1000
    max_file_bytes: _Limit = 10 * MIB
    max_total_bytes: _Limit = 200 * MIB
    log_tail_bytes: _Limit = MIB
    max_named_rows: _Limit = 10_000


class Visibility(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a collection waits, in seconds, for files that a task wrote and the login node does not show yet.

    Args:
        again_s: after a look that lacks promised files, the next one is due; each wait is twice the one before.
        deadline_s: so long after the first look what is missing is given up, and the collection rests as incomplete.
        agreeing_s: without an exit record, two looks at least so far apart must see the same.
    """

    again_s: _Seconds = 2.0
    deadline_s: _Seconds = 600.0
    agreeing_s: _Seconds = 5.0


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long collected files are kept, runs that somebody pinned apart; for ever unless something is set.

    Args:
        max_age_days: files of tasks that ended longer ago are removed.
        max_total_bytes: when all stored files of the cluster take more, those of the oldest runs are removed.
    """

    max_age_days: _Seconds | None = None
    max_total_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None


class Patience(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long verdicts wait for what, in seconds; see `docs/operators.md`.

    Args:
        young_s: a job that is not in the queue so soon after its submission is not asked for in accounting.
        unregistered_s: good-round time after which a job that nobody ever had a record of is given up.
        settling_s: good-round time after which a job that left the queue without a word is given up.
        returning_s: how long a job must stay away that ended in a way in which jobs are often requeued.
        correcting_s: how long accounting may correct what an exit record has decided, while it answers.
        hard_end_s: after so long without a verdict an item ends as unknown, and one that did is let go.
        asking_again_s: how often an item that ended as unknown is asked for again.
        listed_s: how long, by good answers, a list that a task generates may be missing before it is refused.
    """

    young_s: _Seconds = 60.0
    unregistered_s: _Seconds = 300.0
    settling_s: _Seconds = 600.0
    returning_s: _Seconds = 20.0
    correcting_s: _Seconds = 600.0
    hard_end_s: _Seconds = 86_400.0
    asking_again_s: _Seconds = 60.0
    listed_s: _Seconds = 90.0


class AsWhom(StrEnum):
    """Under which account jobs are submitted and outputs are read.

    `SERVICE`: one account for all; `SUDO`: the owner's, by sudo from that account; `CERTIFICATE`: the owner's, by SSH
    with a certificate made for the moment.
    """

    SERVICE = "service"
    SUDO = "sudo"
    CERTIFICATE = "certificate"


class Certificates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where SSH certificates for the owners of runs come from: a CA's key on this machine, or a command.

    Args:
        ca_key_file: signs a key that is made for the moment and kept in memory.
        command: prints such a key and its certificate; `{account}` in a word stands for whom it is.
        valid_s: how long one is good for, at most; connections that are open by then stay.
        max_connections: as different accounts at the same time.
    """

    ca_key_file: str | None = None
    command: tuple[str, ...] = ()
    valid_s: Annotated[float, msgspec.Meta(ge=30, le=86_400)] = 300.0
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16


class Cluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cluster as its operator describes it. `~` in `log_dir` is expanded on the cluster.

    `spool_dir` is where a localhost cluster keeps its jobs; else that is `.spool` in `log_dir`. Rounds come every
    `poll_interval_s` while something happens, and ever more seldom, down to every `slowest_interval_s`, while nothing
    does. `commands_per_minute` bounds what the scheduler is asked, submissions apart. `adopt` names the accounts whose
    tagged jobs are watched though nobody announced them; their outputs lie below `adopt_log_dir`, where `~` is the
    job owner's. Other programs may announce items that lie below `log_dir` or one of the `announced_roots`.
    While somebody has a run open, what its running tasks have written is read every `follow_interval_s`, with one
    command for up to `follow_max_items` of them and up to `follow_max_bytes` of what has changed; 0 or `off`: never.
    `as_whom` says under which account jobs are submitted and outputs are read; `accounts` which account somebody has
    here: `same` name, by `claim` of whoever vouches for them, or by a table of identities. `sudo_program` is what
    sudo may run there as an owner, `sudo_reader` what it may run to read only (`None`: the same); see
    `docs/operators.md`.
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
    slowest_interval_s: Annotated[float, msgspec.Meta(ge=1)] = 30.0
    commands_per_minute: Annotated[int, msgspec.Meta(ge=4)] = 60
    connect_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    command_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    as_whom: AsWhom = AsWhom.SERVICE
    accounts: Literal["same", "claim"] | Mapping[str, _User] = "same"
    sudo_program: Annotated[str, msgspec.Meta(pattern=_ABSOLUTE)] = "/usr/local/libexec/scripthut/as-owner"
    sudo_reader: Annotated[str, msgspec.Meta(pattern=_ABSOLUTE)] | None = None
    certificates: Certificates = Certificates()
    adopt: Literal["off"] | tuple[_User, ...] = "off"
    adopt_log_dir: str = "~/scripthut"
    adopt_interval_s: Annotated[float, msgspec.Meta(ge=1)] = 60.0
    announced_roots: tuple[str, ...] = ()
    submission_timeout_s: Annotated[float, msgspec.Meta(ge=5)] = 120.0
    transfer_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    max_sessions: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    spool_dir: str | None = None
    follow_interval_s: Literal["off"] | Annotated[float, msgspec.Meta(ge=0)] = 10.0
    follow_max_items: Annotated[int, msgspec.Meta(ge=1)] = 200
    follow_max_bytes: Annotated[int, msgspec.Meta(ge=1)] = 32 * MIB
    collection: CollectionLimits = CollectionLimits()
    visibility: Visibility = Visibility()
    retention: Retention = Retention()
    patience: Patience = Patience()

    @property
    def adopted_users(self) -> tuple[str, ...]:
        """The accounts whose jobs are adopted; empty where adoption is off."""
        return () if self.adopt == "off" else self.adopt

    @property
    def follow_every_s(self) -> float | None:
        """How often outputs of running tasks are read; `None`: never."""
        return None if self.follow_interval_s == "off" else self.follow_interval_s or None


def load(path: Path) -> dict[str, Cluster]:
    """Read the clusters of a TOML file, by name.

    Raises:
        SettingsError: one line for everything that is missing or wrong, with its place in the file.
    """
    tables, faults = read_toml(path).get("clusters"), list[str]()
    if not isinstance(tables, dict) or not tables:
        raise SettingsError(f"{path}: describe at least one cluster, as [clusters.daint]")
    found = {name: _read(name, table, faults) for name, table in tables.items()}
    if faults:
        raise SettingsError("\n".join(f"{path}: {fault}" for fault in faults))
    return {name: cluster for name, cluster in found.items() if cluster is not None}


def settings_with_clusters(type_: type[S], environ: Mapping[str, str], *, prefix: str) -> S:
    """Read a service's settings and the clusters file that they name.

    Raises:
        SettingsError: lists everything that is missing or wrong in both.
    """
    faults = []
    named = environ.get(f"{prefix}_CLUSTERS_FILE")
    if named:
        try:
            load(Path(named))
        except SettingsError as error:
            faults.append(f"  {error}")
    try:
        found = settings.load(type_, environ, prefix=prefix)
    except SettingsError as error:
        raise SettingsError("\n".join([str(error), *faults])) from error
    if faults:
        raise SettingsError("\n".join(["settings are incomplete or wrong:", *faults]))
    return found


def _read(name: str, table: object, faults: list[str]) -> Cluster | None:
    where = f"clusters.{name if layout.is_cluster_name(name) else repr(name)}"
    if not layout.is_cluster_name(name):
        faults.append(f"{where}: the name must be {layout.CLUSTER_NAME_RULE}")
    if not isinstance(table, dict):
        faults.append(f"{where} must be a table")
        return None
    if "name" in table:
        faults.append(f"{where}.name is no setting; the name stands in the brackets")
    cluster = fill(Cluster, table, where, faults)
    faults += [f"{where}.{fault}" for fault in (_of_whom(cluster) if cluster is not None else ())]
    for field, path in _paths(cluster) if cluster is not None else ():
        faults += [f"{where}.{field} {problem.message}" for problem in tasks.check_log_dir(path, field)]
    return cluster and msgspec.structs.replace(cluster, name=name)


def _of_whom(cluster: Cluster) -> Iterator[str]:
    """Yield what keeps jobs of a cluster from running as their owners, though that is what is wanted."""
    if cluster.as_whom is AsWhom.SERVICE:
        return
    if cluster.scheduler is SchedulerKind.LOCALHOST:
        yield "as_whom must be service: a localhost cluster runs jobs as whoever runs the service"
    sources = cluster.certificates
    if cluster.as_whom is AsWhom.CERTIFICATE and (sources.ca_key_file is None) == (not sources.command):
        yield "certificates must have ca_key_file or command, one of them"


def _paths(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Yield every directory on the cluster that is named, by the name of its setting."""
    yield "log_dir", cluster.log_dir
    yield "adopt_log_dir", cluster.adopt_log_dir
    yield from (("announced_roots", root) for root in cluster.announced_roots)
    if cluster.spool_dir is not None:
        yield "spool_dir", cluster.spool_dir
