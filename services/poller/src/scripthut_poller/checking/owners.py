"""Try what it takes to run jobs as their owners: what is installed there, and whether one of them can be become."""

import re
from collections.abc import AsyncIterator
from functools import partial

import msgspec

from scripthut_common.accounts import is_account
from scripthut_common.clusters import AsWhom, Cluster
from scripthut_common.errors import NoConnection
from scripthut_common.shell.accounts import AccountShells
from scripthut_common.shell.sudo import VERSION
from scripthut_poller.schedulers import Scheduler

from . import answers, probes
from .answers import Reply
from .findings import Finding, Verdict, failed, fine, printable, skipped, warning
from .looking import Walk
from .probes import Probe

_LEAST_UID = 1000
_UNTRIED = "not tried: name the account of somebody who has jobs with --account"
# $1: a file. Its mode and owner and those of all that it lies in, then its version.
_PLACE = probes.program(
    "program",
    """
path=$1
[ -f "$path" ] || { echo missing; exit 0; }
while :; do
    set -- "$1" $(ls -ldnL -- "$path")
    printf 'at %s %s %s\\n' "$2" "$4" "$path"
    [ "$path" != / ] || break
    path=${path%/*} path=${path:-/}
done
sed -n 's/^VERSION = \\([0-9]*\\)$/version \\1/p' "$1"
""",
)
_RULES = probes.program("rules", "exec env LC_ALL=C sudo -n -l\n")
_WHO = probes.program("owner", 'id -u; id -un; umask; printf \'%s\\n\' "$HOME" "$PATH"\n')
_AT = re.compile(r"at (?P<mode>\S{10})\S* (?P<uid>[0-9]+) (?P<path>/.*)")


async def look_at_owners(
    cluster: Cluster, shells: AccountShells, scheduler: Scheduler, account: str | None
) -> AsyncIterator[Finding]:
    """Yield what each step finds; none where all jobs run as the service's account. The caller closes the shells."""
    if cluster.as_whom is AsWhom.SERVICE:
        return
    try:
        if cluster.as_whom is AsWhom.SUDO:
            service = Walk(cluster, shells.service, scheduler)
            for probe in _of_sudo(cluster):
                yield await service.try_(probe)
        if account is None:
            yield msgspec.structs.replace(skipped(_UNTRIED), step="owner")
            return
        if not is_account(account):
            yield msgspec.structs.replace(failed(f"no job runs as {account[:80]!r}"), step="owner")
            return
        async for finding in _become(cluster, Walk(cluster, shells.of(account), scheduler), account):
            yield finding
    except NoConnection as error:
        yield msgspec.structs.replace(failed(str(error)), step="owner")


async def _become(cluster: Cluster, owner: Walk, account: str) -> AsyncIterator[Finding]:
    found = await owner.try_(Probe(step="owner", program=_WHO, judge=partial(who, account)))
    yield found
    if found.verdict is Verdict.FAILED:
        return
    kind = cluster.scheduler.value
    trials = [*probes.BEFORE.get(kind, ())[:1], *probes.AFTER.get(kind, ())[1:]]
    trials.append(Probe(step="log_dir", program=probes.DIRECTORY, argv=(cluster.log_dir,), judge=answers.directory))
    for probe in trials:
        finding = await owner.try_(probe)
        yield msgspec.structs.replace(finding, step=f"as owner: {probe.step}")


def _of_sudo(cluster: Cluster) -> tuple[Probe, ...]:
    program = cluster.sudo_program
    return (
        Probe(step="as-owner", program=_PLACE, argv=(program,), judge=partial(place, program, VERSION)),
        Probe(step="sudoers", program=_RULES, judge=partial(rules, program)),
    )


def place(program: str, version: int, reply: Reply) -> Finding:
    """Judge lines `at -rwxr-xr-x 0 /usr/…` for a file and all that it lies in, then `version 1`."""
    if reply.stdout.strip() == "missing":
        return failed(f"{program} is missing", "install deploy/as-owner there, owned by root, mode 0755")
    rows = [row for line in reply.stdout.splitlines() if (row := _AT.fullmatch(line))]
    if reply.exit_status or not rows or rows[-1]["path"] != "/":
        return answers.unsuccessful("looking at the program", reply)
    fault = next((fault for row in rows if (fault := _fault_of(row))), None)
    if fault is not None:
        return fault
    if rows[0]["mode"][9] != "x":
        return failed(f"{program} cannot be run by everybody", f"chmod 755 {program}")
    if f"version {version}" not in reply.stdout.splitlines():
        return failed(f"{program} is of another version", "install deploy/as-owner of this release")
    return fine(f"{program}: root's alone, version {version}")


def _fault_of(row: re.Match[str]) -> Finding | None:
    """Say why a file or directory is not root's alone."""
    if row["uid"] != "0":
        return failed(f"{row['path']} belongs to uid {row['uid']}", f"chown root:root {row['path']}")
    if "w" in {row["mode"][5], row["mode"][8]}:
        return failed(f"others than root can write to {row['path']}", f"chmod go-w {row['path']}")
    return None


def rules(program: str, reply: Reply) -> Finding:
    """Judge `sudo -n -l`: a line of it names the program and wants no password."""
    lines = [line.strip() for line in reply.stdout.splitlines() if program in line and "NOPASSWD" in line]
    if lines:
        return fine(f"sudo allows {lines[-1]}")
    said = printable(reply.stderr or reply.stdout, 120) or "it said nothing"
    return failed(f"sudo does not allow {program}: {said}", "install deploy/sudoers.example there")


def who(account: str, reply: Reply) -> Finding:
    """Judge uid, name, umask, home and PATH, a line each."""
    lines = reply.stdout.splitlines()
    if reply.exit_status or len(lines) != 5 or not lines[0].isdigit():
        return answers.unsuccessful("`id`", reply)
    uid, name, mask, home, path = lines
    if name != account or int(uid) < _LEAST_UID:
        return failed(f"it is {name} with uid {uid}, not {account}", "jobs run as people alone, with uids from 1000 on")
    said = f"runs as {name} (uid {uid}), umask {mask}, HOME {home}, PATH {path}"
    return fine(said) if home.startswith("/") else warning(said, "give the account a home directory")
