"""Say where a task's files lie, ask for a listing of them, read the answer. Pure.

Request: the limits; the number of items; for each five pairs of base directory and path below it (output directory,
summary fragment, standard output, standard error, exit record; empty: there is none), the account whose files may be
read (empty: nobody's by name), and whether those of the account that reads may be.
Answer, for each item in turn: `X` why nothing of it is read, or `O` the owner, `F` for each file named, `C` a count of
unnamed ones by state, `T` when the walk was cut short, `M` the exit record or why it cannot be read; then `E`. `A` only
says that a long walk goes on.
"""

from collections.abc import Iterator, Sequence
from posixpath import dirname

import msgspec

from scripthut_common import layout, manifest
from scripthut_common.clusters import CollectionLimits
from scripthut_common.errors import BadOutput, InvalidInput

from . import reader
from .ledger import FileState, Place
from .owning import Stranger, Whose, is_in_place

MAX_WALKED = 50_000


class Location(msgspec.Struct, frozen=True):
    """A base directory, which may lie behind symlinks, and a path below it, which may not."""

    base: bytes = b""
    path: bytes = b""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Where one task's files lie on the cluster, whose they may be, and of which attempt and job a record has to be.

    `is_in_place`: all of it lies where `layout` puts what this task writes.
    """

    output: Location
    run_summary: Location
    stdout: Location
    stderr: Location
    manifest: Location
    attempt: int
    job_id: str | None = None
    is_in_place: bool = False
    whose: Whose = Whose(is_services=True)

    @property
    def places(self) -> tuple[Location, ...]:
        """In the order in which requests have them."""
        return self.output, self.run_summary, self.stdout, self.stderr, self.manifest

    def folder_of(self, place: Place) -> Location:
        """The directory that paths of a place are relative to."""
        if place is Place.OUTPUT:
            return self.output
        location = {Place.RUN_SUMMARY: self.run_summary, Place.STDOUT: self.stdout, Place.STDERR: self.stderr}[place]
        return Location(location.base, dirname(location.path))


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file as listed; `state` `None`: it may be read; `reason`: more than its state says."""

    place: Place
    path: bytes
    state: FileState | None
    size_bytes: int
    modified_at: float
    reason: str | None = None


class Listing(msgspec.Struct, kw_only=True):
    """What one task has on the cluster, or whose its directory is, of which nothing is read then.

    `manifest_fault` says why an exit record could not be read.
    """

    owner: int = reader.NOBODY
    entries: list[Entry] = []
    unnamed: dict[FileState, int] = {}
    is_whole: bool = True
    manifest: bytes | None = None
    manifest_fault: FileState | None = None
    stranger: Stranger | None = None

    @property
    def has_stalled(self) -> bool:
        """Whether the file system did not answer for some of it."""
        return any(entry.reason is not None for entry in self.entries)


def locate(
    run_id: str,
    task_id: str,
    *,
    output_dir: str,
    run_summary_path: str | None,
    stdout_path: str | None,
    stderr_path: str | None,
    attempt: int,
) -> Item:
    """Tell for every path of an item which part of it may hold symlinks: the log directory, nothing below.

    Raises:
        InvalidInput: a path is not absolute or steps upwards.
    """
    below = f"/outputs/{run_id}/{task_id}"
    log_dir = output_dir[: -len(below)] if output_dir.endswith(below) else dirname(output_dir)
    record = layout.manifest_beside(run_summary_path, task_id) if run_summary_path else None
    paths = {"run_summary_path": run_summary_path, "stdout_path": stdout_path, "stderr_path": stderr_path}
    return Item(
        is_in_place=is_in_place(run_id, task_id, output_dir=output_dir, **paths),
        output=_locate(output_dir, log_dir),
        run_summary=_locate(run_summary_path, log_dir),
        stdout=_locate(stdout_path, log_dir),
        stderr=_locate(stderr_path, log_dir),
        manifest=_locate(record, log_dir),
        attempt=attempt,
    )


def _locate(path: str | None, log_dir: str) -> Location:
    if not path:
        return Location()
    if not path.startswith("/") or {".", ".."} & set(path.split("/")) or "\0" in path:
        raise InvalidInput(f"the path {path[:200]!r} is not absolute and plain")
    base = log_dir if path.startswith(f"{log_dir}/") else dirname(path)
    below = b"/".join(part for part in _bytes(path[len(base) :]).split(b"/") if part)
    return Location(_bytes(base) or b"/", below)


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def request(items: Sequence[Item], limits: CollectionLimits) -> bytes:
    """Write what the reader reads on its standard input."""
    bounds = (limits.max_depth, MAX_WALKED, limits.max_named_rows, manifest.MAX_BYTES)
    pieces = [reader.number(value) for value in (*bounds, len(items))]
    for item in items:
        for location in item.places:
            pieces += [reader.text(location.base), reader.text(location.path)]
        pieces += [reader.text(_bytes(item.whose.account or "")), reader.number(item.whose.is_services)]
    return b"".join(pieces)


class Answer:
    """Reads the answer while it arrives; gives one listing after the other, in the order of the request."""

    def __init__(self) -> None:
        self._records = reader.Records()
        self._current = Listing()
        self._index = 0

    def feed(self, piece: bytes) -> Iterator[Listing]:
        """Take the next piece; yield every listing that is complete.

        Raises:
            BadOutput: it is not an answer of the reader.
        """
        for record in self._records.feed(piece):
            found = self.take(record)
            if found is not None:
                yield found

    def take(self, record: reader.Record) -> Listing | None:
        """Take the next record; give the listing that it completes.

        Raises:
            BadOutput: it is none of a listing.
        """
        if record.subject != self._index:
            raise BadOutput("the reader's answer is garbled: an item out of turn")
        if record.tag != b"E":
            self._take(record)
            return None
        found, self._current, self._index = self._current, Listing(), self._index + 1
        return found

    def _take(self, record: reader.Record) -> None:
        listing = self._current
        match record.tag:
            case b"F":
                listing.entries.append(_entry(record))
            case b"C":
                state = reader.state_of(record.state) or FileState.OVER_COUNT
                # Several codes mean one state.
                listing.unnamed[state] = listing.unnamed.get(state, 0) + record.number
            case b"O":
                listing.owner = record.number
            case b"T":
                listing.is_whole = False
            case b"M":
                listing.manifest_fault = reader.state_of(record.state)
                listing.manifest = record.body if listing.manifest_fault is None else None
            case b"X":
                listing.stranger = _stranger(record)
            case b"A":
                pass
            case _:
                raise BadOutput(f"the reader's answer is garbled at a record {record.tag!r}")


def _stranger(record: reader.Record) -> Stranger:
    if record.state not in {reader.NO_ACCOUNT, reader.STRANGER}:
        raise BadOutput(f"the reader's answer has an unknown refusal {record.state}")
    if record.state == reader.NO_ACCOUNT:
        return Stranger()
    return Stranger(uid=record.number, name=record.body.decode("utf-8", "replace"))


def _entry(record: reader.Record) -> Entry:
    place, code = divmod(record.state, 16)
    if place >= len(reader.PLACES):
        raise BadOutput(f"the reader's answer has an unknown place {place}")
    return Entry(
        place=reader.PLACES[place],
        path=record.body,
        state=reader.state_of(code),
        size_bytes=0 if reader.silence(record) else record.number,
        modified_at=record.time,
        reason=reader.silence(record),
    )
