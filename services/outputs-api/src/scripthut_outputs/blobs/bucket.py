"""A bucket as the S3 client sees it: keys from a file, bounded waiting, faults in plain words."""

import configparser
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from obstore.exceptions import BaseError
from obstore.store import S3Store

from scripthut_common.errors import SettingsError, StoreUnavailable
from scripthut_outputs.settings import S3Settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Credential

_RETRIES = 4
_KEYS_HOLD = timedelta(minutes=5)
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})")
_CAUSE = re.compile(r'"([^"\n]{3,200})"')
_DISTRUST = re.compile(r"InvalidCertificate\(\s*(\w+)")
# Asked for by the client when it has no keys: the address at which machines of AWS learn theirs.
_KEYS_OF_THE_MACHINE = "169.254.169.254"
# What our own reading of the keys raised comes back through the client as text.
_OWN_WORDS = re.compile(r"SettingsError: (.+)")
_REFUSED = frozenset({"401", "403"})


class Bucket(msgspec.Struct, frozen=True):
    """A place in a bucket. `where` names it in messages."""

    client: S3Store
    where: str
    name: str

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Turn faults of the store into `StoreUnavailable` that says what to do; `FileNotFoundError` passes.

        Raises:
            FileNotFoundError: there is no such object.
            StoreUnavailable: everything else.
        """
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise
            raise StoreUnavailable(self._words(str(error))) from error
        except BaseError as error:
            raise StoreUnavailable(self._words(str(error))) from error

    def _words(self, text: str) -> str:
        status, code = _first(_STATUS, text), _first(_CODE, text)
        if code == "NoSuchBucket":
            return f"{self.where}: there is no bucket '{self.name}': create it, or correct SCRIPTHUT_OUTPUTS_BLOBS_URL"
        own_words = _first(_OWN_WORDS, text)
        if own_words:
            return f"{self.where}: {own_words}"
        if _KEYS_OF_THE_MACHINE in text:
            return f"{self.where}: no keys are set: name a file in SCRIPTHUT_OUTPUTS_S3_CREDENTIALS_FILE"
        told = " ".join(part for part in (status, code) if part)
        told = ": ".join(part for part in (told, _first(_MESSAGE, text)) if part)
        if status in _REFUSED:
            return (
                f"{self.where} refuses us ({told}): correct the keys in SCRIPTHUT_OUTPUTS_S3_CREDENTIALS_FILE, "
                "or allow them to read, write, list and delete there"
            )
        return f"{self.where} answers {told}" if status else f"{self.where} does not answer ({_cause(text)})"


def open_bucket(url: str, settings: S3Settings) -> Bucket:
    """Make the client of `s3://bucket/prefix`; nothing is asked yet.

    Raises:
        SettingsError: the address, the endpoint or a file is wrong.
    """
    parts = urlsplit(url)
    name, prefix = parts.netloc, parts.path.strip("/")
    if not _NAME.fullmatch(name) or parts.query or parts.fragment:
        raise SettingsError(f"SCRIPTHUT_OUTPUTS_BLOBS_URL: {url!r} is not s3://BUCKET or s3://BUCKET/PREFIX")
    _require_endpoint(settings.endpoint)
    at = f" at {settings.endpoint}" if settings.endpoint else ""
    where = f"the blob store {url.rstrip('/')}{at}"
    keys = _Keys(settings.credentials_file) if settings.credentials_file else None
    return Bucket(
        S3Store(
            name,
            prefix=prefix or None,
            config=_config(name, settings),
            client_options=_client_options(settings),
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": timedelta(seconds=2 * settings.timeout_s),
                "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
            },
            credential_provider=keys,
        ),
        where,
        name,
    )


def _config(name: str, settings: S3Settings) -> "S3Config":
    config: S3Config = {
        "region": settings.region,
        "checksum_algorithm": "SHA256",
        # One object a request: not every store knows the bulk form.
        "disable_bulk_delete": True,
        # The bucket's own host name is what AWS wants; other stores are reached by path.
        "virtual_hosted_style_request": settings.endpoint is None and "." not in name,
    }
    if settings.endpoint is not None:
        config["endpoint"] = settings.endpoint.rstrip("/")
    return config


def _client_options(settings: S3Settings) -> "ClientConfig":
    options: ClientConfig = {
        "allow_http": settings.endpoint is not None and settings.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(5.0, settings.timeout_s)),
        # Only silence is a fault: a large blob may take its reader hours.
        "read_timeout": timedelta(seconds=settings.timeout_s),
        "timeout": timedelta(days=7),
    }
    if settings.ca_file is not None:
        options["root_certificate"] = _read("CA_FILE", settings.ca_file)
    return options


class _Keys:
    """Keys in a file as AWS writes it; read anew every few minutes, so that they may be changed at run time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self()

    def __call__(self) -> "S3Credential":
        """Read the keys of the profile `default`.

        Raises:
            SettingsError: the file cannot be read or lacks them.
        """
        parser = configparser.ConfigParser(interpolation=None, default_section="")
        try:
            parser.read_string(_read("CREDENTIALS_FILE", self._path))
            profile = parser["default"]
            return {
                "access_key_id": profile["aws_access_key_id"],
                "secret_access_key": profile["aws_secret_access_key"],
                "token": profile.get("aws_session_token"),
                "expires_at": datetime.now(UTC) + _KEYS_HOLD,
            }
        except (configparser.Error, KeyError) as error:
            raise SettingsError(
                f"SCRIPTHUT_OUTPUTS_S3_CREDENTIALS_FILE: {self._path} needs a section [default] with "
                "aws_access_key_id and aws_secret_access_key"
            ) from error


def is_past_the_end(error: BaseError) -> bool:
    """Whether a range was refused because the object ends before it."""
    return _first(_STATUS, str(error)) == "416"


def _require_endpoint(endpoint: str | None) -> None:
    if endpoint is None:
        return
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/") or parts.query:
        raise SettingsError(f"SCRIPTHUT_OUTPUTS_S3_ENDPOINT: {endpoint!r} is not https://HOST or https://HOST:PORT")


def _read(setting: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise SettingsError(f"SCRIPTHUT_OUTPUTS_S3_{setting}: {path}: {reason}") from error


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""


def _cause(text: str) -> str:
    """The innermost cause that the client quotes, as `Connection refused`; else the first line of its words."""
    words, _, inner = text.partition("inner:")
    distrust = _first(_DISTRUST, inner)
    if distrust:
        return f"its certificate is not trusted, {distrust}: name who made it in SCRIPTHUT_OUTPUTS_S3_CA_FILE"
    if "kind: Timeout" in inner or "TimedOut" in inner:
        return "it took too long"
    quoted = _CAUSE.findall(inner)
    return str(quoted[-1]) if quoted else words.partition("\n")[0][:200]
