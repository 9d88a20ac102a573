"""What claims say of somebody, in our words."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from scripthut_common.errors import NotAuthenticated
from scripthut_outputs.access import Scope
from scripthut_outputs.access.oidc_claims import scopes_in, vouched
from scripthut_outputs.access.policy import Oidc
from scripthut_outputs.catalog.identities import Vouched
from tests.unit.outputs.access.signing import ISSUER, NOW, claims


def oidc(**changes: Any) -> Oidc:
    return Oidc(issuer=ISSUER, client_id="scripthut", **changes)


def said(settings: Oidc, *, is_login: bool = True, **changes: Any) -> Vouched:
    return vouched(settings, claims(**changes), at=NOW, is_login=is_login)


def test_a_login_says_who_somebody_is_and_all_that_they_are() -> None:
    settings = oidc(admin_groups=("wheel",), account_claim="account")

    found = said(settings, groups=["lattice", "wheel"], account="ada_l")

    assert found == Vouched(
        name="ada",
        issuer=ISSUER,
        subject="u-1",
        groups=frozenset({"lattice", "wheel"}),
        account="ada_l",
        at=datetime.fromtimestamp(NOW, UTC),
    )


def test_what_a_login_does_not_say_is_not_so_and_what_a_program_does_not_say_stays() -> None:
    settings = oidc(admin_groups=("wheel",), account_claim="account")

    at_login, of_a_program = said(settings), said(settings, is_login=False)

    assert (at_login.groups, at_login.account) == (frozenset(), None)
    assert (of_a_program.groups, of_a_program.account) == (None, msgspec.UNSET)
    assert said(oidc()).account is msgspec.UNSET


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        " ",
        "a b",
        "a/b",
        "../root",
        "-rf",
        "a\nb",
        "a\0",
        "ada\u200b",
        "\u0430da",
        "a" * 129,
        5,
        ["ada"],
        {"a": 1},
        "x:y",
    ],
)
def test_a_name_that_nobody_may_have_here_lets_nobody_in(name: Any) -> None:
    with pytest.raises(NotAuthenticated):
        said(oidc(), preferred_username=name)


def test_an_address_that_was_not_verified_names_nobody() -> None:
    settings = oidc(name_claim="email")

    assert said(settings, email="ada@example.org", email_verified=True).name == "ada@example.org"
    for verified in (False, "true", 1, None):
        with pytest.raises(NotAuthenticated, match="not verified"):
            vouched(settings, {**claims(email="ada@example.org"), "email_verified": verified}, at=NOW, is_login=True)
    with pytest.raises(NotAuthenticated, match="not verified"):
        said(settings, email="ada@example.org")


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ("lattice", {"lattice"}),
        (["/physics/lattice", "b"], {"/physics/lattice", "b"}),
        (["a", 5, None, ["b"], "", "c\n", "x" * 201], {"a"}),
        ({"a": 1}, set()),
        ([], set()),
    ],
)
def test_groups_are_texts(groups: Any, found: set[str]) -> None:
    assert said(oidc(), groups=groups).groups == frozenset(found)


def test_more_groups_than_anybody_has_are_refused() -> None:
    with pytest.raises(NotAuthenticated, match="1001 groups"):
        said(oidc(), groups=[f"g{number}" for number in range(1001)])


def test_a_claim_is_found_by_its_name_or_its_way() -> None:
    nested, flat = oidc(groups_claim="realm_access.roles"), oidc(groups_claim="https://example.org/groups")

    assert said(nested, realm_access={"roles": ["a"]}).groups == frozenset({"a"})
    assert said(nested, realm_access="a").groups == frozenset()
    named = claims() | {"https://example.org/groups": ["b"]}
    assert vouched(flat, named, at=NOW, is_login=True).groups == frozenset({"b"})


@pytest.mark.parametrize("account", ["", "a\nb", 5, "a" * 129, ["ada"]])
def test_an_account_that_is_none_is_none(account: Any) -> None:
    assert said(oidc(account_claim="account"), account=account).account is None


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        (None, {Scope.READ}),
        ("openid profile", {Scope.READ}),
        ("read submit admin", {Scope.READ}),
        ("scripthut:submit openid", {Scope.SUBMIT}),
        ("scripthut:read scripthut:collect", {Scope.READ, Scope.COLLECT}),
        ("scripthut:everything", {Scope.READ}),
        ("SCRIPTHUT:ADMIN", {Scope.READ}),
        (["scripthut:admin", 5], {Scope.ADMIN}),
        ({"scripthut:admin": True}, {Scope.READ}),
        (5, {Scope.READ}),
    ],
)
def test_a_programs_token_is_good_for_what_it_says_else_for_reading(scope: Any, found: set[Scope]) -> None:
    assert scopes_in(oidc(), claims(scope=scope)) == found
