"""The unprivileged accounts of the test clusters: three that own jobs and files, and one that a service logs in as."""

import pwd
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

ALICE = "sh-alice"
BOB = "sh-bob"
CAROL = "sh-carol"
ACCOUNTS = (ALICE, BOB, CAROL)
# Those whose homes one test file alone closes and changes, while others run jobs of the accounts above.
DORA = "sh-dora"
EMIL = "sh-emil"
FAY = "sh-fay"
# The same, of those whose runs nobody else may see.
GINA = "sh-gina"
HUGO = "sh-hugo"
INES = "sh-ines"
USERS = (*ACCOUNTS, DORA, EMIL, FAY, GINA, HUGO, INES)
SERVICE = "sh-service"


def ensure_accounts() -> None:
    """Make the accounts that this machine lacks; two testbeds may do so at once.

    Raises:
        RuntimeError: useradd refused.
    """
    for name in (*USERS, SERVICE):
        deadline = time.monotonic() + 30
        while not exists(name):
            # `*` is no password but, unlike useradd's default `!`, does not lock the account for sshd.
            argv = ["useradd", "--create-home", "--password", "*", "--shell", "/bin/bash", name]
            made = subprocess.run(argv, capture_output=True, text=True, check=False)
            if made.returncode != 0 and time.monotonic() > deadline:
                raise RuntimeError(f"cannot make the account {name}: {made.stderr.strip()}")


@contextmanager
def another_account(shell: str = "/bin/bash", *, uid: int | None = None) -> Iterator[str]:
    """Make an account of one test alone, with this login shell and uid; it is gone in the end, its home too."""
    name = f"sh-{secrets.token_hex(4)}"
    numbered = () if uid is None else ("--uid", str(uid))
    change("useradd", *numbered, "--create-home", "--password", "*", "--shell", shell, name)
    try:
        yield name
    finally:
        change("userdel", "--remove", "--force", name)


def change(program: str, *words: str) -> None:
    """Change the machine's accounts; two testbeds may do so at once, and only one of them has the lock.

    Raises:
        RuntimeError: the program refused.
    """
    deadline = time.monotonic() + 30
    while True:
        done = subprocess.run([f"/usr/sbin/{program}", *words], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{program} {' '.join(words)}: {done.stderr.strip()}")
        time.sleep(0.1)


def exists(name: str) -> bool:
    """Say whether the machine has this account."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
