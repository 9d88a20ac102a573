"""What an address may not hold: a token. Addresses are kept by proxies, histories and logs. Pure."""

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from litestar.exceptions import ClientException

from scripthut_outputs.access.seals import SHAPE

_NAMES = frozenset({b"token", b"access_token", b"bearer_token", b"id_token"})
_WHY = "an address is kept by proxies, histories and logs: send a token as Authorization: Bearer <token>"


class TokenInAddress(ClientException):
    """An address holds what should stay secret; the text never repeats it."""


def require_no_token(headers: Mapping[bytes, bytes], query: bytes) -> None:
    """Let an address pass that holds no token.

    Of `https://name:token@host` a client makes a header for Basic authentication, some leave it in `Host`.

    Raises:
        TokenInAddress: it does, or might.
    """
    if b"@" in headers.get(b"host", b"") or headers.get(b"authorization", b"")[:6].lower() == b"basic ":
        raise TokenInAddress(detail=f"a name and a password came with the address; {_WHY}, and make another one")
    if not query or not (b"%" in query or b"token" in query.lower() or b"sho_" in query):
        return
    for pair in query.split(b"&"):
        name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in pair.partition(b"="))
        if name.strip().lower() in _NAMES:
            raise TokenInAddress(detail=f"a token stands in the address; {_WHY}, and make another one")
        if SHAPE.search(value) or SHAPE.search(name):
            raise TokenInAddress(detail=f"a token stands in the address; {_WHY}, and revoke this one")
