"""The work that is done while things break: tasks of every kind, with what must become of each of them."""

import random
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common.events import Outcome

SLURM, LOCAL = "testbed", "localhost"
_HOSTILE_NAMES = (
    b"with space.txt",
    b"new\nline",
    b"invalid-\xff\xfe.bin",
    b"-rf",
    "😀.txt".encode(),
    b"$(touch pwned)",
    b'it\'s "quoted"',
    b"100%25 #1?",
    b"tab\there\\",
    b"*",
)
_TOO_DEEP = b"a/b/c/d/too-deep"
_LARGE_BYTES = 3_000_000
_LONGEST_S = 1.5
_PIECES_OF_A_RUN = 60
_WAITS = "exec sleep 600"


class Deed(StrEnum):
    """What somebody does to a task while it runs."""

    CANCEL_JOB = "its owner cancels the job at the login node"
    REQUEUE_JOB = "an administrator has it run again from the beginning"
    CANCEL_RUN = "its owner cancels the whole run in the API"


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One task and what must become of it.

    Args:
        attempts: the executions that it must note, by their number; `None` where it may not have begun.
        exit_code: `None` where any is right.
        files: what it must leave in its output directory and we must store; `None` where that depends on when it ended.
        left_out: what it must leave there that is not to be stored.
        says: what it prints.
    """

    id: str
    command: str
    outcome: Outcome = Outcome.SUCCEEDED
    exit_code: int | None = 0
    attempts: tuple[int, ...] | None = (1,)
    files: dict[bytes, bytes] | None = msgspec.field(default_factory=dict)
    left_out: frozenset[bytes] = frozenset()
    has_fragment: bool = False
    deps: tuple[str, ...] = ()
    deed: Deed | None = None

    @property
    def says(self) -> str:
        """What it prints, each time that it is executed."""
        return f"{self.id} says what it has to say\n"


class Folders(msgspec.Struct, frozen=True, kw_only=True):
    """Where tasks note what they do and where outputs go, on one cluster; the first is there already."""

    notes: Path
    log_dir: Path


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One run: where and what.

    Args:
        is_by_hand: an array that its owner submits at the login node; nobody announces it.
    """

    run_id: str
    cluster: str
    pieces: tuple[Piece, ...]
    folders: Folders
    is_by_hand: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """What is posted to the API."""
        tasks = [
            {"id": piece.id, "command": self.command(piece)} | ({"deps": piece.deps} if piece.deps else {})
            for piece in self.pieces
        ]
        place = {"cluster": self.cluster, "log_dir": str(self.folders.log_dir)}
        return {"run_id": self.run_id, "name": f"chaos of {self.run_id}", "tasks": tasks, **place}

    def command(self, piece: Piece) -> str:
        """Write what a task does: note that it runs, say something, then its own."""
        noting = f'echo "$SCRIPTHUT_ATTEMPT" >> {self._note(piece)}'
        return f'{noting}\necho {piece.says.strip()}\ncd "$SCRIPTHUT_OUTPUT_DIR"\n{piece.command}'

    def executions(self, piece: Piece) -> tuple[int, ...]:
        """Read which attempts of a task were executed, in their order."""
        note = self._note(piece)
        return tuple(int(line) for line in note.read_text().split()) if note.exists() else ()

    def _note(self, piece: Piece) -> Path:
        return self.folders.notes / f"{self.run_id}.{piece.id}"


def plan(dice: random.Random, items: int, name: str, folders: dict[str, Folders], array_folders: Folders) -> list[Work]:
    """Lay out about so many tasks in several runs on both clusters, in an order that the dice choose."""
    on_local = items // 3
    array = max(3, items // 20)
    cancelled = max(2, items // 50)
    pieces = {SLURM: items - on_local - array - cancelled, LOCAL: on_local - cancelled}
    works = [
        Work(run_id=f"{name}-{cluster}-{number}", cluster=cluster, pieces=some, folders=folders[cluster])
        for cluster, count in pieces.items()
        for number, some in enumerate(_portions(dice, count, is_slurm=cluster == SLURM))
    ]
    works += [
        Work(
            run_id=f"{name}-{cluster}-cancelled",
            cluster=cluster,
            pieces=tuple(_cancelled_with_its_run(f"c{number}") for number in range(cancelled)),
            folders=folders[cluster],
        )
        for cluster in pieces
    ]
    by_hand = tuple(_element(number) for number in range(array))
    works.append(Work(run_id=f"{name}-array", cluster=SLURM, pieces=by_hand, is_by_hand=True, folders=array_folders))
    dice.shuffle(works)
    return works


def small(dice: random.Random, name: str, folders: dict[str, Folders]) -> list[Work]:
    """Lay out one task on each cluster."""
    return [
        Work(run_id=f"{name}-{cluster}", cluster=cluster, pieces=(_plain("one", dice),), folders=folder)
        for cluster, folder in folders.items()
    ]


def undisturbed(dice: random.Random, run_id: str, count: int, folders: Folders) -> Work:
    """Lay out one run of every kind of task to which nobody does anything."""
    return Work(run_id=run_id, cluster=SLURM, pieces=tuple(_pieces(dice, count, is_slurm=False)), folders=folders)


def _portions(dice: random.Random, count: int, *, is_slurm: bool) -> Iterator[tuple[Piece, ...]]:
    while count > 0:
        portion = min(count, _PIECES_OF_A_RUN)
        yield tuple(_pieces(dice, portion, is_slurm=is_slurm))
        count -= portion


def _pieces(dice: random.Random, count: int, *, is_slurm: bool) -> list[Piece]:
    """Fill one run: some of every kind, most of them plain."""
    deeds = (_cancelled, _requeued) if is_slurm else ()
    kinds = [*deeds, *_EVERY_KIND, *(_COMMON[number % len(_COMMON)] for number in range(count))][:count]
    dice.shuffle(kinds)
    pieces: list[Piece] = []
    for number, kind in enumerate(kinds):
        pieces.append(_depending(kind(f"t{number:03d}", dice), pieces, dice))
    return pieces


def _depending(piece: Piece, earlier: Sequence[Piece], dice: random.Random) -> Piece:
    """Have some tasks depend on an earlier one; what depends on a failure never runs."""
    if not earlier or piece.deed is not None or dice.random() > 0.15:
        return piece
    parent = dice.choice(earlier)
    if parent.outcome is Outcome.SUCCEEDED:
        return msgspec.structs.replace(piece, deps=(parent.id,))
    return Piece(
        id=piece.id,
        command=piece.command,
        deps=(parent.id,),
        outcome=Outcome.DEPENDENCY_FAILED,
        exit_code=None,
        attempts=(),
    )


def _plain(id_: str, dice: random.Random) -> Piece:
    files = {f"part-{number}.dat".encode(): _content(id_, number, dice) for number in range(dice.randint(1, 4))}
    files[b"deep/er/file.csv"] = _content(id_, 9, dice)
    files[b"the-same-everywhere.txt"] = _lines("the same everywhere", 20_000)
    files[b"task-summary.md"] = _lines(f"# What {id_} found", len(id_) + 15)
    fragment = 'echo "- $SCRIPTHUT_TASK_ID is done" >> "$SCRIPTHUT_RUN_SUMMARY"\n'
    return Piece(id=id_, command=_pause(dice) + _writing(files) + fragment, files=files, has_fragment=True)


def _quiet(id_: str, dice: random.Random) -> Piece:
    return Piece(id=id_, command=_pause(dice))


def _hostile(id_: str, dice: random.Random) -> Piece:
    files = {name: _content(id_, number, dice) for number, name in enumerate(_HOSTILE_NAMES)}
    return Piece(id=id_, command=_writing(files), files=files)


def _large(id_: str, dice: random.Random) -> Piece:
    files = {b"large.bin": _lines(f"{id_} {dice.random()}", _LARGE_BYTES), b"empty": b""}
    return Piece(id=id_, command=_writing(files), files=files)


def _failing(id_: str, dice: random.Random) -> Piece:
    files = {b"until-it-failed.log": _content(id_, 0, dice)}
    command = _pause(dice) + _writing(files) + "exit 3"
    return Piece(id=id_, command=command, files=files, outcome=Outcome.FAILED, exit_code=3)


def _killing_itself(id_: str, dice: random.Random) -> Piece:
    files = {b"half": _content(id_, 0, dice)}
    command = _writing(files) + "kill -9 $$"
    return Piece(id=id_, command=command, files=files, outcome=Outcome.FAILED, exit_code=137)


def _killing_all(id_: str, dice: random.Random) -> Piece:
    """One that nobody can note the end of: the shell around it dies too."""
    files = {b"last-words": _content(id_, 0, dice)}
    command = _writing(files) + "kill -9 0"
    return Piece(id=id_, command=command, files=files, outcome=Outcome.FAILED, exit_code=None)


def _odd_files(id_: str, dice: random.Random) -> Piece:
    files = {b"real.txt": _content(id_, 0, dice)}
    deep = {_TOO_DEEP: _content(id_, 1, dice)}
    command = _writing(files | deep) + "ln -s /etc/passwd link; mkfifo fifo"
    return Piece(id=id_, command=command, files=files, left_out=frozenset({b"link", b"fifo", _TOO_DEEP}))


def _cancelled(id_: str, dice: random.Random) -> Piece:
    command = _writing({b"begun": _content(id_, 0, dice)}) + _WAITS
    return Piece(id=id_, command=command, deed=Deed.CANCEL_JOB, outcome=Outcome.CANCELLED, exit_code=None, files=None)


def _requeued(id_: str, dice: random.Random) -> Piece:
    first, second = {b"first": _content(id_, 1, dice)}, {b"second": _content(id_, 2, dice)}
    waits = f'if [ "$SCRIPTHUT_ATTEMPT" = 1 ]; then\n{_writing(first)}{_WAITS}\nfi\n'
    command = waits + _writing(second)
    # The first attempt may be ended before it has written anything.
    return Piece(id=id_, command=command, attempts=(1, 2), files=None, deed=Deed.REQUEUE_JOB)


def _cancelled_with_its_run(id_: str) -> Piece:
    return Piece(
        id=id_,
        command=_writing({b"begun": b"begun\n"}) + _WAITS,
        deed=Deed.CANCEL_RUN,
        outcome=Outcome.CANCELLED,
        exit_code=None,
        attempts=None,
        files=None,
    )


def _element(index: int) -> Piece:
    """One element of an array; each third fails."""
    files = {b"element.txt": _lines(f"element {index}", 1000 + index)}
    code = 3 if index % 3 == 2 else 0
    outcome = Outcome.FAILED if code else Outcome.SUCCEEDED
    command = f"{_writing(files)}exit {code}"
    return Piece(id=f"sweep.{index}", command=command, files=files, outcome=outcome, exit_code=code)


def array_script(work: Work, environment_script: Path) -> str:
    """Write the batch script of a run by hand: every element does what its piece says."""
    branches = "".join(f"{number})\n{work.command(piece)}\n;;\n" for number, piece in enumerate(work.pieces))
    head = f"#!/bin/bash\nexport SCRIPTHUT_LOG_DIR={work.folders.log_dir}\nsource {environment_script}\n"
    return f'{head}case "$SLURM_ARRAY_TASK_ID" in\n{branches}esac\n'


_Kind = Callable[[str, random.Random], Piece]
_EVERY_KIND: tuple[_Kind, ...] = (_plain, _failing, _killing_all, _hostile, _odd_files, _killing_itself, _quiet, _large)
_COMMON: tuple[_Kind, ...] = (*(_plain,) * 5, _quiet, _failing, _hostile, _plain, _killing_itself, _plain, _odd_files)


def _pause(dice: random.Random) -> str:
    return f"sleep {dice.uniform(0, _LONGEST_S):.2f}\n"


def _content(id_: str, number: int, dice: random.Random) -> bytes:
    """Make up some lines that no other file has."""
    return _lines(f"{id_} {number} {dice.random()}", dice.randint(1, 40_000))


def _lines(text: str, size: int) -> bytes:
    line = f"{text}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def _writing(files: dict[bytes, bytes]) -> str:
    """Write these files in bash: each is one line again and again, cut somewhere."""
    folders = sorted({name.rpartition(b"/")[0] for name in files if b"/" in name})
    lines = [f"mkdir -p {_quoted(folder)}" for folder in folders]
    for name, content in files.items():
        line = content.partition(b"\n")[0].decode()
        lines.append(f"yes '{line}' 2> /dev/null | head -c {len(content)} > {_quoted(name)}")
    # `head` ends before `yes`, which is a failure to the shell that runs commands.
    return "".join(f"{line}\n" for line in [*lines, "true"])


def _quoted(name: bytes) -> str:
    return "./$'" + "".join(f"\\{byte:03o}" for byte in name) + "'"
