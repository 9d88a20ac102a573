"""What an address may not hold: a token. Addresses are kept by proxies, histories and logs. Pure."""

import re
from urllib.parse import unquote_to_bytes

from litestar.exceptions import ClientException

from scripthut_outputs.access.seals import SHAPE

_NAMES = frozenset({b"token", b"access_token", b"bearer_token", b"id_token"})
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/]*@")
_WHY = "an address is kept by proxies, histories and logs: send a token as Authorization: Bearer <token>"


class TokenInAddress(ClientException):
    """An address holds what should stay secret; the text never repeats it."""


def require_no_token(host: bytes, raw_path: bytes, query: bytes) -> None:
    """Let an address pass that holds no token.

    Raises:
        TokenInAddress: it does, or might.
    """
    if b"@" in host or _AUTHORITY.match(raw_path):
        raise TokenInAddress(detail=f"a name or password stands before the host; {_WHY}, and make another one")
    if not query or not (b"%" in query or b"token" in query.lower() or b"sho_" in query):
        return
    for pair in query.split(b"&"):
        name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in pair.partition(b"="))
        if name.strip().lower() in _NAMES:
            raise TokenInAddress(detail=f"a token stands in the address; {_WHY}, and make another one")
        if SHAPE.search(value) or SHAPE.search(name):
            raise TokenInAddress(detail=f"a token stands in the address; {_WHY}, and revoke this one")
