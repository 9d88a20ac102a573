"""Which account on a cluster is whose: by the same name, a table, or the claim of whoever vouches for them. Pure."""

import re

from .clusters import Cluster

_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
# No job runs as one of these, whoever bears such a name elsewhere; the cluster refuses all below uid 1000 besides.
_NEVER = frozenset({"root", "daemon", "bin", "sys", "nobody", "slurm", "munge", "pbsdata"})


def is_account(name: str) -> bool:
    """Say whether a name is one that an account of a person may have."""
    return _ACCOUNT.fullmatch(name) is not None and name not in _NEVER


def account_of(cluster: Cluster, identity: str, *, claimed: str | None = None) -> str | None:
    """The account that somebody has on a cluster; `None` when they have none there.

    Args:
        cluster: its `accounts` decide.
        identity: the name of an actor.
        claimed: what the provider that vouches for them says.
    """
    match cluster.accounts:
        case "same":
            account: str | None = identity
        case "claim":
            account = claimed
        case table:
            account = table.get(identity)
    return account if account is not None and is_account(account) else None


def identity_of(cluster: Cluster, account: str, *, claimed_by: str | None = None) -> str:
    """Whose an account is; for one that is nobody's, a name that no identity can have.

    Args:
        cluster: its `accounts` decide.
        account: as the scheduler says.
        claimed_by: of whom a provider says that it is theirs.
    """
    match cluster.accounts:
        case "same":
            found: str | None = account
        case "claim":
            found = claimed_by
        case table:
            owners = [identity for identity, theirs in table.items() if theirs == account]
            found = owners[0] if len(owners) == 1 else None
    return found or f"{cluster.name}:{account}"
