"""The access file: the examples are right, and what would let strangers in is refused at the start."""

import re
from pathlib import Path
from typing import Any

import pytest

from scripthut_common.errors import SettingsError
from scripthut_outputs.access.policy import Oidc, Policy, Proxy, is_private_way, read
from tests.testbed.authorities import authority

ROOT = Path(__file__).parents[4]
OIDC = '[oidc]\nissuer = "https://login.example.org"\nclient_id = "scripthut"\n'
PROXY = '[proxy]\naddresses = ["127.0.0.1/32"]\n'
SECRET = 'secret_file = "{folder}/secret"\n'
ASSERTION = """assertion_header = "x-assertion"
assertion_keys_url = "https://proxy.example.org/keys"
assertion_issuer = "https://proxy.example.org"
assertion_audience = "us"
"""


def read_text(folder: Path, text: str) -> Policy:
    """Read an access file whose secrets are there."""
    (folder / "secret").write_text("a secret of some length\n")
    path = folder / "access.toml"
    path.write_text(text.replace("{folder}", str(folder)))
    return read(path)


def shown(text: str) -> str:
    """An example as on a machine that has its secrets."""
    return re.sub(r'_file = "/etc/scripthut/[\w-]+"', '_file = "{folder}/secret"', text)


def pages() -> list[str]:
    """The access files that the page for operators shows."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", (ROOT / "docs/operators.md").read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "[oidc]" in block or "[proxy]" in block]


def test_the_example_is_right_and_names_every_setting(tmp_path: Path) -> None:
    text = (ROOT / "deploy/access.toml.example").read_text()

    found = read_text(tmp_path, shown(text))

    assert found.oidc is not None
    assert found.proxy is not None
    assert found.quotas.bytes_of == {"ben": 2_000_000_000_000}
    for name in Policy.__struct_fields__ + Oidc.__struct_fields__:
        assert re.search(rf"^(# )?\[?{name}\b", text, re.MULTILINE), name


@pytest.mark.parametrize("text", pages())
def test_the_examples_for_operators_are_right(tmp_path: Path, text: str) -> None:
    read_text(tmp_path, shown(text))


def test_operators_are_told_of_every_setting() -> None:
    told = (ROOT / "docs/operators.md").read_text()

    assert len(pages()) == 4
    for name in Oidc.__struct_fields__ + Proxy.__struct_fields__:
        assert f"`{name}`" in told, name


@pytest.mark.parametrize(
    "text",
    ["", OIDC, PROXY + SECRET, PROXY + ASSERTION, PROXY + SECRET + ASSERTION, OIDC + 'ca_file = "{folder}/tls.pem"'],
)
def test_what_is_whole_is_read(tmp_path: Path, text: str) -> None:
    authority(tmp_path)

    read_text(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (PROXY, "access.proxy: needs `secret_file` or `assertion_header`"),
        ("[proxy]\naddresses = []\n" + SECRET, "access.proxy.addresses: name at least one"),
        ('[proxy]\naddresses = ["localhost"]\n' + SECRET, "access.proxy.addresses: 'localhost' does not appear to be"),
        ('[proxy]\naddresses = ["127.0.0.1/8"]\n' + SECRET, "access.proxy.addresses: 127.0.0.1/8 has host bits set"),
        (PROXY + 'secret_file = "{folder}/none"', "access.proxy.secret_file: .*No such file"),
        (PROXY + 'secret_file = "{folder}/access.toml"', "a secret is one line of at least 20 ASCII characters"),
        (PROXY + 'assertion_header = "x-assertion"', "access.proxy.assertion_keys_url: goes with"),
        (PROXY + ASSERTION + 'groups_header = "x-groups"', "access.proxy.groups_header: goes with `secret_file`"),
        (PROXY + 'assertion_header = "x-assertion"', "access.proxy.assertion_audience: goes with"),
        (PROXY + SECRET + 'assertion_issuer = "https://x.example.org"', "access.proxy.assertion_issuer: goes with"),
        (PROXY + ASSERTION.replace("https://proxy.example.org/keys", "http://proxy.example.org/keys"), "is not https"),
        (PROXY + SECRET + 'name_header = "x forwarded"', "access.proxy.name_header: 'x forwarded' cannot be"),
        (PROXY + SECRET + 'name_header = "x_user"', "access.proxy.name_header: 'x_user' cannot be"),
        (PROXY + SECRET + 'name_header = "Cookie"', "access.proxy.name_header: 'Cookie' cannot be"),
        (PROXY + SECRET + 'groups_header = "X-Forwarded-User"', "'X-Forwarded-User' is used twice"),
        (PROXY + SECRET + "shares_name = true", "access.proxy.shares_name is no setting"),
        ("administrators = []", "access.administrators is no setting"),
        (OIDC.replace("https", "http"), "access.oidc.issuer: http://login.example.org is not https"),
        (OIDC + 'scopes = ["profile"]', "access.oidc.scopes: `openid` must be"),
        (OIDC + 'client_secret_file = "{folder}/none"', "access.oidc.client_secret_file: .*No such file"),
        (OIDC + 'ca_file = "{folder}/secret"', "access.oidc.ca_file: .*no certificates can be read"),
        (OIDC + 'ca_file = "{folder}/none"', "access.oidc.ca_file: .*no certificates can be read"),
        (OIDC.replace("https://", ""), "access.oidc.issuer: login.example.org is not https"),
        ("[oidc]\nissuer = 5\n", "access.oidc.issuer: Expected `str`.*\n.*access.oidc.client_id is missing"),
        ('oidc = "https://login.example.org"', "access.oidc: must be a table"),
    ],
)
def test_what_would_let_strangers_in_or_nobody_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        read_text(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read_text(tmp_path, OIDC.replace("https", "http") + PROXY)

    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("url", "is_private"),
    [
        ("https://login.example.org", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://[::1]/", True),
        ("http://localhost/", True),
        ("http://localhost.example.org/", False),
        ("http://127.0.0.1.example.org/", False),
        ("http://127.0.0.1@example.org/", False),
        ("http://10.0.0.1/", False),
        ("https://", False),
        ("ftp://127.0.0.1/", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_only_this_machine_is_asked_without_tls(*, url: str, is_private: Any) -> None:
    assert is_private_way(url) is is_private
