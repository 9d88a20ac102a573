"""The service and the token are found, and a token is never told."""

from pathlib import Path

import pytest

from scripthut_common.errors import SettingsError
from scripthut_outputs.client import where
from scripthut_outputs.client.where import Where

SECRET = "secret-token-0123456789"


def find(environ: dict[str, str], **options: str) -> Where:
    given = dict.fromkeys(("url", "token_file", "actor", "ca_file")) | options
    return where.find(environ, **given)


def test_options_go_before_variables_and_those_before_what_make_run_listens_on(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    environ = {"SCRIPTHUT_URL": "https://a.example/base/", "SCRIPTHUT_TOKEN": "other-token"}

    named = find(environ, url="https://b.example", token_file=str(file))
    from_variables = find(environ)

    assert (named.url, named.token) == ("https://b.example", SECRET)
    assert (from_variables.url, from_variables.token) == ("https://a.example/base", "other-token")
    assert (find({}).url, find({}).token) == ("http://127.0.0.1:8470", None)


@pytest.mark.parametrize(
    ("written", "actor", "token"),
    [
        (SECRET, None, SECRET),
        (f"# mine\n\n{SECRET}\n", None, SECRET),
        (f"# people\nada admin {SECRET}\nbob user bobs-token\n", None, SECRET),
        (f"ada admin {SECRET}\nbob user bobs-token\n", "bob", "bobs-token"),
    ],
)
def test_a_file_holds_a_token_alone_or_the_services_own_lines(
    tmp_path: Path, written: str, actor: str | None, token: str
) -> None:
    file = tmp_path / "tokens"
    file.write_text(written)

    found = find({"SCRIPTHUT_TOKEN_FILE": str(file)}, **({"actor": actor} if actor else {}))

    assert found.token == token
    assert token not in repr(found)


@pytest.mark.parametrize(
    "written",
    ["", "# nothing\n", f"two {SECRET}\n", f"{SECRET}\n{SECRET}x\n", f"{SECRET}é\n", f"ada \x00 {SECRET}\x07\n"],
)
def test_a_file_that_holds_none_is_named_and_nothing_of_it_told(tmp_path: Path, written: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(written)

    with pytest.raises(SettingsError) as refused:
        find({}, token_file=str(file))

    assert str(file) in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *("", "ftp://a.example", "a.example:80", "http://", "https://a.example/?q=1", "https://a.example/#x"),
        *("http://ada:secret@a.example", "http://a.example:eighty", "http://a.exam\nple", "file:///etc/passwd"),
    ],
)
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        where.require_url(url)

    assert "secret" not in str(refused.value)
