"""How a provider is asked over HTTP: bounded in time and bytes, following nobody's redirects."""

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote_plus

import httpx
import msgspec

from scripthut_common import text
from scripthut_common.errors import SettingsError, TimedOut, TransientError

from . import jwts

_MAX_BYTES = 512 * 1024
_TIMEOUT_S = 10.0


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in JSON."""

    status: int
    document: Mapping[str, Any]


class Asking:
    """Asks one provider.

    Args:
        ca_file: whom to trust besides the system's authorities.
        timeout_s: for a whole answer.

    Raises:
        SettingsError: the file cannot be read.
    """

    def __init__(self, ca_file: str | None = None, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._tls = trusting(ca_file)
        self._ca_file = ca_file
        self._timeout_s = timeout_s

    async def get(self, url: str, *, bearer: str | None = None) -> Mapping[str, Any]:
        """Read a JSON object.

        Raises:
            TransientError: it was not to be had; says of which address, and why.
        """
        headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
        said = await self._ask("GET", url, headers=headers)
        if said.status != 200:
            raise TransientError(f"{url} answers {said.status} instead of what is asked for")
        return said.document

    async def post(self, url: str, form: Mapping[str, str], login: tuple[str, str] | None = None) -> Said:
        """Send a form; `login` goes into the header, as RFC 6749 section 2.3.1 has it.

        Raises:
            TransientError: no answer came, or none in JSON.
        """
        auth = None if login is None else httpx.BasicAuth(quote_plus(login[0]), quote_plus(login[1]))
        return await self._ask("POST", url, data=dict(form), auth=auth)

    async def _ask(self, method: str, url: str, **sent: Any) -> Said:
        try:
            async with asyncio.timeout(self._timeout_s):
                status, body = await self._answer(method, url, **sent)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise TimedOut(f"{url} did not answer within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransientError(self._unreached(url, error)) from error
        try:
            document = jwts.parse(body)
        except ValueError as error:
            raise TransientError(f"{url} answers {status}, with something that is not JSON") from error
        if not isinstance(document, dict):
            raise TransientError(f"{url} answers {status}, with something that is no JSON object")
        return Said(status=status, document=document)

    async def _answer(self, method: str, url: str, **sent: Any) -> tuple[int, bytes]:
        sent["headers"] = {"accept": "application/json", **sent.get("headers", {})}
        async with (
            httpx.AsyncClient(verify=self._tls, timeout=self._timeout_s) as client,
            client.stream(method, url, **sent) as answer,
        ):
            body = bytearray()
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _MAX_BYTES:
                    raise TransientError(f"{url} answers with more than {_MAX_BYTES // 1024} KiB")
            return answer.status_code, bytes(body)

    def _unreached(self, url: str, error: Exception) -> str:
        reason = text.line(str(error)) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" not in reason:
            return f"{url} cannot be reached: {reason}"
        trusted = f"nobody in {self._ca_file} nor" if self._ca_file else "none of"
        return (
            f"{url} shows a certificate that {trusted} the system's authorities vouches for;"
            f" the access file's `ca_file` names further ones ({reason})"
        )


@cache
def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Trust the system's authorities and those of a file.

    Raises:
        SettingsError: the file cannot be read.
    """
    context = ssl.create_default_context()
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{ca_file}: no certificates can be read from it ({error})") from error
    return context
