"""What every answer is read with, complete or refused and never a wrong number; and how lines are written."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer

_NUMBER = re.compile(r"[0-9]{1,12}")
_SHOWN = 300


def text_of(answer: Answer) -> str:
    """Return what a program printed. Users' bytes may be anything; what is not UTF-8 is replaced.

    Raises:
        BadOutput: it failed.
    """
    if answer.exit_status != 0:
        raise BadOutput(f"exit status {answer.exit_status}: {said(answer)}")
    return answer.stdout.decode("utf-8", "replace")


def said(answer: Answer) -> str:
    """Return what a program complained of, short enough for a message."""
    words = (answer.stderr or answer.stdout).decode("utf-8", "replace").strip()
    return words[:_SHOWN] or "it said nothing"


def shown(text: str) -> str:
    """Quote the beginning of something unexpected."""
    return repr(text[:80])


def number(text: str, what: str) -> int:
    """Read a number without a sign.

    Raises:
        BadOutput: it is not one.
    """
    if not _NUMBER.fullmatch(text):
        raise BadOutput(f"{what} {shown(text)} is not a number")
    return int(text)


def moment(text: str, what: str) -> datetime:
    """Read epoch seconds.

    Raises:
        BadOutput: they are not.
    """
    try:
        return datetime.fromtimestamp(number(text, what), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadOutput(f"{what} {shown(text)} is not a time") from error


def line(text: str) -> bytes:
    """Write one line for `read -r`, which a program takes apart with `printf %b` if there is a backslash in it."""
    escaped = text.replace("\\", "\\0134").replace("\n", "\\0012")
    return escaped.encode("utf-8", "surrogateescape") + b"\n"


def told(stdout: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield kind, time and text of each answer of a submit program.

    Sample: `0 1795457268 2` and `42` on the next line, without an end; the last number is the length of the text.

    Raises:
        BadOutput: it is not whole.
    """
    rest = stdout
    while rest:
        head, newline, rest = rest.partition(b"\n")
        words = head.decode("ascii", "replace").split(" ")
        size = number(words[2], "length") if len(words) == 3 and newline else len(rest) + 1
        if size > len(rest):
            raise BadOutput(f"the submit program printed {shown(head.decode('utf-8', 'replace'))}")
        yield words[0], words[1], rest[:size].decode("utf-8", "replace")
        rest = rest[size:]
