"""Whether this machine has what a server of the testbed needs, in words for the person who reads a skipped test."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.testbed import browser, postgres, rabbitmq, slurm, sshd, sudoers
from tests.testbed.pbs import cluster as pbs
from tests.testbed.processes import ServerError


def lacking_for_sshd() -> str:
    """Say why sshd cannot be started here; empty when it can."""
    if os.geteuid() != 0:
        return "sshd starts sessions of other accounts, which needs root"
    return _lacking("sshd", sshd.PROGRAMS)


def lacking_for_sudo() -> str:
    """Say why sudo cannot be tried here behind sshd; empty when it can."""
    return lacking_for_sshd() or _lacking("sudo", sudoers.PROGRAMS)


def lacking_for_slurm() -> str:
    """Say why a Slurm cluster behind sshd cannot be started here; empty when it can."""
    return lacking_for_sshd() or _lacking("Slurm", slurm.PROGRAMS)


def lacking_for_pbs() -> str:
    """Say why the stand-in for PBS behind sshd cannot be started here; empty when it can."""
    return lacking_for_sshd() or _lacking("the stand-in for PBS", pbs.PROGRAMS)


def lacking_for_rabbitmq() -> str:
    """Say why a broker of our own cannot be started here; empty when it can."""
    return _lacking("RabbitMQ", rabbitmq.PROGRAMS)


def lacking_for_postgres() -> str:
    """Say why a database server of our own cannot be started here; empty when it can."""
    if sys.platform != "linux":
        return "the testbed's own PostgreSQL runs on Linux only"
    try:
        postgres.installed_programs()
    except ServerError as error:
        return str(error)
    return ""


def lacking_for_browser() -> str:
    """Say why no Chromium can be started here; empty when one can."""
    return _lacking("Chromium", browser.PROGRAMS)


def _lacking(what: str, programs: Iterable[Path]) -> str:
    missing = [str(program) for program in programs if not program.exists()]
    if not missing:
        return ""
    return f"{what} needs {', '.join(missing)}: run `sh tests/testbed/install.sh` as root on Debian"
