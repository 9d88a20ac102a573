"""What must hold when everything answers again: nothing lost, nothing twice, nothing made up."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import msgspec
import psycopg

from scripthut_common import layout
from scripthut_common.events import ItemState, Type
from scripthut_outputs.controllers.shapes import ItemJson, OutputsJson, RunWithItemsJson
from scripthut_outputs.ledger import MOVING, FileState, OutputsState
from tests.chaos.tapping import Heard, Subscriber, contradictions
from tests.chaos.work import Piece, Work
from tests.e2e import running
from tests.testbed.clients import Client

_SAME_IN_EVENTS = (
    "attempt",
    "state",
    "outcome",
    "confirmed",
    "evidence",
    "exit_code",
    "signal",
    "reason",
    "job_id",
    "node",
    "task_name",
)


class Counted(msgspec.Struct, kw_only=True):
    """What was compared."""

    items: int = 0
    files: int = 0
    size_bytes: int = 0
    left_out: int = 0


def is_over(work: Work, run: RunWithItemsJson) -> bool:
    """Answer whether every item has its last word, and every collection is at rest."""
    return len(run.items) == len(work.pieces) and all(
        item.state is ItemState.FINAL and item.outputs_state not in MOVING and (item.confirmed or item.job_id is None)
        for item in run.items
    )


def check_run(client: Client, work: Work, run: RunWithItemsJson, counted: Counted) -> list[str]:
    """Compare one run with what its tasks were to do, and with what lies on the cluster; say what differs."""
    items = {item.task_id: item for item in run.items}
    if items.keys() != {piece.id for piece in work.pieces}:
        return [f"{work.run_id} has the items {sorted(items)}"]
    faults = []
    for piece in work.pieces:
        faults += [
            f"{work.run_id}/{piece.id}: {fault}" for fault in _check_item(client, work, piece, items[piece.id], counted)
        ]
    fragments = {piece.id for piece in work.pieces if piece.has_fragment}
    told = {section.task_id for section in client.summary(work.run_id).sections}
    return faults + ([] if told == fragments else [f"{work.run_id}: its summary has {sorted(told ^ fragments)} wrong"])


def _check_item(client: Client, work: Work, piece: Piece, item: ItemJson, counted: Counted) -> list[str]:
    counted.items += 1
    faults = []
    if item.outcome is not piece.outcome:
        faults.append(f"is {item.outcome} ({item.reason}), not {piece.outcome}")
    if piece.exit_code is not None and item.exit_code != piece.exit_code:
        faults.append(f"has the exit code {item.exit_code}, not {piece.exit_code}")
    executions = work.executions(piece)
    allowed = {(), (1,)} if piece.attempts is None else {piece.attempts}
    if executions not in allowed:
        faults.append(f"was executed as {executions}, not {piece.attempts}")
    if executions and item.attempt != executions[-1]:
        faults.append(f"is told as attempt {item.attempt}, the last was {executions[-1]}")
    return faults + _check_files(client, work, piece, counted) + _check_log(client, work, piece, executions)


def _check_files(client: Client, work: Work, piece: Piece, counted: Counted) -> list[str]:
    """Each file on the cluster is stored, byte for byte, or stands in the ledger; and nothing else is."""
    outputs = client.outputs(work.run_id, piece.id)
    root = Path(layout.output_dir(str(work.folders.log_dir), work.run_id, piece.id))
    there, odd = _on_cluster(root)
    faults = []
    expected = {name: sha256 for name, sha256 in there.items() if name not in piece.left_out}
    if piece.files is not None and expected != {name: _sha256(content) for name, content in piece.files.items()}:
        faults.append(f"has left other files than it was to: {sorted(there)}")
    stored = running.stored(client, work.run_id, piece.id)
    faults += _differences(expected, stored)
    left_out = {running.name_of(one): one.state for one in outputs.outputs if one.state is not FileState.STORED}
    if left_out.keys() != (odd | there.keys()) - expected.keys() or not piece.left_out <= left_out.keys():
        faults.append(f"its ledger has left out {left_out}, on the cluster are also {sorted(odd)}")
    rests = {OutputsState.COLLECTED} if work.executions(piece) else {OutputsState.COLLECTED, OutputsState.NONE}
    if outputs.outputs_state not in rests:
        faults.append(f"its outputs are {outputs.outputs_state}")
    counted.files += len(stored)
    counted.left_out += len(left_out)
    counted.size_bytes += _stored_bytes(outputs)
    return faults


def _check_log(client: Client, work: Work, piece: Piece, executions: tuple[int, ...]) -> list[str]:
    if not executions or work.is_by_hand:
        return []
    content = client.detail(work.run_id, piece.id, "output").content
    # Slurm begins the log of a requeued job anew or goes on in it, as the site has it.
    return [] if content and content.endswith(piece.says) else [f"printed {piece.says!r}, kept is {content!r}"]


def _differences(expected: dict[bytes, str], stored: dict[bytes, str]) -> list[str]:
    return [
        f"{name!r} is {stored.get(name, 'not stored')}, on the cluster {expected.get(name, 'nowhere')}"
        for name in sorted(expected.keys() | stored.keys())
        if expected.get(name) != stored.get(name)
    ]


def _on_cluster(root: Path) -> tuple[dict[bytes, str], set[bytes]]:
    """Hash the regular files of a directory, and name what is neither a file nor a directory."""
    files, odd = {}, set()
    for folder, folders, names in os.walk(root):
        for name in [*names, *folders]:
            path = Path(folder, name)
            relative = os.fsencode(path.relative_to(root))
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                odd.add(relative)
            elif path.is_file():
                files[relative] = _sha256(path.read_bytes())
    return files, odd


def check_events(heard: list[Heard], subscriber: Subscriber, runs: dict[str, RunWithItemsJson]) -> list[str]:
    """The events contradict neither each other nor the API; every verdict and every collection was told."""
    faults = contradictions(heard)
    facts = {event.fact: event for event in heard}.values()
    begun = Counter((one.data["run_id"], one.data["task_id"]) for one in facts if one.type == Type.ITEM_SUBMITTED)
    with_jobs = {(run.run_id, item.task_id) for run in runs.values() for item in run.items if item.job_id}
    faults += [f"{key} was told as submitted {begun[key]} times" for key in sorted(with_jobs) if begun[key] != 1]
    for run in runs.values():
        told = subscriber.runs.get(run.run_id)
        if told is None or told["state"] != run.state:
            faults.append(f"the end of {run.run_id} ({run.state}) was told as {told}")
        for item in run.items:
            key = (run.run_id, item.task_id)
            faults += [f"{'/'.join(key)}: {fault}" for fault in _check_told(item, key, subscriber)]
    return faults


def _check_told(item: ItemJson, key: tuple[str, str], subscriber: Subscriber) -> list[str]:
    told = subscriber.items.get(key)
    if told is None:
        return ["nobody was told of it"]
    shown = msgspec.to_builtins(item)
    faults = [
        f"{name} is {shown[name]!r} in the API, {told.get(name)!r} in events"
        for name in _SAME_IN_EVENTS
        if shown[name] != told.get(name, False if name == "confirmed" else None)
    ]
    verdicts = sorted(subscriber.verdicts[key], key=lambda verdict: verdict[2])
    if not verdicts:
        faults.append("its verdict was never told")
    if [verdict[:2] for verdict in verdicts] != sorted({verdict[:2] for verdict in verdicts}):
        faults.append(f"its verdicts (attempt, revision, sequence) do not rise: {verdicts}")
    collected = subscriber.collected.get(key)
    if item.outputs_state is not OutputsState.NONE and collected is None:
        faults.append("its collection was never told")
    if collected is not None and collected["outputs_state"] != item.outputs_state:
        faults.append(f"its outputs are {item.outputs_state}, told was {collected['outputs_state']}")
    return faults


def check_store(blobs_dir: Path, database_uri: str) -> list[str]:
    """Every blob is referred to or young, every row's blob is there and whole, and nothing temporary is left."""
    with psycopg.connect(database_uri) as connection:
        rows = connection.execute(
            "SELECT DISTINCT sha256 FROM outputs.files WHERE state = 'stored' AND removed_at IS NULL"
        ).fetchall()
        touched = connection.execute("SELECT sha256 FROM outputs.blobs").fetchall()
    referred, known = ({str(sha256) for (sha256,) in found} for found in (rows, touched))
    blobs = {path.parent.name + path.name: path for path in (blobs_dir / "sha256").glob("*/*")}
    faults = [f"nobody knows of the blob {sha256}" for sha256 in blobs.keys() - referred - known]
    faults += [f"the blob {sha256} is lost" for sha256 in referred - blobs.keys()]
    faults += [f"the blob {sha256} is broken" for sha256, path in blobs.items() if _sha256(path.read_bytes()) != sha256]
    return faults


def temporary_files(blobs_dir: Path) -> list[Path]:
    """List what arrives in the store just now, or was left there."""
    return [path for path in (blobs_dir / "tmp").rglob("*") if path.is_file()]


def _stored_bytes(outputs: OutputsJson) -> int:
    return sum(one.size or 0 for one in outputs.outputs if one.state is FileState.STORED)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
