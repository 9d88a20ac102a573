"""What is tried on a PBS cluster, over real sshd, with stand-ins for its commands that print what real ones did."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.shell.ssh import SshShell
from scripthut_poller.checking import Finding, Verdict, looking, probes
from scripthut_poller.schedulers.slurm import Slurm
from tests.integration.poller.checked import Checks
from tests.testbed.accounts import ALICE
from tests.testbed.pbs import PbsCluster
from tests.testbed.sshd import Sshd

_HEALTHY = """#!/bin/sh
case $1 in
--version) echo 'pbs_version = 23.06.06' ;;
-Bf) printf 'Server: pbs01\\n    server_state = Active\\n    job_history_enable = True\\n'
     printf '    job_history_duration = 24:00:00\\n    pbs_version = 23.06.06\\n' ;;
esac
"""
_DOWN = """#!/bin/sh
[ "$1" = --version ] && { echo 'pbs_version = 14.1.2'; exit; }
echo 'Connection refused' >&2
echo 'qstat: cannot connect to server pbs01 (errno=15010)' >&2
exit 255
"""


@pytest.fixture
def folder(own_sshd: Sshd) -> Path:
    """Where the stand-ins lie; Alice can read it."""
    folder = own_sshd.directory / "pbs"
    folder.mkdir(mode=0o755)
    own_sshd.directory.chmod(0o711)
    return folder


@pytest.fixture
async def walk(folder: Path) -> AsyncIterator[looking.Walk]:
    with Sshd({"PATH": f"{folder}:/usr/bin:/bin"}) as sshd:
        cluster = Cluster(
            name="pbs01",
            scheduler=SchedulerKind.SLURM,
            host=sshd.host,
            port=sshd.port,
            user=ALICE,
            key_file=str(sshd.key(ALICE)),
            known_hosts_file=str(sshd.known_hosts),
        )
        shell = SshShell(cluster)
        yield looking.Walk(cluster, shell, Slurm())
        await shell.close()


async def test_a_healthy_server_is_fine(folder: Path, walk: looking.Walk) -> None:
    _write(folder, _HEALTHY, "qstat", "qsub", "qdel", "qrls")

    found = await _look(walk)

    assert {step: finding.verdict for step, finding in found.items()} == dict.fromkeys(found, Verdict.FINE)
    assert list(found) == ["tools", "version", "queue", "history", "ports"]
    assert "the server is Active" in found["queue"].said
    assert found["history"].said == "ended jobs are kept for 24.0 h"


async def test_a_server_that_is_down_and_too_old_and_a_missing_command(folder: Path, walk: looking.Walk) -> None:
    _write(folder, _DOWN, "qstat", "qsub", "qdel")

    found = await _look(walk)

    assert "not in PATH: qrls" in found["tools"].said
    assert (found["version"].verdict, found["version"].advice) == (Verdict.FAILED, "PBS 18.1 or newer is needed")
    assert found["queue"].verdict is found["history"].verdict is Verdict.FAILED
    assert "cannot connect to server pbs01" in found["queue"].said
    assert "the PBS server is down or out of reach" in found["queue"].advice


async def _look(walk: looking.Walk) -> dict[str, Finding]:
    return {probe.step: await walk.try_(probe) for probe in probes.BEFORE["pbs"]}


def _write(folder: Path, text: str, *names: str) -> None:
    for name in names:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def test_the_command_is_content_with_a_whole_cluster(pbs: PbsCluster, pbs_login: Sshd, tmp_path: Path) -> None:
    log_dir = str(pbs.directory_of(ALICE) / tmp_path.name)

    checked = Checks(tmp_path).add_slurm(pbs_login, scheduler="pbs", log_dir=log_dir).run()

    assert checked.troubles == {}
    assert checked.exit_status == 0
    assert {"version", "queue", "history"} <= checked.lines.keys()
