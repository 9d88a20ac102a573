"""People behind a reverse proxy: known by its word, and by nobody else's."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from scripthut_outputs import app
from scripthut_outputs.access.addresses import Addresses
from scripthut_outputs.access.policy import Oidc, Policy, Proxy
from tests.integration.outputs.house import ORIGIN, TOKENS, House, ended
from tests.testbed.oidc import Lying, lying
from tests.unit.outputs.access.signing import AUDIENCE, KEY, OTHER, header, sign

SECRET = "a secret that the proxy shares with us"
NAME, MARK = "x-forwarded-user", "x-scripthut-proxy-secret"
Headers = list[tuple[str, str | bytes]]
GRACE: Headers = [(NAME, "grace"), (MARK, SECRET)]


@pytest.fixture
def secret_file(house: House, tmp_path: Path) -> str:
    """The secret of a proxy on this machine that the access file names."""
    path = tmp_path / "proxy-secret"
    path.write_text(f"{SECRET}\n")
    use(house, secret_file=str(path))
    return str(path)


def use(house: House, **changes: Any) -> None:
    """Let the access file name a proxy."""
    house.policy = Policy(proxy=Proxy(**{"addresses": ("127.0.0.0/8", "fd00::/8"), **changes}))


async def ask(
    house: House, headers: Headers, path: str = "/runs", *, peer: str = "127.0.0.1", method: str = "GET"
) -> httpx.Response:
    transport = httpx.ASGITransport(cast("Any", house.app), client=(peer, 1234))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        return await client.request(method, path, headers=cast("Any", headers))


async def asserted(liar: Lying, **changes: Any) -> str:
    now = time.time()
    said = {"iss": liar.issuer, "aud": AUDIENCE, "sub": "u1", "iat": now, "exp": now + 60, "email": "grace@example.org"}
    return sign(said | changes).decode()


@pytest.fixture
def liar(house: House) -> Iterator[Lying]:
    """Where the keys of a proxy are that signs its word."""
    with lying({"keys": [KEY.as_dict(private=False)]}) as found:
        house.policy = Policy(
            proxy=Proxy(
                addresses=("127.0.0.1/32",),
                assertion_header="Cf-Access-Jwt-Assertion",
                assertion_keys_url=f"{found.issuer}/jwks",
                assertion_issuer=found.issuer,
                assertion_audience=AUDIENCE,
            )
        )
        yield found


async def test_a_proxy_says_who_asks(house: House, secret_file: str) -> None:
    await house.apply(ended(owner="grace"))

    answer = await ask(house, GRACE)

    assert [run["run_id"] for run in answer.json()["runs"]] == ["r1"]
    assert [tuple(row) for row in await house.rows("SELECT name, issuer, subject FROM outputs.identities")] == [
        ("grace", "proxy", "grace")
    ]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.255.0.1", "::ffff:127.0.0.1", "fd00::1", "fd12:3456::1"])
async def test_its_networks_are_of_both_kinds(house: House, secret_file: str, peer: str) -> None:
    assert (await ask(house, GRACE, peer=peer)).status_code == 200


@pytest.mark.parametrize(
    "peer",
    ["10.0.0.1", "128.0.0.1", "::1", "fe80::1", "::ffff:10.0.0.1", "", "127.0.0.1.evil.org", "unix:", "localhost"],
)
async def test_from_elsewhere_its_headers_count_as_nothing(house: House, secret_file: str, peer: str) -> None:
    forwarded: Headers = [("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1"), ("forwarded", "for=127.0.0.1")]

    assert (await ask(house, GRACE + forwarded, peer=peer)).status_code == 401
    ada: Headers = [("authorization", f"Bearer {TOKENS['ada']}")]
    assert (await ask(house, GRACE + ada, peer=peer)).status_code == 200
    assert await house.rows("SELECT * FROM outputs.identities") == []


@pytest.mark.parametrize("shown", ["", "wrong", SECRET[:-1], f"{SECRET}x", SECRET.upper(), None, "é".encode("latin-1")])
async def test_without_its_secret_nobody_is_named(house: House, secret_file: str, shown: str | bytes | None) -> None:
    headers: Headers = [(NAME, "root")] if shown is None else [(NAME, "root"), (MARK, shown)]

    with capture_logs() as logs:
        answer = await ask(house, headers)

    assert answer.status_code == 401
    assert "without the secret" in answer.json()["detail"]
    assert [line["address"] for line in logs if line["event"] == "proxy_refused"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    "more",
    [[(NAME, "root")], [(NAME.upper(), "root")], [(MARK, SECRET)], [("x-groups", "a"), ("x-groups", "wheel")]],
)
async def test_headers_that_come_twice_are_refused(house: House, secret_file: str, more: Headers) -> None:
    use(house, secret_file=secret_file, groups_header="x-groups")

    for headers in (GRACE + more, more + GRACE):
        answer = await ask(house, headers)
        assert answer.status_code == 401
        assert "come twice" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["x_forwarded_user", "x-forwarded_user", "x-forwarded-user ", "xforwardeduser"])
async def test_a_header_by_another_name_is_another_header(house: House, secret_file: str, name: str) -> None:
    assert (await ask(house, [(name, "root"), (MARK, SECRET)])).status_code == 401
    answer = await ask(house, [*GRACE, (name, "root")])
    assert answer.status_code == 200
    assert [row.name for row in await house.rows("SELECT name FROM outputs.identities")] == ["grace"]


async def test_an_empty_name_is_nobodys(house: House, secret_file: str) -> None:
    cookie = house.session("ada")

    assert (await ask(house, [(NAME, ""), (MARK, SECRET)])).status_code == 401
    assert (await ask(house, [(NAME, ""), (MARK, SECRET), ("cookie", cookie)])).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "ad\u00e9".encode(),
        "ad\u00e9".encode("latin-1"),
        b"a b",
        b"ada,root",
        b"(null)",
        b"../x",
        b"a\tb",
        b"x" * 129,
        b"-",
    ],
)
async def test_a_name_that_nobody_may_have_is_refused(house: House, secret_file: str, name: bytes) -> None:
    answer = await ask(house, [(NAME, name), (MARK, SECRET)])

    assert answer.status_code == 401
    assert "names here are up to 128" in answer.json()["detail"]
    assert await house.rows("SELECT * FROM outputs.identities") == []


async def test_what_it_forgets_to_prove_is_not_helped_out_by_a_cookie(house: House, secret_file: str) -> None:
    cookie = house.session("ada")

    assert (await ask(house, [(NAME, "grace"), ("cookie", cookie)])).status_code == 401


async def test_a_page_of_another_site_may_not_use_its_word(house: House, secret_file: str) -> None:
    await house.apply(ended(owner="grace"))
    pin = "/runs/r1/pin"
    both: Headers = [*GRACE, ("authorization", f"Bearer {TOKENS['ada']}")]

    for headers in (GRACE, both):
        assert (await ask(house, headers, pin, method="PUT")).status_code == 403
        evil = [*headers, ("origin", "https://evil.example.org")]
        assert (await ask(house, evil, pin, method="PUT")).status_code == 403
    assert (await ask(house, [*GRACE, ("origin", ORIGIN)], pin, method="PUT")).status_code < 300


async def test_a_token_that_it_adds_for_a_browser_needs_an_origin_and_a_programs_does_not(
    house: House, secret_file: str
) -> None:
    await house.apply(ended(owner="ada"))
    ada: Headers = [("authorization", f"Bearer {TOKENS['ada']}")]

    assert (await ask(house, ada + GRACE, "/runs/r1/pin", method="PUT")).status_code == 403
    assert (await ask(house, [*ada, (MARK, SECRET)], "/runs/r1/pin", method="PUT")).status_code < 300
    assert (await ask(house, ada + GRACE, "/runs/r1/pin", peer="10.0.0.1", method="PUT")).status_code < 300


async def test_its_groups_count_with_every_request(house: House, secret_file: str) -> None:
    use(house, secret_file=secret_file, groups_header="X-Groups", admin_groups=("wheel",))

    assert (await ask(house, [*GRACE, ("x-groups", "lattice, wheel,,\x01")], "/metrics")).status_code == 200
    assert [tuple(row) for row in await house.rows("SELECT groups FROM outputs.identities")] == [
        (["lattice", "wheel"],)
    ]
    assert (await ask(house, GRACE, "/metrics")).status_code == 403
    assert (await ask(house, [*GRACE, ("x-groups", "g" * 20_000)])).status_code == 401


async def test_a_name_of_the_providers_is_not_the_proxys_unless_the_access_file_says_so(
    house: House, secret_file: str
) -> None:
    row = "INSERT INTO outputs.identities (name, issuer, subject) VALUES ('grace', 'https://login.example.org', 'u1')"
    await house.rows(f"{row} RETURNING name")

    for _ in range(3):
        answer = await ask(house, GRACE)
        assert answer.status_code == 401
        assert "somebody else's here" in answer.json()["detail"]
    told = await house.rows("SELECT act FROM outputs.audit WHERE credential = 'proxy'")
    assert [act.act for act in told] == ["login.refused"]

    use(house, secret_file=secret_file, shares_names=True)
    assert (await ask(house, GRACE)).status_code == 200
    assert [row.subject for row in await house.rows("SELECT subject FROM outputs.identities")] == ["u1"]


async def test_a_name_that_came_into_the_tokens_file_later_is_not_the_proxys_any_more(
    house: House, secret_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)
    assert (await ask(house, GRACE)).status_code == 200

    house.tokens_file.write_text("grace admin token-of-grace-0123456789\n")

    assert [(await ask(house, GRACE, path)).status_code for path in ("/runs", "/metrics")] == [401, 401]
    house.policy = msgspec.structs.replace(house.policy, trusts_listed_names=True)
    assert [(await ask(house, GRACE, path)).status_code for path in ("/runs", "/metrics")] == [200, 200]


async def test_who_is_refused_stands_in_the_log_with_their_own_address(house: House, secret_file: str) -> None:
    rules = msgspec.structs.replace(house.rules, addresses=Addresses(["127.0.0.0/8"]))
    house.app = app.build(house.parts, rules)
    row = "INSERT INTO outputs.identities (name, issuer, subject) VALUES ('grace', 'https://login.example.org', 'u1')"
    await house.rows(f"{row} RETURNING name")

    with capture_logs() as logs:
        answer = await ask(house, [*GRACE, ("x-forwarded-for", "203.0.113.9")])

    assert answer.status_code == 401
    entries = await house.rows("SELECT credential, address FROM outputs.audit WHERE credential = 'proxy'")
    assert [tuple(entry) for entry in entries] == [("proxy", "203.0.113.9")]
    [line] = [line for line in logs if line["event"] == "proxy_refused"]
    assert (line["address"], line["peer"]) == ("203.0.113.9", "127.0.0.1")


async def test_whom_it_speaks_for_is_not_taken_for_the_proxy(house: House, secret_file: str) -> None:
    rules = msgspec.structs.replace(house.rules, addresses=Addresses(["192.0.2.0/24"]))
    house.app = app.build(house.parts, rules)

    answer = await ask(house, [*GRACE, ("x-forwarded-for", "127.0.0.1")], peer="192.0.2.1")

    assert answer.status_code == 401


async def test_a_secret_that_was_changed_counts_within_a_second(
    house: House, secret_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)
    assert (await ask(house, GRACE)).status_code == 200

    (tmp_path / "proxy-secret").write_text("another secret, longer than before")

    assert (await ask(house, GRACE)).status_code == 401
    assert (await ask(house, [(NAME, "grace"), (MARK, "another secret, longer than before")])).status_code == 200


async def test_a_signed_word_says_who_asks(house: House, liar: Lying) -> None:
    signed: Headers = [("cf-access-jwt-assertion", await asserted(liar)), (NAME, "root")]

    assert (await ask(house, signed)).status_code == 200
    assert (await ask(house, signed, peer="10.0.0.1")).status_code == 401
    assert [row.name for row in await house.rows("SELECT name FROM outputs.identities")] == ["grace@example.org"]
    assert liar.count("/jwks") == 1


async def test_the_name_alone_is_nothing_where_a_signed_word_is_wanted(house: House, liar: Lying) -> None:
    answer = await ask(house, [(NAME, "root")])

    assert answer.status_code == 401
    assert "without the signed assertion" in answer.json()["detail"]


@pytest.mark.parametrize(
    "changes",
    [{"iss": "https://evil.example.org"}, {"aud": "x"}, {"exp": 5}, {"email": None}, {"email": "a b"}, {"sub": ""}],
)
async def test_a_signed_word_of_another_or_of_yesterday_is_refused(
    house: House, liar: Lying, changes: dict[str, Any]
) -> None:
    assert (await ask(house, [("cf-access-jwt-assertion", await asserted(liar, **changes))])).status_code == 401


async def test_a_word_that_somebody_else_signed_is_refused(house: House, liar: Lying) -> None:
    said = {
        "iss": liar.issuer,
        "aud": AUDIENCE,
        "sub": "u",
        "iat": time.time(),
        "exp": time.time() + 60,
        "email": "root",
    }

    for forged in (sign(said, key=OTHER), sign(said, header(alg="none")).rpartition(b".")[0] + b".", b"x" * 20_000):
        assert (await ask(house, [("cf-access-jwt-assertion", forged)])).status_code == 401


async def test_where_its_keys_are_not_to_be_had_nobody_is_refused_for_good(house: House, liar: Lying) -> None:
    liar.says["/jwks"] = (500, b"{}")

    assert (await ask(house, [("cf-access-jwt-assertion", await asserted(liar))])).status_code == 503


async def test_secret_and_signed_word_are_both_needed_where_both_are_set(
    house: House, liar: Lying, tmp_path: Path
) -> None:
    (tmp_path / "s").write_text(SECRET)
    assert house.policy.proxy is not None
    proxy = msgspec.structs.replace(house.policy.proxy, secret_file=str(tmp_path / "s"))
    house.policy = Policy(proxy=proxy, oidc=Oidc(issuer="http://127.0.0.1:9", client_id="x"))
    signed: Headers = [("cf-access-jwt-assertion", await asserted(liar))]

    assert (await ask(house, signed)).status_code == 401
    assert (await ask(house, [*signed, (MARK, SECRET)])).status_code == 200
    assert (await ask(house, GRACE)).status_code == 401
