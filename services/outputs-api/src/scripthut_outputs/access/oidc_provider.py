"""One OpenID provider: where its ends are, by discovery, and which keys it signs with."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from scripthut_common.errors import SettingsError, TransientError

from . import jwts
from .oidc_asking import Asking
from .oidc_kept import Kept
from .policy import Oidc, Policy, is_private_way


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of itself, as far as we ask. Source: OpenID Connect Discovery 1.0, RFC 8414, RFC 9207."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    code_challenge_methods_supported: tuple[str, ...] | None = None
    authorization_response_iss_parameter_supported: bool = False


class Provider:
    """A provider as the access file names it.

    Args:
        oidc: what the access file says.
        clock: monotonic seconds.

    Raises:
        SettingsError: its `ca_file` cannot be read.
    """

    def __init__(self, oidc: Oidc, clock: Callable[[], float] = time.monotonic) -> None:
        self.oidc = oidc
        self.asking = Asking(oidc.ca_file)
        self._metadata = Kept("configuration", self._discover, clock)
        self._keys = Kept("keys", self._read_keys, clock)

    async def metadata(self) -> Metadata:
        """Give where its ends are.

        Raises:
            TransientError: it is not to be had.
        """
        return await self._metadata.get()

    async def keys(self, kid: str | None) -> jwts.Keys:
        """Give its keys, read anew where `kid` is none of those known.

        Raises:
            TransientError: they are not to be had.
        """
        return await self._keys.get(lambda keys: keys.has(kid))

    async def _discover(self) -> Metadata:
        url = f"{self.oidc.issuer.rstrip('/')}/.well-known/openid-configuration"
        said = await self.asking.get(url)
        try:
            found = msgspec.convert(said, Metadata)
        except msgspec.ValidationError as error:
            raise TransientError(f"{url} is not what OpenID Connect asks for: {error}") from error
        if found.issuer != self.oidc.issuer:
            raise TransientError(
                f"{url} is of the issuer {found.issuer[:200]!r}, not {self.oidc.issuer!r}: the access file's `issuer`"
                " must be written the same, with or without a slash at its end"
            )
        ends = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint)
        for end in ends:
            if end is not None and not is_private_way(end):
                raise TransientError(f"{url} names an address that is not https: {end[:200]!r}")
        methods = found.code_challenge_methods_supported
        if methods is not None and "S256" not in methods:
            raise TransientError(f"{url} says that the provider knows no PKCE with S256, which every login here uses")
        return found

    async def _read_keys(self) -> jwts.Keys:
        return await read_keys(self.asking, (await self.metadata()).jwks_uri)


async def read_keys(asking: Asking, url: str) -> jwts.Keys:
    """Read the key set at an address.

    Raises:
        TransientError: it is not to be had, or none.
    """
    said: Mapping[str, Any] = await asking.get(url)
    try:
        return jwts.read_keys(said)
    except ValueError as error:
        raise TransientError(f"{url} gives no keys to check tokens with: {error}") from error


class Providers:
    """The provider of the access file as it is now.

    Args:
        policy: gives the access file.
        clock: monotonic seconds.
    """

    def __init__(self, policy: Callable[[], Policy], clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._provider: Provider | None = None

    @property
    def oidc(self) -> Oidc | None:
        """What the access file says of it."""
        return self._policy().oidc

    def now(self) -> Provider | None:
        """Give it; `None` where the access file names none.

        Raises:
            TransientError: a file that it needs cannot be read.
        """
        oidc = self.oidc
        if oidc is None:
            self._provider = None
        elif self._provider is None or self._provider.oidc != oidc:
            try:
                self._provider = Provider(oidc, self._clock)
            except SettingsError as error:
                raise TransientError(f"what this service needs to ask its provider cannot be read: {error}") from error
        return self._provider
