"""The configuration files of the test cluster, as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.testbed.workspaces import Workspace

_SLURM_CONF = """\
ClusterName=testbed
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge_socket}
CredType=cred/munge
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd_port}
# The link to slurmdbd does not look at AuthInfo.
AccountingStoragePass={munge_socket}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=10
KillWait=2
SlurmdTimeout=10
MessageTimeout=10
InactiveLimit=0
CompleteWait=0
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=high Nodes=ALL PriorityTier=3
PartitionName=debug Nodes=ALL PriorityTier=2 Default=YES
PartitionName=low Nodes=ALL PriorityTier=1
"""

_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4000\n"

_SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={munge_socket}
DbdHost={host}
DbdAddr=127.0.0.1
CommunicationParameters=NoInAddrAny
DbdPort={slurmdbd_port}
SlurmUser=root
PidFile={directory}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadbd_port}
StorageLoc=slurm
StorageUser=slurm
StoragePass=slurm
"""

# The tables are thrown away with the directory, so nothing waits for the disk.
MARIADB_OPTIONS = (
    "--debug-no-sync",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--innodb-lock-wait-timeout=900",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
)


def write_slurm_files(
    workspace: Workspace,
    *,
    host: str,
    ports: Mapping[str, int],
    nodes: Sequence[str],
    version: tuple[int, int],
    extra: str,
    cgroup: str = "",
) -> Path:
    """Write slurm.conf, slurmdbd.conf and cgroup.conf and return the path of the first.

    Args:
        workspace: where; munge's socket is `munge/sock` there.
        host: this machine's short name.
        ports: one for each daemon by its name, and one for each node by the node's.
        nodes: the nodes' names.
        version: that of Slurm, as 22, 5.
        extra: more lines for slurm.conf, and lines that replace ours.
        cgroup: lines for cgroup.conf.
    """
    directory = workspace.path
    words: dict[str, object] = {f"{daemon}_port": port for daemon, port in ports.items() if daemon not in nodes}
    words |= {"directory": str(directory), "host": host, "munge_socket": str(directory / "munge" / "sock")}
    lines = (_NODE.format(name=node, host=host, port=ports[node]) for node in nodes)
    workspace.directory("etc")
    # Slurm before 24.11 does not know this choice; later ones do not start without cgroups unless told so.
    workspace.write("etc/cgroup.conf", cgroup or ("CgroupPlugin=disabled\n" if version >= (24, 11) else ""))
    workspace.write("etc/slurmdbd.conf", _SLURMDBD_CONF.format(**words), 0o600)
    ours = _without_replaced(_SLURM_CONF.format(**words), extra)
    return workspace.write("etc/slurm.conf", ours + "".join(lines) + extra)


def _without_replaced(text: str, extra: str) -> str:
    """Leave out what is set anew: Slurm complains of a setting that stands there twice."""
    anew = {line.partition("=")[0] for line in extra.splitlines()} - {"PartitionName", "NodeName"}
    return "".join(line for line in text.splitlines(keepends=True) if line.partition("=")[0] not in anew)
