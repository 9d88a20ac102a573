"""The configuration files of the test cluster, as text."""

from pathlib import Path

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
    directory: Path,
    *,
    host: str,
    munge_socket: Path,
    slurmctld_port: int,
    slurmdbd_port: int,
    mariadbd_port: int,
    node_ports: dict[str, int],
    has_cgroup_choice: bool,
    extra: str,
) -> Path:
    """Write slurm.conf, slurmdbd.conf and cgroup.conf and return the path of the first.

    `has_cgroup_choice`: whether this Slurm can and must be told to go without cgroups (24.11 and newer).
    """
    etc = directory / "etc"
    etc.mkdir()
    ports = {"slurmctld_port": slurmctld_port, "slurmdbd_port": slurmdbd_port, "mariadbd_port": mariadbd_port}
    words = {"directory": directory, "host": host, "munge_socket": munge_socket, **ports}
    nodes = (_NODE.format(name=name, host=host, port=port) for name, port in node_ports.items())
    slurm_conf = etc / "slurm.conf"
    slurm_conf.write_text(_SLURM_CONF.format(**words) + "".join(nodes) + extra)
    slurmdbd_conf = etc / "slurmdbd.conf"
    slurmdbd_conf.touch(mode=0o600)
    slurmdbd_conf.write_text(_SLURMDBD_CONF.format(**words))
    (etc / "cgroup.conf").write_text("CgroupPlugin=disabled\n" if has_cgroup_choice else "")
    return slurm_conf
