"""What runs in the cluster's container: a Slurm cluster and the sshd of its login node, until SIGTERM.

Run as `python3 -m tests.proof.cluster FOLDER`. What its one user writes lies in FOLDER/work, the notes of its tasks in
FOLDER/work/notes, and what a client must know of the login node in FOLDER/login: `id_ed25519`, `known_hosts`.
"""

import pwd
import shutil
import signal
import sys
import threading
from pathlib import Path

from tests.testbed.accounts import ALICE
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd

HOST, LOGIN, WORK, NOTES = "login", "login", "work", "notes"
_EVERYWHERE = "ListenAddress 0.0.0.0:22\n"
# As the services' images call theirs: who reads the key, and nobody else.
_SERVICE_UID = 10001


def main(folder: Path) -> None:
    """Start both, say how to log in, and wait."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with SlurmCluster() as slurm, Sshd(slurm.environment, extra=_EVERYWHERE) as sshd:
        work, login = folder / WORK, folder / LOGIN
        alice = pwd.getpwnam(ALICE)
        for place in (work, work / NOTES):
            place.mkdir()
            shutil.chown(place, alice.pw_uid, alice.pw_gid)
        login.mkdir()
        key = Path(shutil.copy(sshd.key(ALICE), login / "id_ed25519"))
        shutil.chown(key, _SERVICE_UID, _SERVICE_UID)
        key.chmod(0o400)
        (login / "known_hosts").write_text(f"{HOST} {(sshd.directory / 'host_key.pub').read_text()}")
        stopped.wait()
        for path in (work, login):
            shutil.rmtree(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
