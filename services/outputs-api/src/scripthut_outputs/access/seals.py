"""Personal tokens as text: random, with a mark by which this installation knows its own without asking anybody.

sho_<32 random bytes and 16 bytes of mark, as 64 characters of URL-safe base64>
"""

import binascii
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

PREFIX = "sho_"
SHAPE = re.compile(rb"sho_[A-Za-z0-9_-]{64}")
_RANDOM_BYTES = 32
_MARK_BYTES = 16


class Seal:
    """Makes tokens and tells them from guesses: a guess costs a hash, no memory and no query.

    Args:
        key: makes the marks; with another one all tokens made before are strangers.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self) -> str:
        """Make a token that nobody can guess."""
        secret = secrets.token_bytes(_RANDOM_BYTES)
        return PREFIX + urlsafe_b64encode(secret + self._mark(secret)).decode("ascii")

    def is_ours(self, token: bytes) -> bool:
        """Answer whether a token was made here, some time."""
        if not SHAPE.fullmatch(token):
            return False
        try:
            whole = urlsafe_b64decode(token[len(PREFIX) :])
        except binascii.Error:
            return False
        secret, mark = whole[:_RANDOM_BYTES], whole[_RANDOM_BYTES:]
        return hmac.compare_digest(mark, self._mark(secret))

    def _mark(self, secret: bytes) -> bytes:
        return hmac.digest(self._key, secret, "sha256")[:_MARK_BYTES]
