"""Which service is asked, and with whose token: from options, then from `SCRIPTHUT_…` variables."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from scripthut_common.errors import SettingsError

DEFAULT_URL = "http://127.0.0.1:8470"
_TOKEN = re.compile(r"[\x21-\x7e]+")
_MAX_FILE_BYTES = 1024 * 1024


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """A service and who asks it. `token_source` says in messages where the token is from; the token is in none."""

    url: str
    token: str | None
    token_source: str
    ca_file: str | None

    def __repr__(self) -> str:
        return f"Where({self.url}, a token from {self.token_source})"


def find(
    environ: Mapping[str, str], *, url: str | None, token_file: str | None, actor: str | None, ca_file: str | None
) -> Where:
    """Say whom to ask, as whom.

    Raises:
        SettingsError: the address is none, or the file holds no token.
    """
    token, source = _token(environ, token_file, actor)
    if token is not None and not _TOKEN.fullmatch(token):
        raise SettingsError(f"what {source} holds is no token: it has spaces, or characters that no token has")
    return Where(
        url=require_url(url or environ.get("SCRIPTHUT_URL") or DEFAULT_URL),
        token=token,
        token_source=source,
        ca_file=ca_file or environ.get("SCRIPTHUT_CA_FILE") or None,
    )


def require_url(text: str) -> str:
    """Return an address without a slash at its end.

    Raises:
        SettingsError: it is none, or says a password, which is not what a token is for.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("the address of the service has a name or password in it; a token says who you are")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or not text.isprintable():
        raise SettingsError(f"{text!a} is no address of a service; one is, for example, {DEFAULT_URL}")
    return text.rstrip("/")


def _token(environ: Mapping[str, str], token_file: str | None, actor: str | None) -> tuple[str | None, str]:
    said = environ.get("SCRIPTHUT_TOKEN")
    if token_file is None and said:
        return said.strip(), "SCRIPTHUT_TOKEN"
    file = token_file or environ.get("SCRIPTHUT_TOKEN_FILE")
    if not file:
        return None, "nowhere"
    return _read(Path(file), actor), file


def _read(path: Path, actor: str | None) -> str:
    """Read a token that stands alone, or that of one line `<name> <role> <token>`: the service's own file is one."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MAX_FILE_BYTES).decode("utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is no text, and so holds no token") from error
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(rows) == 1 and len(rows[0]) == 1 and actor is None:
        return rows[0][0]
    named = [row for row in rows if len(row) == 3 and actor in {None, row[0]}]
    if not named:
        whose = f" of {actor!a}" if actor else ""
        raise SettingsError(f"{path}: holds no token{whose}: neither a token alone nor lines `<name> <role> <token>`")
    return named[0][2]
