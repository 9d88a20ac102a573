"""Say what works on a cluster and what does not, for a person at a terminal or, as JSON, for a script."""

import asyncio
import io
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from scripthut_common import clusters as clusters_file
from scripthut_common import settings, telemetry
from scripthut_common.clusters import Cluster, SchedulerKind
from scripthut_common.errors import SettingsError
from scripthut_common.shell.accounts import AccountShells
from scripthut_poller import checking, wiring
from scripthut_poller.checking import Finding, Verdict
from scripthut_poller.settings import PREFIX, CheckSettings

_WORDS = {Verdict.FINE: "ok", Verdict.WARNING: "warn", Verdict.FAILED: "FAIL", Verdict.SKIPPED: "-"}
_INDENT = " " * 21


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Everything found of one cluster."""

    cluster: str
    is_fine: bool
    findings: Sequence[Finding]


async def check(environ: Mapping[str, str], names: Sequence[str], *, is_json: bool, account: str | None = None) -> int:
    """Check these clusters, or all, at the same time; returns 1 where something fails.

    `account` is somebody's there: where jobs run as their owners, it is tried to be them.

    Raises:
        SettingsError: the clusters file is missing or wrong, or does not have such a cluster.
    """
    telemetry.configure({"SCRIPTHUT_LOG_LEVEL": "error", **environ})
    found = settings.load(CheckSettings, environ, prefix=PREFIX)
    chosen = _choose(clusters_file.load(Path(found.clusters_file)), names, found.clusters_file)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    told: dict[str, asyncio.Queue[Finding | None]] = {cluster.name: asyncio.Queue() for cluster in chosen}
    async with asyncio.TaskGroup() as group:
        for cluster in chosen:
            group.create_task(_look(cluster, told[cluster.name], account))
        faults = await _database(found.database_url, is_json=is_json)
        checked = [await _gather(cluster, told[cluster.name], is_json=is_json) for cluster in chosen]
    is_fine = all(one.is_fine for one in checked) and not any(_has_failed(fault) for fault in faults)
    if is_json:
        report = {"is_fine": is_fine, "poller": faults, "clusters": checked}
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    return 0 if is_fine else 1


def _choose(known: Mapping[str, Cluster], names: Sequence[str], file: str) -> list[Cluster]:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingsError(f"{file} has no cluster {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


async def _look(cluster: Cluster, told: asyncio.Queue[Finding | None], account: str | None) -> None:
    shells, scheduler = AccountShells(cluster), wiring.open_scheduler(cluster)
    try:
        async for finding in checking.look(cluster, shells.service, scheduler):
            told.put_nowait(finding)
        async for finding in checking.look_at_owners(cluster, shells, scheduler, account):
            told.put_nowait(finding)
    finally:
        told.put_nowait(None)
        await shells.close()


async def _database(url: str | None, *, is_json: bool) -> list[Finding]:
    """Look at the database where one is configured."""
    if url is None:
        return []
    finding = await checking.look_at_database(url)
    if not is_json:
        print("this poller")
        print(_line(finding), end="\n\n")
    return [finding]


async def _gather(cluster: Cluster, told: asyncio.Queue[Finding | None], *, is_json: bool) -> Checked:
    """Take what is found of one cluster until that is all, and show each as it comes."""
    findings: list[Finding] = []
    if not is_json:
        print(_heading(cluster))
    while (finding := await told.get()) is not None:
        findings.append(finding)
        if not is_json:
            print(_line(finding))
    if not is_json:
        print(_tally(cluster.name, findings), end="\n\n")
    is_fine = not any(_has_failed(finding) for finding in findings)
    return Checked(cluster=cluster.name, is_fine=is_fine, findings=findings)


def _has_failed(finding: Finding) -> bool:
    return finding.verdict is Verdict.FAILED


def _heading(cluster: Cluster) -> str:
    if cluster.scheduler is SchedulerKind.LOCALHOST:
        return f"{cluster.name}: {cluster.scheduler} on this machine"
    user = f"{cluster.user}@" if cluster.user else ""
    return f"{cluster.name}: {cluster.scheduler} at {user}{cluster.host}:{cluster.port}"


def _line(finding: Finding) -> str:
    """One line; on a terminal folded at its width, so that the columns stay."""
    advice = f" => {finding.advice}" if finding.advice else ""
    line = f"  {_WORDS[finding.verdict]:<4}  {finding.step:<11}  {finding.said}{advice}"
    if not sys.stdout.isatty():
        return line
    width = max(shutil.get_terminal_size().columns, 60)
    return textwrap.fill(line, width, subsequent_indent=_INDENT, break_on_hyphens=False, drop_whitespace=True)


def _tally(name: str, findings: Sequence[Finding]) -> str:
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in Verdict}
    warnings = counts[Verdict.WARNING]
    return (
        f"{name}: {counts[Verdict.FINE]} fine, {warnings} warning{'' if warnings == 1 else 's'}, "
        f"{counts[Verdict.FAILED]} failed"
    )
