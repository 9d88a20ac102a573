"""The unprivileged accounts of the test clusters: three that own jobs and files, and one that a service logs in as."""

import pwd
import subprocess
import time

ALICE = "sh-alice"
BOB = "sh-bob"
CAROL = "sh-carol"
ACCOUNTS = (ALICE, BOB, CAROL)
SERVICE = "sh-service"


def ensure_accounts() -> None:
    """Make the accounts that this machine lacks; two testbeds may do so at once.

    Raises:
        RuntimeError: useradd refused.
    """
    for name in (*ACCOUNTS, SERVICE):
        deadline = time.monotonic() + 30
        while not exists(name):
            # `*` is no password but, unlike useradd's default `!`, does not lock the account for sshd.
            argv = ["useradd", "--create-home", "--password", "*", "--shell", "/bin/bash", name]
            made = subprocess.run(argv, capture_output=True, text=True, check=False)
            if made.returncode != 0 and time.monotonic() > deadline:
                raise RuntimeError(f"cannot make the account {name}: {made.stderr.strip()}")


def exists(name: str) -> bool:
    """Say whether the machine has this account."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
