"""Say whether everything that the ledger calls stored is in the store, and have what is not collected again."""

import sys
import time
from collections import Counter
from collections.abc import Mapping

import msgspec

from scripthut_common import telemetry, text
from scripthut_common.database import Database
from scripthut_common.errors import Error
from scripthut_outputs.blobs import open_store
from scripthut_outputs.catalog.verifying import Scope, Verified
from scripthut_outputs.retention.deciding import size
from scripthut_outputs.settings import StoreSettings, load_some
from scripthut_outputs.verifying import Fault, Verifier, What

FINE, FAULTS, NOT_CHECKED = 0, 1, 2
_MAX_LISTED = 1000
_TELL_EVERY_S = 10.0
_HEAD = f"  {'what':<12}  {'sha256':<64}  {'files':>7}  {'expected':>10}  {'found':>10}  for example"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How to verify."""

    scope: Scope
    is_repairing: bool
    is_fast: bool
    is_json: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: every fault is counted, the first thousand are listed."""

    is_fine: bool
    blobs: int
    bytes_read: int
    counts: Mapping[What, int]
    faults: tuple[Fault, ...]


async def verify(environ: Mapping[str, str], asked: Asked) -> int:
    """Verify; returns 0 when all is there, 1 when something is not, 2 when that cannot be said."""
    telemetry.configure({"SCRIPTHUT_LOG_LEVEL": "error", **environ})
    try:
        verdict = await _verdict(environ, asked)
    except Error as error:
        print(f"scripthut-outputs: not verified: {error}", file=sys.stderr)
        return NOT_CHECKED
    if asked.is_json:
        print(text.ascii_json(msgspec.json.format(msgspec.json.encode(verdict), indent=2)))
    else:
        _tell(verdict, asked)
    return FINE if verdict.is_fine else FAULTS


async def _verdict(environ: Mapping[str, str], asked: Asked) -> Verdict:
    found = load_some(StoreSettings, environ)
    database = Database(found.database_url)
    verifier = Verifier(
        Verified(database),
        open_store(found.blobs_url, found.s3),
        is_fast=asked.is_fast,
        is_repairing=asked.is_repairing,
        progress=_Progress(),
    )
    counts: Counter[What] = Counter()
    listed: list[Fault] = []
    try:
        async for fault in verifier.look(asked.scope):
            counts[fault.what] += 1
            if len(listed) < _MAX_LISTED:
                listed.append(fault)
                _show(fault, is_first=len(listed) == 1, is_json=asked.is_json)
    finally:
        await database.close()
    return Verdict(
        is_fine=not counts,
        blobs=verifier.blobs_seen,
        bytes_read=verifier.bytes_read,
        counts=counts,
        faults=tuple(listed),
    )


class _Progress:
    """Says now and then how far it has come."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def __call__(self, verifier: Verifier) -> None:
        if time.monotonic() - self._told_at > _TELL_EVERY_S:
            self._told_at = time.monotonic()
            print(f"… {verifier.blobs_seen} blobs, {size(verifier.bytes_read)} read", file=sys.stderr)


def _show(fault: Fault, *, is_first: bool, is_json: bool) -> None:
    if is_json:
        return
    if is_first:
        print(_HEAD)
    expected, found = ("-" if amount is None else size(amount) for amount in (fault.expected_bytes, fault.found_bytes))
    example = text.name(fault.examples[0]) if fault.examples else "-"
    print(f"  {fault.what:<12}  {fault.sha256:<64}  {fault.files:>7}  {expected:>10}  {found:>10}  {example}")


def _tell(verdict: Verdict, asked: Asked) -> None:
    left = sum(verdict.counts.values()) - len(verdict.faults)
    if left:
        print(f"  … and {left} more")
    how = "sizes alone" if asked.is_fast else f"{size(verdict.bytes_read)} read"
    print(f"{verdict.blobs} blobs looked at ({how})")
    if verdict.is_fine:
        print("everything is there")
        return
    print(", ".join(f"{count} {what}" for what, count in verdict.counts.items()))
    if asked.is_repairing:
        print("what is lost is being collected again; what nobody knows goes with a later sweep")
    else:
        print("verify --repair has what is lost collected again")
