"""Who is asking, and what they may."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What somebody is to this installation; a guest has a share link and nothing else."""

    USER = "user"
    ADMIN = "admin"
    GUEST = "guest"


class Scope(StrEnum):
    """What a credential is good for, at most; sessions and lines of the tokens file have all of them.

    `ADMIN` is all that its owner may do: tokens, sharing, and, if they are an admin, what admins do.
    """

    READ = "read"
    COLLECT = "collect"
    SUBMIT = "submit"
    ADMIN = "admin"


ALL_SCOPES = frozenset(Scope)


class Visibility(StrEnum):
    """Who may read a run besides its owner and admins."""

    PRIVATE = "private"
    GROUP = "group"
    INSTANCE = "instance"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking.

    Args:
        name: compared with a run's owner; a guest's names the share link.
        role: what they are here.
        groups: the groups and projects that they belong to.
        scopes: what the credential that they showed is good for.
        credential: which one that was, for the audit log: `file`, `token:ID`, `session`, `jwt`, `proxy`, `share:ID`.
        shared: the runs that share links open for them, with the link's id.
    """

    name: str
    role: Role
    groups: frozenset[str] = frozenset()
    scopes: frozenset[Scope] = ALL_SCOPES
    credential: str = "file"
    shared: Mapping[str, str] = {}

    @property
    def is_guest(self) -> bool:
        """Whether they have a share link and nothing else."""
        return self.role is Role.GUEST


class Action(StrEnum):
    """What a route does; every route names one. `ENTER` alone needs nobody: health, login, the look of pages."""

    ENTER = "enter"
    CREATE_RUN = "create_run"
    LIST_RUNS = "list_runs"
    READ_RUN = "read_run"
    CANCEL_RUN = "cancel_run"
    COLLECT_AGAIN = "collect_again"
    PIN_RUN = "pin_run"
    SHARE_RUN = "share_run"
    READ_CLUSTERS = "read_clusters"
    READ_METRICS = "read_metrics"
    READ_SCHEMA = "read_schema"
    MANAGE_TOKENS = "manage_tokens"
    ADMINISTER = "administer"
