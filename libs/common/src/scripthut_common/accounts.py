"""Which account on a cluster is whose: by the same name, a table, or the claim of whoever vouches for them.

Pure, but for the name of whoever runs this process where a cluster names no `user`.
"""

import getpass
import re

from .clusters import AsWhom, Cluster

_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
# No job runs as one of these, whoever bears such a name elsewhere; the cluster refuses all below uid 1000 besides.
_NEVER = frozenset({"root", "daemon", "bin", "sys", "nobody", "slurm", "munge", "pbsdata"})


def is_account(name: str) -> bool:
    """Say whether a name is one that an account of a person may have."""
    return _ACCOUNT.fullmatch(name) is not None and name not in _NEVER


def account_of(cluster: Cluster, identity: str, *, claimed: str | None = None) -> str | None:
    """The account that somebody has on a cluster; `None` when they have none there.

    Where jobs run as their owners nobody has the service's own account, whatever is said of them.

    Args:
        cluster: its `accounts` decide.
        identity: the name of an actor.
        claimed: what the provider that vouches for them says.
    """
    account = told_account(cluster, identity, claimed=claimed)
    return None if account is None or not is_account(account) or is_services_own(cluster, account) else account


def told_account(cluster: Cluster, identity: str, *, claimed: str | None = None) -> str | None:
    """The account that is said to be somebody's, before it is asked whether it may be; see `account_of`."""
    match cluster.accounts:
        case "same":
            return identity
        case "claim":
            return claimed
        case table:
            return table.get(identity)


def is_services_own(cluster: Cluster, account: str) -> bool:
    """Say whether an account is the one that the service logs in as, on a cluster whose jobs run as their owners."""
    return cluster.as_whom is not AsWhom.SERVICE and account == (cluster.user or _whoever_runs_this())


def identity_of(cluster: Cluster, account: str, *, claimed_by: str | None = None) -> str:
    """Whose an account is; for one that is nobody's, a name that no identity can have.

    Args:
        cluster: its `accounts` decide.
        account: as the scheduler says.
        claimed_by: of whom a provider says that it is theirs.
    """
    if is_services_own(cluster, account):
        return f"{cluster.name}:{account}"
    match cluster.accounts:
        case "same":
            found: str | None = account
        case "claim":
            found = claimed_by
        case table:
            owners = [identity for identity, theirs in table.items() if theirs == account]
            found = owners[0] if len(owners) == 1 else None
    return found or f"{cluster.name}:{account}"


def _whoever_runs_this() -> str | None:
    """As SSH finds it for a cluster without `user`; `None` where the machine has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
