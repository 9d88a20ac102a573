"""Who may do what; by which names we may be called; who a cookie or token is."""

from pathlib import Path

import pytest

from scripthut_common.errors import SettingsError
from scripthut_outputs.access import Action, Actor, Role
from scripthut_outputs.access.may import may, visible
from scripthut_outputs.access.origins import is_allowed_host, is_own_origin
from scripthut_outputs.access.sessions import Sessions
from scripthut_outputs.access.tokens import Tokens, read_key
from scripthut_outputs.catalog.asked import EVERYTHING, Visible
from scripthut_outputs.catalog.views import RunHead
from tests.unit.outputs.runs import run_of

ADA = Actor(name="ada", role=Role.USER)
ROOT = Actor(name="root", role=Role.ADMIN)
OF_A_RUN = {Action.READ_RUN, Action.CANCEL_RUN, Action.COLLECT_AGAIN, Action.PIN_RUN, Action.SHARE_RUN}
OF_ADMINS = {Action.READ_METRICS, Action.ADMINISTER}
HERS: RunHead = run_of("ada")
OTHERS: RunHead = run_of("bob")


@pytest.mark.parametrize("action", list(Action))
def test_admins_may_everything(action: Action) -> None:
    assert may(ROOT, action, OTHERS)


@pytest.mark.parametrize("action", list(Action))
def test_users_may_what_is_theirs_and_what_is_nobodys(action: Action) -> None:
    assert may(ADA, action, HERS) is (action not in OF_ADMINS)
    assert may(ADA, action, OTHERS) is (action not in OF_A_RUN | OF_ADMINS)
    assert may(ADA, action) is (action not in OF_A_RUN | OF_ADMINS)


@pytest.mark.parametrize("action", list(Action))
def test_strangers_may_enter_and_no_more(action: Action) -> None:
    assert may(None, action, HERS) is (action is Action.ENTER)


def test_lists_are_of_ones_own_runs_except_for_admins() -> None:
    assert (visible(ADA), visible(ROOT)) == (Visible(owner="ada"), EVERYTHING)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "localhost:99999", "[::1]:8080", "[::1]", "127.0.0.1:1"])
def test_our_names_are_ours_on_every_port(host: str) -> None:
    assert is_allowed_host(host, {"localhost", "[::1]", "127.0.0.1"})


@pytest.mark.parametrize(
    "host",
    ["", ":80", "evil.org", "localhost.evil.org", "evil.org:localhost", "[::1].evil.org", "a@localhost", "[", "::1"],
)
def test_other_names_are_not(host: str) -> None:
    assert not is_allowed_host(host, {"localhost", "[::1]", "127.0.0.1"})


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("http://localhost:8080", "localhost:8080", True),
        ("https://outputs.example.org", "outputs.example.org", True),
        ("https://OUTPUTS.example.org", "outputs.example.org", True),
        ("http://localhost:8081", "localhost:8080", False),
        ("http://localhost", "localhost:8080", False),
        ("null", "localhost", False),
        ("", "", False),
        ("http://", "", False),
        ("http://evil.org#localhost", "localhost", False),
        ("http://localhost@evil.org", "localhost", False),
        ("http://[", "[", False),
    ],
)
def test_only_our_own_pages_have_our_origin(origin: str, host: str, is_own: bool) -> None:  # noqa: FBT001  a table's column
    assert is_own_origin(origin, host) is is_own


def sessions(key: bytes = b"key", *, days: float = 1, is_secure: bool = False) -> Sessions:
    return Sessions(key, days=days, is_secure=is_secure)


def value_of(header: str) -> bytes:
    return header.partition(";")[0].partition("=")[2].encode()


def test_a_cookie_names_whom_it_was_made_for_until_it_is_too_old() -> None:
    ours = sessions()
    cookie = value_of(ours.cookie("ada"))

    read = ours.read(cookie, 0)
    assert read is not None
    assert read.name == "ada"
    assert ours.read(cookie, 2**40) is None


def test_a_cookie_of_another_key_names_nobody() -> None:
    cookie = value_of(sessions(b"other").cookie("ada"))

    assert sessions().read(cookie, 0) is None


def test_cookies_of_two_installations_on_one_host_do_not_meet() -> None:
    assert sessions(b"one").cookie_name != sessions(b"two").cookie_name


def test_a_cookie_is_kept_from_scripts_and_from_plain_http_where_there_is_tls() -> None:
    assert "HttpOnly" in sessions().cookie("ada")
    assert "; Secure" in sessions(is_secure=True).cookie("ada")
    assert "; Secure" not in sessions().cookie("ada")
    assert "Max-Age=0" in sessions().removal


def test_the_first_start_makes_an_admin_with_a_token_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "door" / "tokens"

    made = Tokens(path)

    name, role, token = path.read_text().splitlines()[-1].split()
    assert made.first == made.actor_of(token.encode()) == Actor(name=name, role=Role.ADMIN)
    assert role == "admin"
    assert len(token) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert Tokens(path).first == made.first


def test_the_key_of_sessions_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "key"

    assert read_key(path) == read_key(path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "names nobody"),
        ("ada admin\n", "line 1"),
        ("ada boss 0123456789012345678901\n", "line 1"),
        ("ada guest 0123456789012345678901\n", "line 1"),
        ("a/b admin 0123456789012345678901\n", "line 1"),
        ("# ok\nada admin short\n", "line 2: a token has at least 20 characters"),
    ],
)
def test_a_tokens_file_with_a_fault_is_refused_by_line(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)

    with pytest.raises(SettingsError, match=fault):
        Tokens(path)


def test_a_file_that_is_being_edited_counts_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokens"
    path.write_text("ada user 0123456789012345678901\n")
    tokens = Tokens(path)
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)

    path.write_text("ada us")

    assert tokens.actor_named("ada") == ADA
