"""A department: owners of jobs with homes that nobody else may enter, behind a real sshd, and one collector for all."""

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common.clusters import AsWhom, Certificates, Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.shell.accounts import AccountShells
from scripthut_outputs.blobs import open_store
from scripthut_outputs.collector import Collector, Pace
from scripthut_outputs.following import Followers
from scripthut_outputs.following import Pace as FollowingPace
from tests.integration.following.scene import GRACE_S, FollowedScene
from tests.testbed.accounts import SERVICE
from tests.testbed.processes import run
from tests.testbed.sshd import Sshd
from tests.testbed.sudoers import Installed


class Owner(FollowedScene):
    """One owner's home, with the tasks of theirs."""

    def __init__(self, database: Database, home: Path, shells: AccountShells, account: str, cluster: Cluster) -> None:
        super().__init__(database, home, shells.service, owner=account, name=cluster.name)
        self.collector.close()
        self.home = home
        self.account = account
        self.cluster = cluster
        self.run_columns = {"owner": account, "account": account, "document_sha256": "asked here"}
        self.close_home(0o700)

    def close_home(self, mode: int) -> None:
        """Let others in, or not."""
        account = pwd.getpwnam(self.account)
        for path, bits in ((self.home, mode), (self.log_dir, 0o755)):
            path.chmod(bits)
            os.chown(path, account.pw_uid, account.pw_gid)

    def announced(self, **columns: Any) -> "Owner":
        """Let the runs that are made next be told of by an event alone."""
        self.run_columns = {"owner": self.account, **columns}
        return self


class Department:
    """Owners on one cluster, and those who collect and follow."""

    def __init__(self, database: Database, sshd: Sshd, cluster: Cluster, sudo: Installed | None = None) -> None:
        self._sshd = sshd
        self._sudo = sudo
        self.database = database
        self.cluster = cluster
        self.shells = AccountShells(cluster)
        self.folder = sshd.directory / "department"
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.blobs = open_store(str(self.folder / "blobs"))
        self._owners: dict[str, Owner] = {}
        self.collector, self.followers = self._collector(), self._followers()

    def of(self, account: str) -> Owner:
        """The owner who has this account."""
        if account not in self._owners:
            owner = Owner(self.database, self.folder / account, self.shells, account, self.cluster)
            owner.blobs = self.blobs
            self._owners[account] = owner
        return self._owners[account]

    def change(self, **settings: Any) -> None:
        """Describe the cluster otherwise, to a new process."""
        self.cluster = msgspec.structs.replace(self.cluster, **settings)
        self.shells = AccountShells(self.cluster)
        self.collector.close()
        self.followers.close()
        self.collector, self.followers = self._collector(), self._followers()

    def shut(self, account: str) -> None:
        """Let the cluster not take us for this account any more."""
        if self.cluster.as_whom is AsWhom.SUDO and self._sudo is not None:
            run(["gpasswd", "--delete", account, self._sudo.group])
        else:
            config = self._sshd.directory / "sshd_config"
            config.write_text(f"DenyUsers {account}\n{config.read_text()}")
            self._sshd.daemon.restart()

    async def collect(self) -> None:
        """Collect until nothing is due."""
        steps = [loop.step for loop in self.collector.loops() if loop.name.startswith("outputs.collect.")]
        while any([await step() for step in steps]):
            pass

    async def look(self) -> None:
        """Let one tick of those who follow be over."""
        (loop,) = [loop for loop in self.followers.loops() if loop.name == f"outputs.follow.{self.cluster.name}"]
        await loop.step()

    async def close(self) -> None:
        """Let go of everything."""
        self.followers.close()
        self.collector.close()
        await self.shells.close()

    def _followers(self) -> Followers:
        name = self.cluster.name
        cluster = msgspec.structs.replace(self.cluster, follow_interval_s=1e-6)
        return Followers(
            self.database,
            self.blobs,
            {name: cluster},
            {name: self.shells},
            renderer="test-1",
            grace_s=GRACE_S,
            pace=FollowingPace(spacing_s=0.0),
        )

    def _collector(self) -> Collector:
        name = self.cluster.name
        return Collector(
            self.database,
            self.blobs,
            {name: self.cluster},
            {name: self.shells},
            renderer="test-1",
            pace=Pace(),
        )


def cluster_at(sshd: Sshd, **settings: object) -> Cluster:
    cluster = Cluster(
        name="uni",
        scheduler=SchedulerKind.SLURM,
        host=sshd.host,
        port=sshd.port,
        user=SERVICE,
        key_file=str(sshd.key(SERVICE)),
        known_hosts_file=str(sshd.known_hosts),
    )
    return msgspec.structs.replace(cluster, **settings)


@asynccontextmanager
async def opened(how: str, database: Database, sshd: Sshd, sudo: Installed) -> AsyncIterator[Department]:
    """Open a department that reads in one of the ways."""
    settings: dict[str, object] = {"as_whom": AsWhom(how), "sudo_program": str(sudo.program)}
    if how == AsWhom.CERTIFICATE:
        settings["certificates"] = Certificates(ca_key_file=str(sshd.make_authority()))
    found = Department(database, sshd, cluster_at(sshd, **settings), sudo)
    yield found
    await found.close()
