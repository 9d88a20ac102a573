"""Read generated lists on the cluster: which file is meant, what is asked, what is answered. Pure."""

import os
import struct
from collections.abc import Sequence
from importlib.resources import files
from posixpath import join

import msgspec

from scripthut_common.errors import BadOutput
from scripthut_common.shell import MIB, Answer, Program
from scripthut_poller.schedulers import Question
from scripthut_poller.schedulers.reading import text_of

MAX_FILE_BYTES = 16 * MIB
MAX_FILES = 50
_MAX_BYTES = 2 * MAX_FILE_BYTES
# Who waits gives up first, and says that it took too long; the program ends by itself if nobody is there to end it.
_LASTS_S = 60.0
_ENDS_S = 120
_HEAD = struct.Struct(">BQ")

_READ = Program(
    name="generated-lists",
    text=(
        "command -v python3 >/dev/null 2>&1 || "
        '{ echo "python3 is missing on this host; generated lists are read with it" >&2; exit 127; }; '
        'exec python3 -I -S -c "$@"'
    ),
    timeout_s=_LASTS_S,
    idle_timeout_s=_LASTS_S,
    max_stdout_bytes=_MAX_BYTES + MIB,
)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The file as it is."""

    body: bytes


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """It cannot be read now and perhaps soon: other hosts see a new file late."""

    reason: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """It must not be read."""

    reason: str


class Later(msgspec.Struct, frozen=True):
    """The others of this answer were too large for it to have room."""


Found = Content | Absent | Refused | Later

# By the program's statuses from the third on; after them, those that do not pass.
_ABSENT = {
    3: "it is empty",
    4: "it changed while it was read",
}
_REFUSED = {
    5: "it is not a regular file",
    6: "it belongs to another account than the one that runs the tasks",
    7: "everybody can write to it; take that right away with chmod o-w",
    8: f"it is larger than {MAX_FILE_BYTES // MIB} MiB",
    9: "on the way to it is a symlink of another account; name the place that it leads to",
}


def place(source: str, working_dir: str) -> str | None:
    """Say which file is meant, as an absolute path; `None` for `~` of somebody else.

    Args:
        source: as its author wrote it, `~` expanded; `..` is kept, for the cluster to go back from where it is.
        working_dir: absolute, of the task.
    """
    return None if source.startswith("~") else join(working_dir, source)


def read(paths: Sequence[str]) -> Question[tuple[Found, ...]]:
    """Ask for up to `MAX_FILES` files by absolute path; one answer each, in their order."""
    if len(paths) > MAX_FILES:
        raise ValueError(f"{len(paths)} lists; at most {MAX_FILES}")
    written = [path.encode("utf-8", "surrogateescape") for path in paths]
    request = b"".join(len(path).to_bytes(8, "big") + path for path in written)
    text = files(__package__).joinpath("program.py").read_text("utf-8")
    return Question(
        program=_READ,
        argv=(text, str(_ENDS_S), str(MAX_FILE_BYTES), str(_MAX_BYTES)),
        stdin=len(paths).to_bytes(8, "big") + request,
        parse=lambda answer: _found(answer, len(paths)),
        cost=0,
    )


def _found(answer: Answer, count: int) -> tuple[Found, ...]:
    if answer.exit_status != 0:
        text_of(answer)
    body, at, found = answer.stdout, 0, list[Found]()
    while at + _HEAD.size <= len(body) and len(found) < count:
        status, number = _HEAD.unpack_from(body, at)
        at += _HEAD.size
        length = number if status == 0 else 0
        found.append(_one(status, number, body[at : at + length]))
        at += length
    if len(found) != count or at != len(body):
        raise BadOutput("the answer is not whole")
    return tuple(found)


def _one(status: int, number: int, body: bytes) -> Found:
    match status:
        case 0:
            return Content(body=body)
        case 1:
            return Later()
        case 2 if number < 4096:
            return Absent(reason=os.strerror(number).lower())
        case _ if status in _ABSENT:
            return Absent(reason=_ABSENT[status])
        case _ if status in _REFUSED:
            return Refused(reason=_REFUSED[status])
    raise BadOutput(f"the lists program answered with status {status}, number {number}")
