"""Submit a run document, written as JSON or as TOML."""

import json
import secrets
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from scripthut_common import text
from scripthut_common.errors import InvalidInput, TransientError

from .answers import Run, read
from .api import Api
from .exits import Exit
from .screen import Screen
from .watching import Pace, watch

_MAX_BYTES = 32 * 1024 * 1024


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A run document, as bytes of JSON, and the key under which it counts once."""

    body: bytes
    key: str


def load(file: str, key: str | None) -> Submission:
    """Read a run document from a file, or from standard input for `-`.

    Raises:
        InvalidInput: it cannot be read, or is neither JSON nor TOML.
    """
    shown = text.name(file) if file != "-" else "standard input"
    try:
        written = sys.stdin.buffer.read(_MAX_BYTES + 1) if file == "-" else _read(Path(file))
    except OSError as error:
        raise InvalidInput(f"{shown}: {error.strerror or error}") from error
    if len(written) > _MAX_BYTES:
        raise InvalidInput(f"{shown}: a run document has at most {_MAX_BYTES:,} bytes; this one has more")
    return Submission(body=_as_json(written, shown, is_toml=_is_toml(file, written)), key=key or secrets.token_hex(16))


async def submit(api: Api, screen: Screen, submission: Submission, pace: Pace | None) -> Exit:
    """Create the run and print its id; with a pace, follow it to its end.

    Raises:
        InvalidInput: the service refuses it; names every faulty field.
        TransientError: nobody knows whether it was created; says how to ask again safely.
    """
    try:
        answer = await api.post("/runs", submission.body, **{"idempotency-key": submission.key})
    except TransientError as error:
        again = f"--idempotency-key {submission.key}"
        raise TransientError(
            f"{error}\nIt may have been created. Submitted again with {again}, it is one run."
        ) from error
    run = read(answer, Run)
    _tell(screen, answer, run, is_followed=pace is not None)
    return Exit.FINE if pace is None else await watch(api, screen, run.run_id, pace)


def _tell(screen: Screen, answer: Any, run: Run, *, is_followed: bool) -> None:
    if not screen.is_json:
        screen.say(text.name(run.run_id))
    elif is_followed:
        screen.tell_line({"event": "submitted", **answer})
    else:
        screen.tell(answer)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)


def _is_toml(file: str, written: bytes) -> bool:
    """By the name; where that says nothing, by the first character: TOML has no object around it."""
    suffix = Path(file).suffix.lower()
    return suffix == ".toml" or (suffix != ".json" and not written.lstrip().startswith(b"{"))


def _as_json(written: bytes, shown: str, *, is_toml: bool) -> bytes:
    try:
        if is_toml:
            return json.dumps(tomllib.loads(written.decode("utf-8"))).encode()
        msgspec.json.decode(written)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = "TOML" if is_toml else "JSON"
        raise InvalidInput(f"{shown}: is not {kind}: {text.line(str(error))}") from error
    except TypeError as error:
        raise InvalidInput(f"{shown}: dates and times have no place in a run document") from error
    return written
