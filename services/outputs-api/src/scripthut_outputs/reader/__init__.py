"""How the services talk to the program that reads files on the cluster: its text, its codes, its records. Pure."""

import struct
from importlib.resources import files

from scripthut_common.errors import BadOutput
from scripthut_outputs.ledger import FileState, Place

from .records import HEAD, NOBODY, Record, Records

__all__ = ["HEAD", "NOBODY", "Record", "Records"]

PLACES = (Place.OUTPUT, Place.RUN_SUMMARY, Place.STDOUT, Place.STDERR)
# What an answer is where the strict reader cannot run, for want of a python3 that is new enough.
LACKING = b"no python3\n"
SH = (
    "command -v python3 >/dev/null 2>&1 || { echo no python3; exit 0; }; "
    'exec python3 -I -S -c \'import sys; sys.version_info >= (3, 6) or sys.exit(print("no python3")); '
    'exec(sys.argv.pop(1))\' "$@"'
)

# By the program's codes; `None`: a regular file that may be read.
STATES: tuple[FileState | None, ...] = (
    None,
    FileState.NOT_REGULAR,
    FileState.NOT_OWNED,
    FileState.UNREADABLE,
    FileState.TOO_DEEP,
    FileState.PURGED,
    FileState.CHANGED_WHILE_READING,
    FileState.TOO_LARGE,
    FileState.UNREADABLE,
)
# The last of them: the file system did not answer within as many seconds as the record's number says.
HUNG = 8
# Why an output directory is not read: there is no such account, or it belongs to another.
NO_ACCOUNT, STRANGER = 1, 2


def program_text(*, follows: bool = False) -> str:
    """The program, to be given to python3 on the cluster; what only those need who follow is in none but theirs."""
    parts = ("program.py", "follower.py") if follows else ("program.py",)
    return "\n\n".join((*(files(__name__).joinpath(part).read_text("utf-8") for part in parts), "main()\n"))


def number(value: int) -> bytes:
    """Write a number as requests have it."""
    return struct.pack(">Q", value)


def text(value: bytes) -> bytes:
    """Write a byte string as requests have it."""
    return number(len(value)) + value


def state_of(code: int) -> FileState | None:
    """Read a state's code.

    Raises:
        BadOutput: there is no such state.
    """
    if code >= len(STATES):
        raise BadOutput(f"the reader's answer has an unknown state {code}")
    return STATES[code]


def silence(record: Record) -> str | None:
    """Say in words that the file system did not answer, if the record tells so."""
    if record.state & 0xF != HUNG:
        return None
    return f"the file system did not answer within {record.number} s"
