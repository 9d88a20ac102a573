"""Sudo on this machine for a test: our program, and a rule for it, both removed by name in the end. Root only."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.testbed.accounts import change
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
        fresh = self.rule.with_name(f"{self.rule.name}.new")  # sudo reads no name with a dot
        fresh.write_text(text)
        fresh.chmod(0o440)
        run(["/usr/sbin/visudo", "-cf", str(fresh)])
        fresh.replace(self.rule)


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
        for rule in (one.rule, one.rule.with_name(f"{name}.new")):
            rule.unlink(missing_ok=True)
        shutil.rmtree(folder)
        change("groupdel", name)
