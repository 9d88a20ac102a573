"""What the claims of a token say of somebody, in our words. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from scripthut_common.errors import NotAuthenticated
from scripthut_outputs.catalog.identities import Vouched

from . import Scope
from .names import NAME
from .policy import Oidc

_MAX_GROUPS = 1000
_MAX_GROUP_CHARACTERS = 200
_MAX_ACCOUNT_CHARACTERS = 128


def vouched(oidc: Oidc, claims: Mapping[str, Any], *, at: float, is_login: bool) -> Vouched:
    """Say of whom claims are.

    Args:
        oidc: names the claims.
        claims: of a token that was checked.
        at: when they were so, in epoch seconds.
        is_login: what they do not say is not so, rather than as before.

    Raises:
        NotAuthenticated: they give no name that somebody may have here.
    """
    groups = groups_in(claims, oidc.groups_claim)
    if groups is None and is_login:
        groups = frozenset()
    account: str | msgspec.UnsetType | None = msgspec.UNSET
    if oidc.account_claim is not None:
        said = find(claims, oidc.account_claim)
        if isinstance(said, str) and 0 < len(said) <= _MAX_ACCOUNT_CHARACTERS and said.isprintable():
            account = said
        elif is_login:
            account = None
    return Vouched(
        name=name_in(claims, oidc.name_claim, must_say_verified=True),
        issuer=oidc.issuer,
        subject=claims["sub"],
        groups=groups,
        account=account,
        at=datetime.fromtimestamp(at, UTC),
    )


def name_in(claims: Mapping[str, Any], claim: str, *, must_say_verified: bool) -> str:
    """Give whom claims name.

    Args:
        claims: of a token that was checked.
        claim: which of them is the name.
        must_say_verified: an address names somebody only where it is said that it was verified; else not where it is
            said that it was not.

    Raises:
        NotAuthenticated: nobody, nobody who may have such a name, or by an address that was not verified.
    """
    said = find(claims, claim)
    if said is None:
        raise NotAuthenticated(f"the provider does not say who this is: the claim {claim!r} is missing")
    if not isinstance(said, str) or not NAME.fullmatch(said):
        raise NotAuthenticated(
            f"the provider calls this person {str(said)[:128]!r}; names here are up to 128 letters, digits and . _ @ -"
        )
    if claim == "email" and claims.get("email_verified", not must_say_verified) is not True:
        raise NotAuthenticated("the provider has not verified this e-mail address, so it names nobody")
    return said


def groups_in(claims: Mapping[str, Any], claim: str) -> frozenset[str] | None:
    """Give the groups that claims name; `None` where they say nothing of groups.

    Raises:
        NotAuthenticated: they are too many.
    """
    said = find(claims, claim)
    if said is None:
        return None
    listed = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    if len(listed) > _MAX_GROUPS:
        raise NotAuthenticated(f"the provider names {len(listed)} groups; up to {_MAX_GROUPS} are read")
    return frozenset(one for one in listed if isinstance(one, str) and is_group(one))


def is_group(text: str) -> bool:
    """Whether a group may be called so."""
    return 0 < len(text) <= _MAX_GROUP_CHARACTERS and text.isprintable()


def scopes_in(oidc: Oidc, claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Give what a program's token is good for; one that says nothing of us, for reading."""
    said = find(claims, oidc.scopes_claim)
    words = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
    ours = {
        Scope(word.removeprefix(oidc.scope_prefix))
        for word in words
        if isinstance(word, str)
        and word.startswith(oidc.scope_prefix)
        and word.removeprefix(oidc.scope_prefix) in set(Scope)
    }
    return frozenset(ours) or frozenset({Scope.READ})


def find(claims: Mapping[str, Any], name: str) -> Any:
    """Give a claim by its name or, where it lies in others, by its way there: `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found
