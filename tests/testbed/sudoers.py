"""Sudo on this machine for a test: our programs, and rules for them, all removed by name in the end. Root only."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from scripthut_outputs.reader import installed as reader
from tests.testbed.accounts import SERVICE, change
from tests.testbed.processes import run

PROGRAMS = (Path("/usr/bin/sudo"), Path("/usr/sbin/visudo"))
_DEPLOY = Path(__file__).parents[2] / "deploy"
_INSTALLED = "/usr/local/libexec/scripthut"


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What a site has installed.

    `program` is the copy of `deploy/as-owner`, `rule` the file in /etc/sudoers.d, `group` whose members may be become.
    """

    program: Path
    rule: Path
    group: str

    def set_environment(self, **values: str) -> None:
        """Say what programs find in their environment."""
        text = "".join(f"{name}={value}\n" for name, value in values.items())
        self.program.with_name("as-owner.env").write_text(text)

    def add(self, member: str) -> None:
        """Let somebody else be become, too."""
        change("usermod", "--append", "--groups", self.group, member)

    def write_rule(self, service: str) -> None:
        """Write the example's rule for this account, program and group."""
        text = (_DEPLOY / "sudoers.example").read_text().replace(_INSTALLED, str(self.program.parent))
        text = text.replace("\noutputs ", f"\n{service} ").replace("scripthut-users", self.group)
        _put(self.rule, text)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a site be read: the copy of `deploy/read-as-owner`, and the file in /etc/sudoers.d."""

    program: Path
    rule: Path

    def allow(self, *accounts: str, service: str = SERVICE) -> None:
        """Write the example's rule for these accounts."""
        text = (_DEPLOY / "sudoers-read.example").read_text().replace(_INSTALLED, str(self.program.parent))
        text = text.replace("\noutputs ", f"\n{service} ").replace("%scripthut-users", ", ".join(accounts))
        _put(self.rule, text.replace("SCRIPTHUT_READ", f"SCRIPTHUT_{self.rule.name[-8:].upper()}"))


@contextmanager
def installed(service: str, members: Sequence[str]) -> Iterator[Installed]:
    """Install the program, and let one account run it as these; both are gone in the end."""
    name = f"scripthut-test-{secrets.token_hex(4)}"
    folder = Path("/usr/local/libexec", name)
    one = Installed(program=folder / "as-owner", rule=Path("/etc/sudoers.d", name), group=name)
    folder.mkdir(mode=0o755, parents=True)
    try:
        shutil.copyfile(_DEPLOY / "as-owner", one.program)
        one.program.chmod(0o755)
        change("groupadd", "--system", name)
        for member in members:
            one.add(member)
        one.write_rule(service)
        yield one
    finally:
        _remove(one.rule)
        shutil.rmtree(folder)
        change("groupdel", name)


@contextmanager
def installed_to_read(service: str, accounts: Sequence[str]) -> Iterator[Reading]:
    """Install the program that reads and does nothing else, and let one account run it as these."""
    name = f"scripthut-read-{secrets.token_hex(4)}"
    folder = Path("/usr/local/libexec", name)
    one = Reading(program=folder / "read-as-owner", rule=Path("/etc/sudoers.d", name))
    folder.mkdir(mode=0o755, parents=True)
    try:
        shutil.copyfile(_DEPLOY / "read-as-owner", one.program)
        one.program.chmod(0o755)
        (folder / "reader.py").write_text(reader.installed_text())
        one.allow(*accounts, service=service)
        yield one
    finally:
        _remove(one.rule)
        shutil.rmtree(folder)


def _put(rule: Path, text: str) -> None:
    fresh = _fresh(rule)
    fresh.write_text(text)
    fresh.chmod(0o440)
    run(["/usr/sbin/visudo", "-cf", str(fresh)])
    fresh.replace(rule)


def _remove(rule: Path) -> None:
    for one in (rule, _fresh(rule)):
        one.unlink(missing_ok=True)


def _fresh(rule: Path) -> Path:
    """Give the name that a rule has until it is checked; sudo reads none with a dot."""
    return rule.with_name(f"{rule.name}.new")
