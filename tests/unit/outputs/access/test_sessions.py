"""Cookies of sessions: whose, since when, under which name, and that nobody else's count."""

import hashlib
import time
from base64 import urlsafe_b64encode
from http.cookies import SimpleCookie

import pytest
from itsdangerous import URLSafeTimedSerializer

from scripthut_outputs.access.sessions import Sessions


def sessions(key: bytes = b"key", *, days: float = 1, is_secure: bool = False) -> Sessions:
    return Sessions(key, days=days, is_secure=is_secure)


def value_of(header: str) -> bytes:
    return header.partition(";")[0].partition("=")[2].encode()


def test_over_https_no_other_host_can_set_the_cookie() -> None:
    (morsel,) = SimpleCookie(sessions(is_secure=True).cookie("ada")).values()

    assert morsel.key.startswith("__Host-")
    assert (morsel["path"], morsel["domain"], bool(morsel["secure"])) == ("/", "", True)
    assert (bool(morsel["httponly"]), morsel["samesite"]) == (True, "Lax")


def test_over_http_browsers_would_refuse_that_name() -> None:
    assert not sessions().cookie_name.startswith("__Host-")


@pytest.mark.parametrize("is_secure", [True, False])
def test_the_end_of_a_session_is_said_of_the_same_cookie(is_secure: bool) -> None:  # noqa: FBT001
    ours = sessions(is_secure=is_secure)

    assert ours.removal.startswith(f"{ours.cookie_name}=;")
    assert ("; Secure" in ours.removal) is is_secure


def test_a_session_knows_to_the_fraction_of_a_second_when_it_began() -> None:
    ours, before = sessions(), time.time()
    cookie = value_of(ours.cookie("ada"))

    read = ours.read(cookie, before)

    assert read is not None
    assert read.name == "ada"
    assert before <= read.begun_at <= time.time()


def test_a_cookie_under_our_name_signed_by_another_installation_names_nobody() -> None:
    ours, theirs = sessions(b"ours"), sessions(b"theirs")
    cookies = f"{ours.cookie_name}=".encode() + value_of(theirs.cookie("ada"))

    found = ours.cookie_in(cookies)

    assert found is not None
    assert ours.read(found, time.time()) is None
    assert ours.cookie_in(theirs.cookie("ada").encode()) is None


@pytest.mark.parametrize(
    "said", ["ada", ["ada"], [1, 2.0], {"ada": 1}, ["ada", "x"], ["ada", 1.0, 2], ["ada", 1.0], None]
)
def test_what_is_signed_and_is_no_session_names_nobody(said: object) -> None:
    signer = URLSafeTimedSerializer(b"key", salt="scripthut-session", signer_kwargs={"digest_method": hashlib.sha256})

    assert sessions().read(str(signer.dumps(said)).encode(), time.time()) is None


@pytest.mark.parametrize("odd", [b"", b".", b"..", b"\xff\xfe", urlsafe_b64encode(b'["ada",1]'), b"a" * 100_000])
def test_what_is_not_signed_names_nobody(odd: bytes) -> None:
    assert sessions().read(odd, time.time()) is None


def test_a_key_for_something_else_is_another_for_each_purpose() -> None:
    ours = sessions()

    assert len({ours.key_for(b"a"), ours.key_for(b"b"), sessions(b"other").key_for(b"a"), b"key"}) == 4


def test_a_session_knows_with_which_line_it_began_and_its_cookie_does_not_tell() -> None:
    ours, line = sessions(), b"\x01" * 32
    cookie = value_of(ours.cookie("ada", line))

    read, other = ours.read(cookie, time.time()), ours.read(value_of(ours.cookie("ada")), time.time())

    assert read is not None
    assert [ours.is_begun_with(read, lines) for lines in ([], [b"\x02" * 32], [b"\x02" * 32, line])] == [
        False,
        False,
        True,
    ]
    assert other is not None
    assert ours.is_begun_with(other, [])
    theirs = sessions(b"other")
    assert theirs.read(value_of(theirs.cookie("ada", line)), time.time()).mark != read.mark  # type: ignore[union-attr]
