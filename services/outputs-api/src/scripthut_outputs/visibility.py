"""Decide whether a look at the cluster showed all that a task wrote, or when to look again, and in what words. Pure.

The exit record names what the task saw when it ended; a login node may show that only later. Where no record vouches
for anything, two looks far enough apart must see the same: every file, logs too, since the last lines of a task that
was killed are the ones that matter. Who could not look does not know: what is promised in a directory that cannot be
read is awaited like what does not show, and a look that hung agrees with none. All waits end at the deadline.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec

from scripthut_common import layout, manifest
from scripthut_common.clusters import Visibility
from scripthut_common.errors import BadOutput
from scripthut_common.manifest import ExitRecord
from scripthut_common.retrying import Backoff

from .ledger import MAX_PATH_BYTES, FileState, HeldFiles, LedgerRow, Place, above
from .listing import Entry, Item, Listing

# What has ended so may be had by looking again: nobody but the task was to write there, and the task is over.
_PASSING = frozenset({FileState.UNREADABLE, FileState.CHANGED_WHILE_READING, FileState.PURGED})
_SUMMARY = layout.TASK_SUMMARY_NAME.encode()
_MAX_NOTE = 240
_MOMENT_S = 0.001
_UNREADABLE = {
    FileState.TOO_LARGE: f"it is larger than {manifest.MAX_BYTES} bytes",
    FileState.NOT_REGULAR: "it is not a plain file",
    FileState.NOT_OWNED: "it belongs to another account than the task's files",
    FileState.CHANGED_WHILE_READING: "somebody wrote to it while it was read",
}


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What earlier looks for the same wish have left, and when this one began, all by one clock.

    Args:
        looks: how many did not suffice.
        first_looked_at: when the first of them was over.
        listing_sha256: what the last one saw, if no exit record vouched for it.
        listed_at: when that was seen first.
        now: just before this look.
    """

    looks: int = 0
    first_looked_at: datetime | None = None
    listing_sha256: str | None = None
    listed_at: datetime | None = None
    now: datetime


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a look comes to.

    Args:
        again_s: after so long the next look is due; `None`: the collection rests.
        is_complete: whether it showed everything.
        is_all_named: whether every file that is there was named, so that others are not there.
        promised: the paths that an exit record vouches for, but for those that were stored before.
        lacking: what the task promised and the cluster does not show, or not whole, by path.
        note: in words for people; `None` when there is nothing to say.
        listing_sha256: what it saw, where no exit record vouches for it.
    """

    again_s: float | None = None
    is_complete: bool = False
    is_all_named: bool = True
    promised: frozenset[bytes] = frozenset()
    lacking: Mapping[bytes, manifest.Entry] = {}
    note: str | None = None
    listing_sha256: str | None = None


def decide(item: Item, listing: Listing, held: HeldFiles, past: Past, patience: Visibility) -> Verdict:
    """Judge what a look showed; `held` is what an earlier one has stored already."""
    record, why = _record(item, listing)
    seen = () if record is None else record.entries
    promised = {one.path: one for one in seen if _is_plain(one.path)}
    owed = {path: one for path, one in promised.items() if not _was_held(path, one, item, held)}
    lacking = _lacking(owed, listing)
    if lacking:
        verdict = _await_files(lacking, len(promised), past, patience)
    elif why is None:
        verdict = Verdict(is_complete=True)
    else:
        verdict = _await_agreement(why, listing, past, patience)
    is_all_named = listing.is_whole and not listing.unnamed and not _has_hung(listing)
    return msgspec.structs.replace(verdict, promised=frozenset(owed), is_all_named=is_all_named)


def decide_fetched(verdict: Verdict, rows: Iterable[LedgerRow], past: Past, patience: Visibility) -> Verdict:
    """Judge again once everything was fetched that a look showed: what was promised has to have arrived whole."""
    if verdict.lacking or not verdict.is_complete:
        return verdict
    outputs = (row for row in rows if row.place is Place.OUTPUT and row.path in verdict.promised)
    broken = sum(row.state in _PASSING for row in outputs)
    if not broken:
        return verdict
    again_s = _again_s(past, patience)
    note = f"{broken} of the promised files could not be read whole"
    told = f" within {patience.deadline_s:g} s" if again_s is None else f", {_again(past, again_s)}"
    return msgspec.structs.replace(verdict, is_complete=False, again_s=again_s, note=note + told)


def fingerprint(listing: Listing) -> str:
    """What tells two listings apart: every file with its place, size, time and state, and what is only counted."""
    seen = sorted((e.place, e.path, e.size_bytes, e.modified_at, e.state or "") for e in listing.entries)
    return sha256(msgspec.msgpack.encode((seen, sorted(listing.unnamed.items()), listing.is_whole))).hexdigest()


def _record(item: Item, listing: Listing) -> tuple[ExitRecord | None, str | None]:
    """Give the exit record if it is of this attempt and job, and why it does not vouch for all, if it does not."""
    if listing.manifest_fault is not None:
        cause = _UNREADABLE.get(listing.manifest_fault, "the account that collects could not open it")
        return None, f"exit record cannot be read: {cause}"
    if listing.manifest is None:
        return None, "no exit record"
    try:
        record = manifest.parse(listing.manifest)
    except BadOutput as error:
        cause = str(error).removeprefix("exit record ")
        return None, f"exit record cannot be read: it {cause}"[:_MAX_NOTE]
    if record.attempt != item.attempt:
        return None, f"no exit record of attempt {item.attempt}"
    if item.job_id and record.job_id and record.job_id != item.job_id:
        return None, f"no exit record of job {item.job_id}"
    return record, "the exit record lists no files" if manifest.UNLISTED in record.flags else None


def _lacking(owed: Mapping[bytes, manifest.Entry], listing: Listing) -> dict[bytes, manifest.Entry]:
    """What is owed and is not there; what lies too deep, or is only counted, is not missed."""
    shown = {entry.path: entry for entry in listing.entries if entry.place is Place.OUTPUT}
    # The deepest directory that is listed stands for all below it.
    deep = {path for path, entry in shown.items() if entry.state is FileState.TOO_DEEP}
    last = _last_named(listing, shown)
    lacking = {}
    for path, seen in owed.items():
        entry = shown.get(path)
        if entry is not None and _is_settled(entry, seen):
            continue
        if entry is None and (not _is_before(path, last) or (deep and not deep.isdisjoint(above(path)))):
            continue
        lacking[path] = seen
    return lacking


def _was_held(path: bytes, seen: manifest.Entry, item: Item, held: HeldFiles) -> bool:
    """Whether we have it, or had it: what showed once does not lag behind, but may be gone."""
    ours = held.get((Place.OUTPUT, path))
    return ours is not None and ours.attempt == item.attempt and ours.size_bytes >= seen.size_bytes


def _is_settled(entry: Entry, seen: manifest.Entry) -> bool:
    """Whether a listed file needs no waiting for: it may not be read at all, or it is as large as promised."""
    if entry.state is not None:
        return entry.state is not FileState.UNREADABLE
    return entry.size_bytes >= seen.size_bytes


def _has_hung(listing: Listing) -> bool:
    """Whether the file system did not answer, so that nobody knows what else is there."""
    return any(entry.reason is not None for entry in listing.entries)


def _last_named(listing: Listing, shown: Mapping[bytes, Entry]) -> bytes | None:
    """Up to which path a listing names every file there is: `None` for all, empty for none."""
    if listing.is_whole and not listing.unnamed:
        return None
    if not listing.is_whole or set(listing.unnamed) != {FileState.OVER_COUNT}:
        return b""
    # The summary is named first, wherever it stands in the alphabet.
    return max((path for path, entry in shown.items() if entry.state is None and path != _SUMMARY), default=b"")


def _is_before(path: bytes, last: bytes | None) -> bool:
    return last is None or path < last or path == _SUMMARY


def _is_plain(path: bytes) -> bool:
    """Whether a path that an author claims is one that a listing could have named."""
    return 0 < len(path) <= MAX_PATH_BYTES and not {b"", b".", b".."} & set(path.split(b"/"))


def _await_files(lacking: dict[bytes, manifest.Entry], promised: int, past: Past, patience: Visibility) -> Verdict:
    again_s = _again_s(past, patience)
    lack = f"{len(lacking)} of {promised} files"
    if again_s is None:
        note = f"{lack} did not become visible within {patience.deadline_s:g} s"
        return Verdict(lacking=lacking, note=note)
    return Verdict(again_s=again_s, lacking=lacking, note=f"{lack} not yet visible, {_again(past, again_s)}")


def _await_agreement(why: str, listing: Listing, past: Past, patience: Visibility) -> Verdict:
    seen, has_hung = fingerprint(listing), _has_hung(listing)
    # A deadline that is shorter leaves no more time than that.
    apart_s = min(patience.agreeing_s, patience.deadline_s)
    is_same = past.listing_sha256 == seen and past.listed_at is not None
    agreed_s = _since_s(past.listed_at, past) if is_same else 0.0
    if is_same and agreed_s >= apart_s and not has_hung:
        return Verdict(is_complete=True, note=why if why.startswith("exit record cannot") else None)
    again_s = _again_s(past, patience, at_least_s=apart_s - agreed_s)
    if again_s is None:
        what = "the file system did not answer" if has_hung else "files still changed"
        note = f"{why}, and {what} {patience.deadline_s:g} s after the first look"
        return Verdict(note=note, listing_sha256=seen)
    looked = "looked once" if past.looks == 0 else f"looked {past.looks + 1} times"
    return Verdict(again_s=again_s, note=f"{why}: {looked}, {_again(past, again_s)}", listing_sha256=seen)


def _again_s(past: Past, patience: Visibility, *, at_least_s: float = 0.0) -> float | None:
    """After how long to look again: doubling, at most what is left until the deadline; `None` when nothing is."""
    left_s = patience.deadline_s - _since_s(past.first_looked_at, past)
    doubling = Backoff(first_s=patience.again_s, longest_s=patience.deadline_s)
    return min(max(doubling.delay_s(past.looks + 1), at_least_s), left_s) if left_s > _MOMENT_S else None


def _since_s(at: datetime | None, past: Past) -> float:
    return 0.0 if at is None else max(0.0, (past.now - at).total_seconds())


def _again(past: Past, again_s: float) -> str:
    return f"will look again at {past.now + timedelta(seconds=again_s):%H:%M:%S} UTC"
