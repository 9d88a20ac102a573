"""Decide whether a look at the cluster showed all that a task wrote, or when to look again, and in what words. Pure.

The exit record names what the task saw when it ended; a login node may show that only later. Where no record vouches
for anything, two looks far enough apart must see the same: every file, logs too, since the last lines of a task that
was killed are the ones that matter. In both cases the wait ends at the deadline.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec

from scripthut_common import layout, manifest
from scripthut_common.clusters import Visibility
from scripthut_common.errors import BadOutput
from scripthut_common.manifest import ExitRecord
from scripthut_common.retrying import Backoff

from .ledger import MAX_PATH_BYTES, FileState, HeldFiles, Place
from .listing import Entry, Item, Listing

# The reader lists no deeper; what lies there stands for all below it.
_DEEPEST = 64
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
        lacking: what the task promised and the cluster does not show, or not whole, by path.
        note: in words for people; `None` when there is nothing to say.
        listing_sha256: what it saw, where no exit record vouches for it.
    """

    again_s: float | None = None
    is_complete: bool = False
    lacking: Mapping[bytes, manifest.Entry] = {}
    note: str | None = None
    listing_sha256: str | None = None


def decide(item: Item, listing: Listing, held: HeldFiles, past: Past, patience: Visibility) -> Verdict:
    """Judge what a look showed; `held` is what an earlier one has stored already."""
    record, why = _record(item, listing)
    promised = {} if record is None else {seen.path: seen for seen in record.entries if _is_plain(seen.path)}
    lacking = _lacking(promised, item, listing, held)
    if lacking:
        return _await_files(lacking, len(promised), past, patience)
    if why is None:
        return Verdict(is_complete=True)
    return _await_agreement(why, fingerprint(listing), past, patience)


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


def _lacking(
    promised: Mapping[bytes, manifest.Entry], item: Item, listing: Listing, held: HeldFiles
) -> dict[bytes, manifest.Entry]:
    """What was promised and is not there; what lies where nobody may look, or is only counted, is not missed."""
    shown = {entry.path: entry for entry in listing.entries if entry.place is Place.OUTPUT}
    closed = {path for path, entry in shown.items() if entry.state is not None}
    last = _last_named(listing, shown)
    lacking = {}
    for path, seen in promised.items():
        entry = shown.get(path)
        if _is_held(path, seen, item, held) or (entry is not None and _is_whole(entry, seen)):
            continue
        if entry is None and (not _is_before(path, last) or (closed and not closed.isdisjoint(_above(path)))):
            continue
        lacking[path] = seen
    return lacking


def _is_held(path: bytes, seen: manifest.Entry, item: Item, held: HeldFiles) -> bool:
    ours = held.get((Place.OUTPUT, path))
    return ours is not None and ours.attempt == item.attempt and ours.size_bytes >= seen.size_bytes


def _is_whole(entry: Entry, seen: manifest.Entry) -> bool:
    """Whether a listed file needs no waiting for: it may not be read at all, or it is as large as promised."""
    return entry.state is not None or entry.size_bytes >= seen.size_bytes


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


def _above(path: bytes) -> Iterator[bytes]:
    """Yield the directories above a path, as listings name those that cannot be entered."""
    yield b"."
    end = path.find(b"/")
    for _ in range(_DEEPEST):
        if end < 0:
            return
        yield path[:end]
        yield path[: end + 1]
        end = path.find(b"/", end + 1)


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


def _await_agreement(why: str, seen: str, past: Past, patience: Visibility) -> Verdict:
    # A deadline that is shorter leaves no more time than that.
    apart_s = min(patience.agreeing_s, patience.deadline_s)
    is_same = past.listing_sha256 == seen and past.listed_at is not None
    agreed_s = _since_s(past.listed_at, past) if is_same else 0.0
    if is_same and agreed_s >= apart_s:
        return Verdict(is_complete=True, note=why if why.startswith("exit record cannot") else None)
    again_s = _again_s(past, patience, at_least_s=apart_s - agreed_s)
    if again_s is None:
        note = f"{why}, and files still changed {patience.deadline_s:g} s after the first look"
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
