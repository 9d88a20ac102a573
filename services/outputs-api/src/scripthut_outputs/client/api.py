"""Ask the service over HTTP; whatever goes wrong becomes an error that says what, where and what to do."""

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import msgspec

from scripthut_common import errors, text
from scripthut_common.errors import (
    Conflict,
    Error,
    InvalidInput,
    LimitExceeded,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    PermanentError,
    SettingsError,
    TransientError,
)

from .answers import Problem
from .where import Where

_TIMEOUTS = httpx.Timeout(60.0, connect=10.0)
_AT_ONCE = httpx.Limits(max_connections=8)
_MAX_PROBLEM_BYTES = 1024 * 1024
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})
_KINDS: dict[int, type[Error]] = {
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: LimitExceeded,
}


class Api:
    """One service, asked as one person; `async with` closes its connections."""

    def __init__(self, where: Where) -> None:
        self.where = where
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "scripthut-outputs"}
        if where.token is not None:
            headers["authorization"] = f"Bearer {where.token}"
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=_trusted(where),
            timeout=_TIMEOUTS,
            limits=_AT_ONCE,
            follow_redirects=False,
            # A proxy that the environment names has no business with what this machine says to itself.
            trust_env=urlsplit(where.url).hostname not in _THIS_MACHINE,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, **query: str | int | None) -> Any:
        """Give an answer's JSON; what is `None` in the query is not asked.

        Raises:
            Error: as `errors.py` has it for what the service says or does not say.
        """
        asked = {name: value for name, value in query.items() if value is not None}
        return await self._ask("GET", path, params=asked)

    async def post(self, path: str, body: bytes = b"", **headers: str) -> Any:
        """Send JSON and give the answer's; raises as `get` does."""
        return await self._ask("POST", path, content=body, headers={"content-type": "application/json", **headers})

    async def delete(self, path: str) -> Any:
        """Have something ended, and give what is said of it; raises as `get` does."""
        return await self._ask("DELETE", path)

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str], *, timeout_s: float = 60.0
    ) -> AsyncIterator[httpx.Response]:
        """Open an answer that is read in pieces; `timeout_s` is the longest wait for one. Raises as `get` does."""
        timeout = httpx.Timeout(timeout_s, connect=10.0)
        with self._translated():
            async with self._client.stream("GET", self.where.url + path, headers=headers, timeout=timeout) as answer:
                if answer.status_code not in {200, 206, 416}:
                    raise self._refusal(answer, await _said_of(answer))
                yield answer

    async def _ask(self, method: str, path: str, **sent: Any) -> Any:
        with self._translated():
            answer = await self._client.request(method, self.where.url + path, **sent)
        if not answer.is_success:
            raise self._refusal(answer, answer.content)
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError as error:
            raise self._foreign(answer) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        url = self.where.url
        try:
            yield
        except httpx.TimeoutException as error:
            raise TransientError(f"{url} does not answer in time: is the service busy, or the network cut?") from error
        except httpx.ConnectError as error:
            raise _unconnected(url, error) from error
        except httpx.TransportError as error:
            raise TransientError(f"the connection to {url} was cut half-way ({_said(error)}); try again") from error
        except httpx.InvalidURL as error:
            raise SettingsError(f"{url} is no address of a service: {_said(error)}") from error

    def _refusal(self, answer: httpx.Response, body: bytes) -> Error:
        """What the service said, or a proxy in its place."""
        status, url = answer.status_code, self.where.url
        if status == HTTPStatus.UNAUTHORIZED:
            return NotAuthenticated(self._no_token(body))
        if answer.is_redirect:
            to = text.line(answer.headers.get("location", "nowhere"))
            return PermanentError(f"{url} sends us to {to}; if that is the service, name it with --url")
        try:
            problem = msgspec.json.decode(body, type=Problem)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return self._foreign(answer)
        said = text.line(problem.detail)
        if status == HTTPStatus.UNPROCESSABLE_ENTITY or problem.errors:
            faults = [
                errors.Problem(field=text.name(one.field), message=text.line(one.message)) for one in problem.errors
            ]
            return InvalidInput(f"{url} refuses this: {said}", faults)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = text.line(answer.headers.get("retry-after", ""))[:20]
            return TransientError(f"{url}: {said}" + (f"; try again in {wait} s" if wait else ""))
        kind = _KINDS.get(status, TransientError if status >= 500 else PermanentError)
        return kind(f"{url}: {said}")

    def _no_token(self, body: bytes) -> str:
        """Why nobody is let in: without a token, in our words; with one, in the service's."""
        where = self.where
        if where.token is None:
            return f"{where.url} wants a token: set SCRIPTHUT_TOKEN, or name a file that holds one with --token-file"
        try:
            said = f" ({text.line(msgspec.json.decode(body, type=Problem).detail)})"
        except (msgspec.DecodeError, msgspec.ValidationError):
            said = ""
        return (
            f"{where.url} does not know the token from {where.token_source}{said}: is it of another service, or"
            " withdrawn?"
        )

    def _foreign(self, answer: httpx.Response) -> TransientError:
        kind = text.line(answer.headers.get("content-type", "no type"))[:80]
        status = f"{answer.status_code} {text.line(answer.reason_phrase)[:80]}".strip()
        return TransientError(
            f"{self.where.url} answers {status} as {kind}, not in the service's JSON: a proxy or another program"
            " listens there, or the service is away behind it; check --url"
        )


async def _said_of(answer: httpx.Response) -> bytes:
    """Take in what a refusal says, as far as anybody would read."""
    said = b""
    async for piece in answer.aiter_raw():
        said += piece
        if len(said) > _MAX_PROBLEM_BYTES:
            break
    return said


def _trusted(where: Where) -> ssl.SSLContext:
    """Whose word counts for who a server is: the system's authorities, or one that is named."""
    try:
        return ssl.create_default_context(cafile=where.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{where.ca_file}: holds no certificates that can be read ({_said(error)})") from error


def _unconnected(url: str, error: httpx.ConnectError) -> TransientError:
    said = _said(error)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return TransientError(
            f"nobody that this machine trusts vouches for {url} ({said}): name the authority's certificate with"
            " --ca-file, and look at the address: it may be somebody else"
        )
    if "SSL" in said:
        return TransientError(f"{url} does not speak TLS as we do ({said}): should the address begin with http://?")
    return TransientError(f"nobody answers at {url} ({said}): is the service running, and is --url right?")


def _said(error: Exception) -> str:
    return text.line(str(error)) or type(error).__name__
