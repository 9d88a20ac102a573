"""Tokens as an issuer would make them, and as nobody should."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.jwk import Key, RSAKey

from scripthut_outputs.access.jwts import ALGORITHMS, Keys, read_keys

NOW = 1_800_000_000.0
ISSUER = "https://login.example.org"
AUDIENCE = "https://outputs.example.org"
KEY = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256", "use": "sig"}, private=True)
OTHER = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256", "use": "sig"}, private=True)


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says; a claim of `None` is left out."""
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "u-1",
        "iat": NOW - 10,
        "exp": NOW + 300,
        "preferred_username": "ada",
    } | changes
    return {name: value for name, value in said.items() if value is not None}


def header(**changes: Any) -> dict[str, Any]:
    """What its header says; a parameter of `None` is left out."""
    said = {"alg": "RS256", "kid": "one", "typ": "JWT"} | changes
    return {name: value for name, value in said.items() if value is not None}


def sign(said: Mapping[str, Any] | str, head: Mapping[str, Any] | str | None = None, key: Key = KEY) -> bytes:
    """Sign anything, text as it stands, whatever it says."""
    asked = header() if head is None else head
    payload = said if isinstance(said, str) else json.dumps(said)
    protected = asked if isinstance(asked, str) else json.dumps(asked)
    alg = asked.get("alg") if isinstance(asked, Mapping) else None
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        alg = "RS256"
    signed = b".".join(map(encode, (protected.encode(), payload.encode())))
    return signed + b"." + encode(jws.JWSRegistry(algorithms=[alg]).get_alg(alg).sign(signed, key))


def encode(raw: bytes) -> bytes:
    """Base64 as JOSE has it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def keys(*given: Key, **changes: Any) -> Keys:
    """The key set that an issuer shows of its keys."""
    return read_keys({"keys": [{**key.as_dict(private=False), **changes} for key in given or (KEY,)]})
