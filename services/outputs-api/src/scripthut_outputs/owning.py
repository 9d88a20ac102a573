"""Decide as whom a run's outputs are read, and whose files may be among them. Pure.

A run is its owner's. What may be read for it are files of the account that the owner has on the cluster (`accounts` of
the cluster says which), and what the service's own account wrote when it ran the owner's tasks. An event is its
publisher's claim: a directory that it names gets nothing unless it belongs to one of these. Whose it is, the cluster
says in the command that lists it.

| run | its account | on the cluster the owner has | `as_whom` | read as | files may be of |
|:--|:--|:--|:--|:--|:--|
| requested here | none | whatever | any | the service | the service, where the run was put |
| requested here | A | A | `service` | the service | A; the service, where the run was put |
| requested here | A | A | `sudo`, `certificate` | A | A |
| requested here | A | another, or none | any | refused | |
| adopted or announced | none, or A | A | `service` | the service | A; the service, where such a run is put |
| adopted or announced | none, or A | A | `sudo`, `certificate` | A | A |
| adopted or announced | B | A | any | refused | |
| adopted, of nobody we know | B | none | `service` | the service | B; the service, where such a run is put |
| adopted, of nobody we know | B | none | `sudo`, `certificate` | B | B |
| announced | B | none | any | refused | |
| announced | none | none | any | the service | the service, where such a run is put |

"Where a run is put" means that every path is the one that `layout` gives this run and task: what the service's account
has written elsewhere is not this run's. An adopted run of nobody we know is called `<cluster>:<account>`, which no
identity can be.
"""

import msgspec

from scripthut_common import layout
from scripthut_common.accounts import account_of
from scripthut_common.clusters import AsWhom, Cluster

_SHOWN = 100


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run and of who owns it.

    Args:
        owner: the identity.
        account: that its jobs run as, by the run's own word; `None`: that of the service.
        is_requested: it was asked for here, so that its account is ours to say; else an event told of it.
        claimed: the account that whoever vouches for the owner says they have.
    """

    owner: str
    account: str | None = None
    is_requested: bool = False
    claimed: str | None = None


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """As whom to read, and whose files may be read.

    Args:
        reader: the account to read as; `None`: that of the service.
        account: whose files they may be; `None`: nobody's by name.
        is_services: they may be of the account that the service logs in as, too.
        owner: whose the run is, for people.
    """

    reader: str | None = None
    account: str | None = None
    is_services: bool = False
    owner: str = ""


class Refused(msgspec.Struct, frozen=True):
    """Nothing of a run may be read, for a reason that people can read."""

    reason: str


class Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster says of an output directory that is not read: that of another, or of an account that it lacks.

    `uid` is `None` where there is no such account; `name` is that uid's, empty where it has none.
    """

    uid: int | None = None
    name: str = ""


def decide(cluster: Cluster, run: Run, *, is_in_place: bool) -> Whose | Refused:
    """Say as whom a run's outputs are read and whose files may be read; see the table above.

    Args:
        cluster: where it ran.
        run: whose it is.
        is_in_place: whether every path is where the run was put; see `is_in_place`.
    """
    theirs = account_of(cluster, run.owner, claimed=run.claimed) or _of_nobody(cluster, run)
    if run.account is not None and run.account != theirs:
        return Refused(_another(cluster, run, theirs))
    account = run.account if run.is_requested else theirs
    if account is None:
        return _as_service(cluster, run, is_in_place=is_in_place)
    if cluster.as_whom is AsWhom.SERVICE:
        return Whose(account=account, is_services=is_in_place, owner=run.owner)
    return Whose(reader=account, account=account, owner=run.owner)


def is_in_place(
    run_id: str,
    task_id: str,
    *,
    output_dir: str,
    run_summary_path: str | None,
    stdout_path: str | None,
    stderr_path: str | None,
) -> bool:
    """Say whether all paths of an item are those that `layout` gives it, below one log directory."""
    below = layout.output_dir("/", run_id, task_id)
    if not output_dir.endswith(below):
        return False
    log_dir = output_dir[: -len(below)] or "/"
    places = (
        (run_summary_path, layout.run_summary_path(log_dir, run_id, task_id)),
        (stdout_path, layout.stdout_path(log_dir, run_id, task_id)),
        (stderr_path, layout.stderr_path(log_dir, run_id, task_id)),
    )
    return all(path is None or path == place for path, place in places)


def explain(cluster: Cluster, whose: Whose, stranger: Stranger) -> str:
    """Say why an output directory was not read, and what helps."""
    if stranger.uid is None:
        return (
            f"the cluster has no account {shown(whose.account or '')}, which is that of {shown(whose.owner)} by "
            f"`accounts` of '{cluster.name}'"
        )
    belongs = f"its output directory belongs to the account {shown(stranger.name) or f'with the uid {stranger.uid}'}"
    if whose.account is None:
        return f"{belongs}, but the run is {shown(whose.owner)}'s, whose tasks the service's own account ran"
    theirs = f"whose account there is {shown(whose.account)} by `accounts` of '{cluster.name}'"
    return f"{belongs}, but the run is {shown(whose.owner)}'s, {theirs}"


def shown(name: str) -> str:
    """A name in a reason: short, and nothing but what can be printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:_SHOWN])


def _of_nobody(cluster: Cluster, run: Run) -> str | None:
    """The account in whose name a run is that belongs to nobody we know."""
    if run.account is None or run.owner != f"{cluster.name}:{run.account}":
        return None
    return account_of(msgspec.structs.replace(cluster, accounts="same"), run.account)


def _as_service(cluster: Cluster, run: Run, *, is_in_place: bool) -> Whose | Refused:
    if is_in_place:
        return Whose(is_services=True, owner=run.owner)
    if run.is_requested:
        return Refused("its paths are not those that this run was given")
    return Refused(
        f"{shown(run.owner)} has no account on this cluster, by `accounts` of '{cluster.name}': nothing tells which "
        "files are theirs"
    )


def _another(cluster: Cluster, run: Run, theirs: str | None) -> str:
    has = "none" if theirs is None else shown(theirs)
    return (
        f"its jobs ran as the account {shown(run.account or '')}, but the run is {shown(run.owner)}'s, whose account "
        f"there is {has} by `accounts` of '{cluster.name}'"
    )
