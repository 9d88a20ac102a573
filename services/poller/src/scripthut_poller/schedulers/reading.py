"""What every answer is read with, complete or refused and never a wrong number; and how lines are written."""

import re
from datetime import UTC, datetime

from scripthut_common.errors import BadOutput
from scripthut_common.shell import Answer

_NUMBER = re.compile(r"[0-9]{1,12}")
_SHOWN = 300


class UnreadRows(BadOutput):
    """Some rows of an answer are not as they should be: nothing may be concluded from the others' absence."""

    def __init__(self, message: str, *, rows: int) -> None:
        super().__init__(message)
        self.rows = rows


def output_of(answer: Answer) -> bytes:
    """Return what a program printed. Users' bytes may be anything.

    Raises:
        BadOutput: it failed.
    """
    if answer.exit_status != 0:
        raise BadOutput(f"exit status {answer.exit_status}: {said(answer)}")
    return answer.stdout


def text_of(answer: Answer) -> str:
    """Return what a program printed; what is not UTF-8 is replaced.

    Raises:
        BadOutput: it failed.
    """
    return output_of(answer).decode("utf-8", "replace")


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
