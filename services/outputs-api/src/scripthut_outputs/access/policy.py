"""The access file: who is an admin, which groups there are, how people log in. TOML, read again when it changes.

admins = ["ada"]
default_visibility = "group"

[groups]
lattice = ["ada", "ben"]

[oidc]
issuer = "https://login.example.org/realms/physics"
client_id = "scripthut"
client_secret_file = "/etc/scripthut/oidc-secret"
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from scripthut_common.errors import SettingsError
from scripthut_common.settings import fill, read_toml

from . import Visibility
from .watched import WatchedFile

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_Url = Annotated[str, msgspec.Meta(pattern=r"\Ahttps?://[^\s]+\Z", max_length=500)]
_Bytes = Annotated[int, msgspec.Meta(ge=0)]


class Oidc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenID provider: browsers log in there, and programs may bring its JWTs as bearer tokens.

    Args:
        issuer: where `/.well-known/openid-configuration` is; the `iss` of every token.
        client_id: ours there.
        client_secret_file: of a confidential client; a public one has none, PKCE is used by both.
        scopes: asked for at login.
        name_claim: what people are called here.
        groups_claim: the list of groups that somebody belongs to.
        admin_groups: whoever is in one of them is an admin.
        account_claim: the account on clusters whose `accounts` is `claim`.
        audiences: of JWTs that programs bring; empty: none is taken.
        scopes_claim: of such a JWT: what it is good for, as words with `scope_prefix` in front; without one, `read`.
        scope_prefix: before our scopes, as in `scripthut:read`.
        ca_file: whom to trust besides the system's authorities.
        label: what the button says.
    """

    issuer: _Url
    client_id: _Text
    client_secret_file: str | None = None
    scopes: tuple[_Text, ...] = ("openid", "profile", "email")
    name_claim: _Text = "preferred_username"
    groups_claim: _Text = "groups"
    admin_groups: tuple[_Text, ...] = ()
    account_claim: str | None = None
    audiences: tuple[_Text, ...] = ()
    scopes_claim: _Text = "scope"
    scope_prefix: str = "scripthut:"
    ca_file: str | None = None
    label: _Text = "Log in with your institution"


class Proxy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reverse proxy that knows who asks: Open OnDemand, oauth2-proxy, Cloudflare Access.

    Args:
        addresses: networks from which its word counts, as `127.0.0.1/32`.
        name_header: who asks.
        groups_header: their groups, between commas.
        secret_header, secret_file: a header that holds the secret of this file; else `assertion_header` is needed.
        assertion_header: a JWT signed by the keys at `assertion_keys_url`; it names who asks in `assertion_name_claim`.
        assertion_issuer, assertion_audience: what it must say of itself.
    """

    addresses: tuple[_Text, ...]
    name_header: _Text = "x-forwarded-user"
    groups_header: str | None = None
    secret_header: _Text = "x-scripthut-proxy-secret"  # noqa: S105  the name of a header
    secret_file: str | None = None
    assertion_header: str | None = None
    assertion_keys_url: _Url | None = None
    assertion_issuer: str | None = None
    assertion_audience: str | None = None
    assertion_name_claim: _Text = "email"


class Quotas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many bytes of outputs are kept of one person; what exceeds it stands in the ledger alone.

    Args:
        default_bytes: of everybody who is not named; `None`: without end.
        bytes_of: of those who are.
    """

    default_bytes: _Bytes | None = None
    bytes_of: Mapping[str, _Bytes] = {}

    def of(self, name: str) -> int | None:
        """How many bytes are kept of somebody; `None`: without end."""
        return self.bytes_of.get(name, self.default_bytes)


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the access file says; the defaults are those of an installation without one."""

    admins: tuple[_Text, ...] = ()
    default_visibility: Visibility = Visibility.PRIVATE
    groups: Mapping[str, tuple[_Text, ...]] = {}
    oidc: Oidc | None = None
    proxy: Proxy | None = None
    quotas: Quotas = Quotas()


class AccessFile:
    """The access file as it is now.

    Args:
        path: where it is; `None` stands for an installation without one.

    Raises:
        SettingsError: one line for everything that is missing or wrong.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else WatchedFile(path, read)

    def now(self) -> Policy:
        """Give what it says."""
        return Policy() if self._file is None else self._file.now()


def read(path: Path) -> Policy:
    """Read an access file.

    Raises:
        SettingsError: one line for everything that is missing or wrong.
    """
    faults: list[str] = []
    found = fill(Policy, read_toml(path), "access", faults)
    if found is None:
        raise SettingsError("\n".join(f"{path}: {fault}" for fault in faults))
    return found
