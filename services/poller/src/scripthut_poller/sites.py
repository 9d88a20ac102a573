"""One cluster as the rooms work on it: its description, its scheduler's words, the way to it, and our lease of it."""

import msgspec

from scripthut_common.clusters import Cluster
from scripthut_common.shell import RemoteShell

from .leasing import Leasing
from .schedulers import Scheduler


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What every room that works on one cluster is given."""

    cluster: Cluster
    scheduler: Scheduler
    shell: RemoteShell
    lease: Leasing

    @property
    def name(self) -> str:
        """What the cluster is called."""
        return self.cluster.name
