"""JSON Web Tokens of an OpenID provider or a proxy: taken apart, held against public keys, or refused. Pure.

Whoever signs decides neither how nor with which key: the algorithm is one of ours, the key one of the issuer's, and
what a token says of either besides (`jku`, `x5u`, `jwk`) is not looked at.

Source: RFC 7515, 7517, 7519; RFC 8725 on what goes wrong.
"""

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from scripthut_common.errors import NotAuthenticated

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
MAX_TOKEN_BYTES = 16 * 1024
LEEWAY_S = 60.0
"""So much may a clock of theirs differ from ours."""

_JWT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_MIN_RSA_BITS = 2048
_MAX_KEYS = 100
_MAX_BRACKETS = 1000
_REMEMBERED = 4096
_MAX_SUBJECT_CHARACTERS = 255
_NOT_ONE = "this is no JWT that is taken here"


class _Registry(jws.JWSRegistry):
    # What is too long was refused before.
    max_header_length = MAX_TOKEN_BYTES


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys of an issuer, by the ids that it gave them; `None` where it gave none."""

    by_id: Mapping[str | None, Sequence[Key]]

    def has(self, kid: str | None) -> bool:
        """Whether a token that names this key can be checked; one that names none always may try."""
        return kid is None or kid in self.by_id


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was taken apart. Nobody vouches for what it says until `verify`."""

    token: bytes
    alg: str
    kid: str | None
    claims: Mapping[str, Any]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a token must say of itself.

    Args:
        issuer: who made it.
        audiences: one of them must be among those whom it is for.
        now: epoch seconds.
    """

    issuer: str
    audiences: frozenset[str]
    now: float


def is_one(token: bytes) -> bool:
    """Whether something looks like a signed JWT, whatever it says."""
    return token.startswith(b"eyJ") and token.count(b".") == 2


def read_keys(said: object) -> Keys:
    """Read a key set (RFC 7517); what cannot check a signature of ours is left out.

    Raises:
        ValueError: it is none, or has no key of use.
    """
    listed = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
        raise ValueError("it is no set of keys")
    by_id: dict[str | None, list[Key]] = {}
    for one in listed:
        key = _key(one)
        if key is not None:
            by_id.setdefault(one.get("kid"), []).append(key)
    if not by_id:
        raise ValueError("it has no public key of a kind that is taken here (RSA of 2048 bits or more, EC, Ed25519)")
    return Keys(by_id=by_id)


def take_apart(token: bytes) -> Parts:
    """Read what a token says, believing nothing.

    Raises:
        NotAuthenticated: it is none, too large, or of a kind that is never taken.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise NotAuthenticated(f"this token has {len(token)} bytes; up to {MAX_TOKEN_BYTES} are read")
    if not _JWT.fullmatch(token):
        raise NotAuthenticated(_NOT_ONE)
    head, body, _ = token.split(b".")
    header = _object(head)
    alg, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise NotAuthenticated(f"a token must be signed by one of {', '.join(sorted(ALGORITHMS))}")
    if "crit" in header or "b64" in header:
        raise NotAuthenticated("this token asks for an extension that is not known here")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise NotAuthenticated("this token is not made to say who asks")
    if kid is not None and not isinstance(kid, str):
        raise NotAuthenticated(_NOT_ONE)
    return Parts(token=token, alg=alg, kid=kid, claims=_object(body))


def check(parts: Parts, expected: Expected) -> None:
    """Hold what a token says of itself against what is wanted.

    Raises:
        NotAuthenticated: it is somebody else's, for somebody else, or not of now.
    """
    claims = parts.claims
    if claims.get("iss") != expected.issuer:
        raise NotAuthenticated("this token is of another issuer")
    if not expected.audiences & set(_audiences(claims.get("aud"))):
        raise NotAuthenticated("this token is for somebody else: its `aud` is none of ours")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_CHARACTERS or "\0" in subject:
        raise NotAuthenticated("this token does not say whom it is about: its `sub` is missing or wrong")
    ends, made = _time(claims, "exp"), _time(claims, "iat")
    begins = _time(claims, "nbf") if "nbf" in claims else made
    if expected.now >= ends + LEEWAY_S:
        raise NotAuthenticated("this token is too old: ask its issuer for a new one")
    if expected.now < max(begins, made) - LEEWAY_S:
        raise NotAuthenticated("this token is from the future: the clocks of its issuer and of this service differ")


def verify(parts: Parts, keys: Keys) -> None:
    """Hold a token's signature against its issuer's keys.

    Raises:
        NotAuthenticated: none of them signed it.
    """
    registry = _Registry(algorithms=[parts.alg], strict_check_header=False)
    key = _fitting(parts, keys)
    try:
        jws.deserialize_compact(parts.token, key, registry=registry)
    except (JoseError, ValueError) as error:
        raise NotAuthenticated("this token is not signed by its issuer") from error


class Verifier:
    """Holds tokens against keys, each token once as long as the keys are the same."""

    def __init__(self) -> None:
        self._keys: Keys | None = None
        self._right: set[bytes] = set()

    def verify(self, parts: Parts, keys: Keys) -> None:
        """Hold a token's signature against its issuer's keys.

        Raises:
            NotAuthenticated: none of them signed it.
        """
        if keys is not self._keys or len(self._right) >= _REMEMBERED:
            self._keys = keys
            self._right.clear()
        digest = hashlib.sha256(parts.token).digest()
        if digest not in self._right:
            verify(parts, keys)
            self._right.add(digest)


def made_at(claims: Mapping[str, Any]) -> float:
    """When a token was made, in epoch seconds."""
    return _time(claims, "iat")


def parse(document: bytes) -> Any:
    """Read JSON in which every name stands once and every number is one.

    Raises:
        ValueError: it is not so, or nested too deeply.
    """
    if document.count(b"[") + document.count(b"{") > _MAX_BRACKETS:
        raise ValueError("it is nested too deeply, or of too many parts")
    try:
        return json.loads(document.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _fitting(parts: Parts, keys: Keys) -> Key:
    """The one key that may have signed."""
    if parts.kid is not None:
        named = keys.by_id.get(parts.kid, ())
    else:
        named = [key for group in keys.by_id.values() for key in group]
    fitting = [key for key in named if _fits(key, parts.alg)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise NotAuthenticated("this token names a key that its issuer does not have")
    raise NotAuthenticated("this token does not say which key of its issuer signed it")


def _fits(key: Key, alg: str) -> bool:
    if key.get("alg", alg) != alg:
        return False
    match key:
        case RSAKey():
            return alg[:2] in {"RS", "PS"}
        case ECKey():
            return alg == {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}.get(key.curve_name)
        case OKPKey():
            return alg in {"EdDSA", "Ed25519"}
        case _:
            return False


def _key(said: object) -> Key | None:
    if not isinstance(said, dict) or said.get("kty") not in {"RSA", "EC", "OKP"} or said.get("use", "sig") != "sig":
        return None
    if not isinstance(said.get("kid", ""), str):
        return None
    try:
        key = JWKRegistry.import_key({name: value for name, value in said.items() if name not in {"x5u", "x5c"}})
        if isinstance(key, RSAKey) and key.public_key.key_size < _MIN_RSA_BITS:
            return None
        if isinstance(key, OKPKey) and key.curve_name != "Ed25519":
            return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key


def _object(part: bytes) -> Mapping[str, Any]:
    try:
        said = parse(base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise NotAuthenticated(_NOT_ONE) from error
    if not isinstance(said, dict):
        raise NotAuthenticated(_NOT_ONE)
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _audiences(said: object) -> list[str]:
    if isinstance(said, str):
        return [said]
    return [one for one in said if isinstance(one, str)] if isinstance(said, list) else []


def _time(claims: Mapping[str, Any], name: str) -> float:
    said = claims.get(name)
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said < 2**40 or not math.isfinite(said):
        raise NotAuthenticated(f"this token does not say when it counts: its `{name}` is missing or wrong")
    return float(said)
