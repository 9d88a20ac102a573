"""Who may come in at all: a file of `<name> <role> <token>` lines, made at the first start."""

import getpass
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from scripthut_common.errors import SettingsError

from . import Actor, Role
from .names import NAME
from .watched import WatchedFile

_ROLES = frozenset({Role.ADMIN, Role.USER})
_MIN_TOKEN_CHARACTERS = 20


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    by_name: dict[str, Actor]
    by_token: dict[bytes, Actor]
    lines: dict[str, list[bytes]]


class Tokens:
    """The tokens file as it is now: a changed file is read again within a second.

    Raises:
        SettingsError: the file cannot be read or made, or a line is wrong.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            _make(path)
        self._file = WatchedFile(path, _read)

    def now(self) -> object:
        """What the file says, another object once it says something else."""
        return self._file.now()

    def actor_of(self, token: bytes) -> Actor | None:
        """The bearer of a token. Tokens are compared by hash: timing tells nothing about them."""
        return self._file.now().by_token.get(line_of(token))

    def actor_named(self, name: str) -> Actor | None:
        """The actor of that name; `None` once it is no longer in the file."""
        return self._file.now().by_name.get(name)

    def lines_of(self, name: str) -> Sequence[bytes]:
        """The lines of that name, as `line_of` has them, in the order of the file."""
        return self._file.now().lines.get(name, ())

    @property
    def first(self) -> Actor:
        """Whom the first line names: who set this up."""
        return next(iter(self._file.now().by_name.values()))


def line_of(token: bytes) -> bytes:
    """What tells a line from others: the hash of its token."""
    return hashlib.sha256(token).digest()


def read_key(path: Path) -> bytes:
    """Read the key that signs sessions, made at the first start.

    Raises:
        SettingsError: it cannot be read or made.
    """
    try:
        if not path.exists():
            _write(path, secrets.token_hex(32))
        return path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error


def _read(path: Path) -> _Known:
    by_name: dict[str, Actor] = {}
    by_token: dict[bytes, Actor] = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.split()
        if len(words) != 3 or not NAME.fullmatch(words[0]) or words[1] not in _ROLES:
            raise SettingsError(f"{path}: line {number} is not `<name> <role: admin or user> <token>`")
        if len(words[2]) < _MIN_TOKEN_CHARACTERS:
            raise SettingsError(f"{path}: line {number}: a token has at least {_MIN_TOKEN_CHARACTERS} characters")
        actor = by_name.setdefault(words[0], Actor(name=words[0], role=Role(words[1])))
        by_token[hashlib.sha256(words[2].encode()).digest()] = actor
    if not by_name:
        raise SettingsError(f"{path}: names nobody; remove it to have it made anew")
    of_names: dict[str, list[bytes]] = {}
    for digest, actor in by_token.items():
        of_names.setdefault(actor.name, []).append(digest)
    return _Known(by_name=by_name, by_token=by_token, lines=of_names)


def _make(path: Path) -> None:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "admin"
    owner = name if NAME.fullmatch(name) else "admin"
    try:
        _write(path, f"# <name> <role: admin or user> <token>\n{owner} {Role.ADMIN} {secrets.token_urlsafe(32)}\n")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error


def _write(path: Path, text: str) -> None:
    """Write a secret file whole or not at all; the first of several processes wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
