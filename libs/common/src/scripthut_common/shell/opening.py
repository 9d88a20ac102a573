"""Open the way to a cluster: SSH, or this machine itself."""

from scripthut_common.clusters import Cluster, SchedulerKind

from . import RemoteShell
from .local import LocalShell
from .ssh import SshShell


def open_shell(cluster: Cluster) -> RemoteShell:
    """Make the shell of a cluster; it connects when it is first used."""
    if cluster.scheduler is SchedulerKind.LOCALHOST:
        return LocalShell(cluster.name, max_sessions=cluster.max_sessions)
    return SshShell(cluster)
