"""JSON Web Tokens: what is taken, and everything that people have tried elsewhere."""

import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from scripthut_common.errors import NotAuthenticated
from scripthut_outputs.access import jwts
from tests.unit.outputs.access.signing import AUDIENCE, ISSUER, KEY, NOW, OTHER, claims, encode, header, keys, sign

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
EXPECTED = jwts.Expected(issuer=ISSUER, audiences=frozenset({AUDIENCE}), now=NOW)


def read(token: bytes, known: jwts.Keys | None = None) -> dict[str, Any]:
    """Take a token, or say why not, as every way in does."""
    parts = jwts.take_apart(token)
    jwts.check(parts, EXPECTED)
    jwts.verify(parts, known or keys())
    return dict(parts.claims)


def with_more(said: Mapping[str, Any], more: str) -> str:
    """The JSON of an object with something in front that no writer of JSON would write."""
    return f"{{{more}, {json.dumps(said)[1:]}"


def test_a_good_token_is_taken() -> None:
    assert read(sign(claims()))["preferred_username"] == "ada"


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (KEY, "PS256"),
        (KEY, "RS512"),
        (ECKey.generate_key("P-256", {"kid": "one"}, private=True), "ES256"),
        (ECKey.generate_key("P-384", {"kid": "one"}, private=True), "ES384"),
        (OKPKey.generate_key("Ed25519", {"kid": "one"}, private=True), "EdDSA"),
    ],
)
def test_every_kind_of_signature_with_two_keys_is_taken(key: Key, alg: str) -> None:
    shown = {name: value for name, value in key.as_dict(private=False).items() if name != "alg"}

    assert read(sign(claims(), header(alg=alg), key), jwts.read_keys({"keys": [shown]}))["sub"] == "u-1"


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "HS256", "HS512", "", "RS1", "rs256", None, 5, ["RS256"]]
)
def test_a_token_chooses_no_algorithm_but_ours(alg: Any) -> None:
    signed = sign(claims(), header(alg=alg))

    for token in (signed, signed.rpartition(b".")[0] + b"."):
        with pytest.raises(NotAuthenticated, match="signed by one of"):
            read(token)


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    for secret in (KEY.as_pem(private=False), json.dumps(KEY.as_dict(private=False)).encode()):
        signed = sign(claims(), header(alg="HS256")).rpartition(b".")[0]
        token = signed + b"." + encode(hmac.digest(secret, signed, "sha256"))

        with pytest.raises(NotAuthenticated, match="signed by one of"):
            read(token)


def test_a_symmetric_key_among_an_issuers_keys_signs_nothing() -> None:
    shown = [KEY.as_dict(private=False), {"kty": "oct", "k": "c2VjcmV0", "kid": "two"}]

    with pytest.raises(NotAuthenticated, match="a key that its issuer does not have"):
        read(sign(claims(), header(kid="two")), jwts.read_keys({"keys": shown}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://elsewhere.example.org"}, "another issuer"),
        ({"iss": f"{ISSUER}/"}, "another issuer"),
        ({"iss": [ISSUER]}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "https://elsewhere.example.org"}, "somebody else"),
        ({"aud": ["a", "b"]}, "somebody else"),
        ({"aud": None}, "somebody else"),
        ({"aud": {AUDIENCE: 1}}, "somebody else"),
        ({"aud": [[AUDIENCE]]}, "somebody else"),
        ({"aud": ""}, "somebody else"),
        ({"exp": NOW - 61}, "too old"),
        ({"exp": None}, "`exp` is missing or wrong"),
        ({"exp": str(NOW + 300)}, "`exp` is missing or wrong"),
        ({"exp": True}, "`exp` is missing or wrong"),
        ({"exp": 1e300}, "`exp` is missing or wrong"),
        ({"exp": -1}, "`exp` is missing or wrong"),
        ({"nbf": NOW + 61}, "from the future"),
        ({"nbf": "soon"}, "`nbf` is missing or wrong"),
        ({"iat": NOW + 61}, "from the future"),
        ({"iat": None}, "`iat` is missing or wrong"),
        ({"sub": None}, "`sub` is missing or wrong"),
        ({"sub": ""}, "`sub` is missing or wrong"),
        ({"sub": 5}, "`sub` is missing or wrong"),
        ({"sub": "a\0b"}, "`sub` is missing or wrong"),
        ({"sub": "u" * 256}, "`sub` is missing or wrong"),
    ],
)
def test_a_token_that_is_not_for_us_or_not_of_now_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotAuthenticated, match=reason):
        read(sign(claims(**changes)))


@pytest.mark.parametrize("changes", [{"exp": NOW - 59}, {"nbf": NOW + 59}, {"iat": NOW + 59}, {"aud": ["x", AUDIENCE]}])
def test_clocks_may_differ_by_a_minute_and_a_token_be_for_several(changes: dict[str, Any]) -> None:
    assert read(sign(claims(**changes)))["sub"] == "u-1"


def test_another_key_by_the_same_name_is_another_key() -> None:
    with pytest.raises(NotAuthenticated, match="not signed by its issuer"):
        read(sign(claims(), key=OTHER))


def test_what_was_changed_after_signing_is_refused() -> None:
    head, _, signature = sign(claims()).split(b".")

    with pytest.raises(NotAuthenticated, match="not signed by its issuer"):
        read(b".".join((head, encode(json.dumps(claims(sub="u-2")).encode()), signature)))


@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "https://evil.example.org/key", "file:///etc/passwd", "' OR 1=1 --", "a\0b", "", "🔑"],
)
def test_a_key_is_looked_up_among_the_issuers_and_nowhere_else(kid: str) -> None:
    with pytest.raises(NotAuthenticated, match="a key that its issuer does not have"):
        read(sign(claims(), header(kid=kid)))


@pytest.mark.parametrize("kid", [5, ["one"], {"a": "one"}, True])
def test_a_key_is_named_by_text(kid: Any) -> None:
    with pytest.raises(NotAuthenticated):
        read(sign(claims(), header(kid=kid)))


def test_without_a_name_the_only_key_that_fits_is_taken() -> None:
    elliptic = ECKey.generate_key("P-256", {"kid": "two"}, private=True)
    token = sign(claims(), header(kid=None))

    assert read(token, keys(KEY, elliptic))["sub"] == "u-1"
    with pytest.raises(NotAuthenticated, match="does not say which key"):
        read(token, jwts.read_keys({"keys": [KEY.as_dict(private=False), OTHER.as_dict(private=False) | {"kid": "2"}]}))


@pytest.mark.parametrize(
    "brought",
    [
        {"jwk": OTHER.as_dict(private=False)},
        {"jku": "https://evil.example.org/keys"},
        {"x5u": "https://evil.example.org/certificate"},
        {"x5c": ["MIIB"]},
    ],
)
def test_a_key_that_a_token_brings_along_is_not_looked_at(brought: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated, match="not signed by its issuer"):
        read(sign(claims(), header(**brought), OTHER))
    assert read(sign(claims(), header(**brought)))["sub"] == "u-1"


@pytest.mark.parametrize("extension", [{"crit": ["exp"]}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": True}])
def test_an_extension_is_refused(extension: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated, match="an extension"):
        read(sign(claims(), header(**extension)))


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", 5])
def test_a_token_of_another_kind_is_refused(kind: Any) -> None:
    with pytest.raises(NotAuthenticated, match="not made to say who asks"):
        read(sign(claims(), header(typ=kind)))


def test_a_huge_token_is_refused_before_it_is_read() -> None:
    with pytest.raises(NotAuthenticated, match="16384 are read"):
        read(sign(claims(padding="x" * 20_000)))


@pytest.mark.parametrize("deep", ["[" * 1100 + "]" * 1100, '{"a":' * 1100 + "1" + "}" * 1100, "[" * 1100])
def test_what_is_nested_deeply_is_refused(deep: str) -> None:
    with pytest.raises(NotAuthenticated, match="no JWT"):
        read(sign(with_more(claims(), f'"x": {deep}')))
    with pytest.raises(NotAuthenticated, match="no JWT"):
        read(sign(claims(), with_more(header(), f'"x": {deep}')))


@pytest.mark.parametrize(
    "more",
    [
        '"iss": "https://evil.example.org"',
        '"alg": "none"',
        '"a": {"b": 1, "b": 2}',
        '"x": NaN',
        '"x": -Infinity',
        f'"x": 1{"0" * 5000}',
        "5: 6",
        "",
    ],
)
def test_json_that_others_may_read_otherwise_is_refused(more: str) -> None:
    doubled = with_more(claims(alg="none"), more)

    assert read(sign(with_more(claims(), '"x": 5')))["x"] == 5
    with pytest.raises(NotAuthenticated, match="no JWT"):
        read(sign(doubled))
    with pytest.raises(NotAuthenticated, match="no JWT"):
        read(sign(claims(), with_more({**header(), "iss": ISSUER}, more)))


@pytest.mark.parametrize("whole", ["[]", '"text"', "null", "", "{", "5", '{"a": 1} more', "\ufeff{}"])
def test_claims_and_headers_are_objects(whole: str) -> None:
    with pytest.raises(NotAuthenticated, match="no JWT"):
        read(sign(whole))
    with pytest.raises(NotAuthenticated, match="no JWT"):
        read(sign(claims(), whole))


@pytest.mark.parametrize(
    "token",
    [b"", b".", b"..", b"a.b", b"eyJ.eyJ.a.b.c", b"eyJ .eyJ.a", b"eyJ+.eyJ/.a", b"eyJ.eyJ.\xff", b"eyJ\n.eyJ.a"],
)
def test_what_is_no_token_is_refused(token: bytes) -> None:
    with pytest.raises(NotAuthenticated):
        read(token)


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=200))
def test_whatever_comes_is_refused_in_words(head: bytes, body: bytes, signature: bytes) -> None:
    with pytest.raises(NotAuthenticated):
        read(b".".join(map(encode, (head, body, signature))))


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"keys": {}},
        {"keys": []},
        {"keys": [None, 5, {"kty": "RSA"}, {"kty": "new"}]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": [KEY.as_dict(private=False) | {"use": "enc"}]},
        {"keys": [KEY.as_dict(private=False) | {"kid": 5}]},
        {"keys": [KEY.as_dict(private=False)] * 101},
    ],
)
def test_a_key_set_without_a_key_of_use_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match="it "):
        jwts.read_keys(said)


def test_a_signature_is_looked_at_once_and_again_when_the_keys_are_others() -> None:
    verifier, parts, known = jwts.Verifier(), jwts.take_apart(sign(claims())), keys()
    verifier.verify(parts, known)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(jwts, "verify")
        verifier.verify(parts, known)

    with pytest.raises(NotAuthenticated, match="not signed by its issuer"):
        verifier.verify(jwts.take_apart(sign(claims(), key=OTHER)), known)
    with pytest.raises(NotAuthenticated, match="not signed by its issuer"):
        verifier.verify(parts, keys(OTHER))


def test_a_weak_key_is_left_out() -> None:
    weak = RSAKey.generate_key(1024, {"kid": "weak"}, private=True)

    with pytest.raises(ValueError, match="no public key of a kind that is taken here"):
        keys(weak)
    with pytest.raises(NotAuthenticated, match="a key that its issuer does not have"):
        read(sign(claims(), header(kid="weak"), weak), keys(KEY, weak))


def test_a_key_of_one_algorithm_checks_no_other() -> None:
    with pytest.raises(NotAuthenticated, match="a key that its issuer does not have"):
        read(sign(claims(), header(alg="PS256")), keys(KEY, alg="RS256"))
