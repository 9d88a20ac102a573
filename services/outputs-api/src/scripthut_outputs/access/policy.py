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

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec

from scripthut_common.errors import SettingsError
from scripthut_common.settings import fill, read_toml

from . import Visibility
from .oidc_asking import trusting
from .watched import WatchedFile

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_Bytes = Annotated[int, msgspec.Meta(ge=0)]
S = TypeVar("S", bound=msgspec.Struct)
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
# What these say is for us or for others already.
_TAKEN = frozenset({"authorization", "cookie", "host", "origin", "x-forwarded-for", "forwarded"})
# The issuer of those whom a proxy names.
PROXY = "proxy"
_MIN_SECRET_CHARACTERS = 20


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

    issuer: _Text
    client_id: _Text
    client_secret_file: _Text | None = None
    scopes: tuple[_Text, ...] = ("openid", "profile", "email")
    name_claim: _Text = "preferred_username"
    groups_claim: _Text = "groups"
    admin_groups: tuple[_Text, ...] = ()
    account_claim: _Text | None = None
    audiences: tuple[_Text, ...] = ()
    scopes_claim: _Text = "scope"
    scope_prefix: str = "scripthut:"
    ca_file: _Text | None = None
    label: _Text = "Log in with your institution"


class Proxy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reverse proxy that knows who asks: Open OnDemand, oauth2-proxy, Cloudflare Access.

    It vouches by a secret, by an assertion, or by both; one of them is needed.

    Args:
        addresses: networks from which its word counts, as `127.0.0.1/32`.
        name_header: who asks; where there is an assertion, that says it instead.
        groups_header: their groups, between commas.
        admin_groups: whoever is in one of them is an admin.
        secret_file: of the secret that `secret_header` holds.
        secret_header: where the proxy puts it.
        assertion_header: a JWT signed by the keys at `assertion_keys_url`; it names who asks in `assertion_name_claim`.
        assertion_keys_url: a key set in JSON.
        assertion_issuer, assertion_audience: what it must say of itself.
        assertion_name_claim: where it says who asks.
        ca_file: whom to trust besides the system's authorities, for `assertion_keys_url`.
        shares_names: whoever it calls by a name is whom the OpenID provider calls so; else a name is of either.
    """

    addresses: tuple[_Text, ...]
    name_header: _Text = "x-forwarded-user"
    groups_header: _Text | None = None
    admin_groups: tuple[_Text, ...] = ()
    secret_header: _Text = "x-scripthut-proxy-secret"  # noqa: S105  the name of a header
    secret_file: _Text | None = None
    assertion_header: _Text | None = None
    assertion_keys_url: _Text | None = None
    assertion_issuer: _Text | None = None
    assertion_audience: _Text | None = None
    assertion_name_claim: _Text = "email"
    ca_file: _Text | None = None
    shares_names: bool = False

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Where its word counts from."""
        return tuple(ip_network(address) for address in self.addresses)


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
    """What the access file says; the defaults are those of an installation without one.

    Args:
        admins: by name, whoever vouches for them.
        default_visibility: of a run whose document does not say.
        groups: members by group, besides what providers and proxies say.
        trusts_listed_names: whoever a provider or proxy calls by a name of the tokens file is that person; else nobody
            comes in by such a name but with a line of the file.
        oidc, proxy: who else may say who somebody is.
        quotas: how much is kept of one person.
    """

    admins: tuple[_Text, ...] = ()
    default_visibility: Visibility = Visibility.PRIVATE
    groups: Mapping[str, tuple[_Text, ...]] = {}
    trusts_listed_names: bool = False
    oidc: Oidc | None = None
    proxy: Proxy | None = None
    quotas: Quotas = Quotas()

    def hears(self, issuer: str | None) -> bool:
        """Whether what an issuer has said of somebody's groups still counts."""
        return (issuer == PROXY and self.proxy is not None) or (self.oidc is not None and issuer == self.oidc.issuer)

    def admin_groups_of(self, issuer: str | None) -> frozenset[str]:
        """The groups whose members are admins, of those that an issuer names."""
        if self.oidc is not None and issuer == self.oidc.issuer:
            by_proxy = self.proxy.admin_groups if self.proxy is not None and self.proxy.shares_names else ()
            return frozenset({*self.oidc.admin_groups, *by_proxy})
        if self.proxy is not None and issuer == PROXY:
            return frozenset(self.proxy.admin_groups)
        return frozenset()


# One object: who is known is remembered together with the words that they were made of.
_UNWRITTEN = Policy()


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
        return _UNWRITTEN if self._file is None else self._file.now()


def read(path: Path) -> Policy:
    """Read an access file.

    Raises:
        SettingsError: one line for everything that is missing or wrong.
    """
    faults: list[str] = []
    written = read_toml(path)
    oidc, proxy = written.pop("oidc", None), written.pop("proxy", None)
    found = fill(Policy, written, "access", faults)
    of_oidc = _table(Oidc, oidc, "access.oidc", faults)
    of_proxy = _table(Proxy, proxy, "access.proxy", faults)
    faults += [*_faults_of_oidc(of_oidc), *_faults_of_proxy(of_proxy)]
    if found is None or faults:
        raise SettingsError("\n".join(f"{path}: {fault}" for fault in faults))
    return msgspec.structs.replace(found, oidc=of_oidc, proxy=of_proxy)


def _table(type_: type[S], said: object, where: str, faults: list[str]) -> S | None:
    if isinstance(said, dict):
        return fill(type_, said, where, faults)
    if said is not None:
        faults.append(f"{where}: must be a table, as [{where.removeprefix('access.')}]")
    return None


def read_secret(path: Path) -> str:
    """Read a file that has a secret and nothing else.

    Raises:
        SettingsError: it cannot be read, or is too short for one.
    """
    try:
        secret = path.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: has something that is no text") from error
    if len(secret) < _MIN_SECRET_CHARACTERS or not secret.isascii() or not secret.isprintable():
        raise SettingsError(f"{path}: a secret is one line of at least {_MIN_SECRET_CHARACTERS} ASCII characters")
    return secret


def is_private_way(url: str) -> bool:
    """Whether nobody else hears what is said at an address: https, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    try:
        is_here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_here = False
    return parts.scheme == "http" and is_here


def _faults_of_oidc(oidc: Oidc | None) -> Iterator[str]:
    if oidc is None:
        return
    if not is_private_way(oidc.issuer):
        yield f"access.oidc.issuer: {oidc.issuer} is not https"
    if "openid" not in oidc.scopes:
        yield "access.oidc.scopes: `openid` must be among them"
    yield from _fault_of_file("access.oidc.client_secret_file", oidc.client_secret_file)
    yield from _fault_of_authorities("access.oidc.ca_file", oidc.ca_file)


def _faults_of_proxy(proxy: Proxy | None) -> Iterator[str]:
    if proxy is None:
        return
    if not proxy.addresses:
        yield "access.proxy.addresses: name at least one network from which the proxy asks"
    try:
        proxy.networks  # noqa: B018  asks whether they can be read
    except ValueError as error:
        yield f"access.proxy.addresses: {error}"
    yield from _faults_of_proof(proxy)
    for name in ("assertion_keys_url", "assertion_issuer", "assertion_audience"):
        if (getattr(proxy, name) is None) is not (proxy.assertion_header is None):
            yield f"access.proxy.{name}: goes with `assertion_header`, and must be there with it"
    if proxy.assertion_keys_url is not None and not is_private_way(proxy.assertion_keys_url):
        yield f"access.proxy.assertion_keys_url: {proxy.assertion_keys_url} is not https"
    yield from _faults_of_headers(proxy)
    yield from _fault_of_authorities("access.proxy.ca_file", proxy.ca_file)


def _faults_of_proof(proxy: Proxy) -> Iterator[str]:
    if proxy.secret_file is None and proxy.assertion_header is None:
        yield "access.proxy: needs `secret_file` or `assertion_header`; else whoever is at its addresses says who asks"
    if proxy.groups_header is not None and proxy.secret_file is None:
        yield "access.proxy.groups_header: goes with `secret_file`; an assertion proves the name alone"
    if proxy.secret_file is not None:
        try:
            read_secret(Path(proxy.secret_file))
        except SettingsError as error:
            yield f"access.proxy.secret_file: {error}"


def _faults_of_headers(proxy: Proxy) -> Iterator[str]:
    seen: set[str] = set()
    for field in ("name_header", "groups_header", "secret_header", "assertion_header"):
        name: str | None = getattr(proxy, field)
        if name is None:
            continue
        if not _HEADER.fullmatch(name) or name.lower() in _TAKEN:
            yield f"access.proxy.{field}: {name!r} cannot be the name of such a header"
        elif name.lower() in seen:
            yield f"access.proxy.{field}: {name!r} is used twice"
        seen.add(name.lower())


def _fault_of_authorities(where: str, path: str | None) -> Iterator[str]:
    try:
        trusting(path)
    except SettingsError as error:
        yield f"{where}: {error}"


def _fault_of_file(where: str, path: str | None) -> Iterator[str]:
    if path is None:
        return
    try:
        if not Path(path).read_text("utf-8").strip():
            yield f"{where}: {path} is empty"
    except OSError as error:
        yield f"{where}: {path}: {error.strerror or error}"
    except UnicodeDecodeError:
        yield f"{where}: {path} has something that is no text"
