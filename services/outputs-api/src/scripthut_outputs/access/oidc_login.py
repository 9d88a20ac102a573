"""Login of a browser: to the provider with a secret of this browser alone, and back with a code.

Source: OpenID Connect Core 1.0 section 3.1, RFC 7636 (PKCE), RFC 9207 (whose answer it is), RFC 9700.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
import structlog
from itsdangerous import BadSignature, URLSafeSerializer

from scripthut_common import text
from scripthut_common.errors import NotAllowed, NotAuthenticated, TransientError
from scripthut_outputs.catalog.identities import Vouched

from . import jwts
from .oidc_claims import find, vouched
from .oidc_provider import Metadata, Provider, Providers

CALLBACK = "/login/oidc/callback"
MINUTES = 10
_MAX_QUERY_BYTES = 8192
_AT_ONCE = 16
_PATIENCE_S = 2.0
_REMEMBERED = 10_000
_NOT_BEGUN = (
    f"This login was not begun in this browser, was finished already, or took longer than {MINUTES} minutes."
    " Begin again."
)

log = structlog.get_logger()


class NotVouched(NotAllowed):
    """A login that ended before the provider vouched for anybody."""


class NoPlace(TransientError):
    """So many logins are asked of the provider just now that another one must wait."""


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser keeps while it is at the provider."""

    state: str
    nonce: str
    verifier: str
    issuer: str
    client_id: str
    then: str
    begun_at: float


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send a browser, and the `Set-Cookie` header that it takes along."""

    location: str
    cookie: str


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the provider vouches for, and the page that they were on their way to."""

    vouched: Vouched
    then: str


class Logins:
    """The logins of browsers.

    Args:
        providers: gives the provider.
        key: signs what a browser keeps.
        url: where people reach us.
        clock: epoch seconds.
    """

    def __init__(self, providers: Providers, key: bytes, url: str, clock: Callable[[], float] = time.time) -> None:
        self._providers = providers
        self._signer = URLSafeSerializer(
            key, salt="scripthut-openid-login", signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._redirect = f"{url}{CALLBACK}"
        self._is_secure = url.startswith("https://")
        mark = hashlib.sha256(b"login cookie name " + key).hexdigest()[:8]
        self.cookie_name = f"{'__Host-' if self._is_secure else ''}scripthut_login_{mark}"
        self._places = asyncio.Semaphore(_AT_ONCE)
        # Attempts whose exchange began, with the time of that: a code is asked of the provider once for each.
        self._used: OrderedDict[str, float] = OrderedDict()
        self._clock = clock

    @property
    def label(self) -> str | None:
        """What the button says; `None` where nobody logs in so."""
        oidc = self._providers.oidc
        return None if oidc is None else oidc.label

    async def begin(self, then: str) -> Begun:
        """Send a browser to the provider; `then` is a page of ours.

        Raises:
            NotVouched: the access file names no provider.
            TransientError: the provider is not to be had.
        """
        provider = self._provider()
        metadata = await provider.metadata()
        attempt = _Attempt(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            issuer=provider.oidc.issuer,
            client_id=provider.oidc.client_id,
            then=then,
            begun_at=self._clock(),
        )
        asked = {
            "response_type": "code",
            "client_id": attempt.client_id,
            "redirect_uri": self._redirect,
            "scope": " ".join(provider.oidc.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": _challenge(attempt.verifier),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        value = str(self._signer.dumps(msgspec.to_builtins(attempt)))
        return Begun(
            location=f"{metadata.authorization_endpoint}{joint}{urlencode(asked)}",
            cookie=self._cookie(value),
        )

    async def finish(self, query: bytes, cookies: bytes | None) -> Finished:
        """Take a browser that comes back.

        Args:
            query: of the address, as it came.
            cookies: the `Cookie` header.

        Raises:
            NotVouched: this login was not begun in this browser, or not finished at the provider; says why.
            NotAuthenticated: what the provider says names nobody who may come in, or is not the provider's word.
            NoPlace: too many others log in just now; the same attempt counts a little later.
            TransientError: the provider is not to be had.
        """
        provider = self._provider()
        attempt, answer = self._attempt(cookies), _answer(query)
        if attempt is None or not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise NotVouched(_NOT_BEGUN)
        if (attempt.issuer, attempt.client_id) != (provider.oidc.issuer, provider.oidc.client_id):
            raise NotVouched("How people log in here has changed meanwhile. Begin again.")
        metadata = await provider.metadata()
        _check_whose(answer, metadata)
        if "error" in answer:
            raise NotVouched(_refusal(answer))
        if not answer.get("code"):
            raise NotVouched("The provider sent this browser back without a code. Begin again.")
        async with self._place(attempt):
            tokens = await self._exchange(provider, metadata, attempt, answer["code"])
            claims = await self._claims(provider, metadata, attempt, tokens)
        who = vouched(provider.oidc, claims, at=self._clock(), is_login=True)
        return Finished(vouched=who, then=attempt.then)

    @asynccontextmanager
    async def _place(self, attempt: _Attempt) -> AsyncIterator[None]:
        """Hold one of the places for one attempt, which gets one once.

        Raises:
            NotVouched: it had its own.
            NoPlace: none is free.
        """
        self._use(attempt.state)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._places.acquire()
        except TimeoutError as error:
            self._used.pop(attempt.state, None)
            raise NoPlace("too many people log in just now") from error
        try:
            yield
        finally:
            self._places.release()

    def _use(self, state: str) -> None:
        now = self._clock()
        if state in self._used:
            raise NotVouched(_NOT_BEGUN)
        while self._used and (len(self._used) >= _REMEMBERED or now - next(iter(self._used.values())) > MINUTES * 60):
            self._used.popitem(last=False)
        self._used[state] = now

    def _provider(self) -> Provider:
        provider = self._providers.now()
        if provider is None:
            raise NotVouched("Nobody logs in by an OpenID provider here: the access file names none.")
        return provider

    async def _exchange(
        self, provider: Provider, metadata: Metadata, attempt: _Attempt, code: str
    ) -> Mapping[str, Any]:
        """Give the tokens that a code is good for, once."""
        oidc = provider.oidc
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": attempt.verifier,
        }
        login = None
        secret = None if oidc.client_secret_file is None else _secret(oidc.client_secret_file)
        methods = metadata.token_endpoint_auth_methods_supported
        if secret is None:
            form["client_id"] = oidc.client_id
        elif "client_secret_basic" in methods or "client_secret_post" not in methods:
            login = (oidc.client_id, secret)
        else:
            form |= {"client_id": oidc.client_id, "client_secret": secret}
        said = await provider.asking.post(metadata.token_endpoint, form, login)
        if said.status == 200:
            return said.document
        error = text.line(str(said.document.get("error", "")))[:100]
        log.warning("openid_code_not_taken", status=said.status, error=error)
        if error == "invalid_grant":
            raise NotVouched("The provider does not take this code: it was used already, or is too old. Begin again.")
        if said.status >= 500:
            raise TransientError(f"{metadata.token_endpoint} answers {said.status}")
        raise NotVouched(
            f"The provider does not let this service ask who you are ({error or said.status}). Whoever runs the"
            " service looks whether `client_id` and `client_secret_file` are those that the provider knows."
        )

    async def _claims(
        self, provider: Provider, metadata: Metadata, attempt: _Attempt, tokens: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Give what the ID token says, and the provider besides, of one and the same person."""
        token = tokens.get("id_token")
        if not isinstance(token, str):
            raise NotAuthenticated("the provider gives no ID token: `openid` must be among the access file's `scopes`")
        claims = await self._id_claims(provider, attempt, token)
        oidc = provider.oidc
        wanted = [name for name in (oidc.name_claim, oidc.groups_claim, oidc.account_claim) if name is not None]
        access_token = tokens.get("access_token")
        if all(find(claims, name) is not None for name in wanted) or metadata.userinfo_endpoint is None:
            return claims
        if not isinstance(access_token, str) or not access_token.isascii() or not access_token.isprintable():
            return claims
        more = await provider.asking.get(metadata.userinfo_endpoint, bearer=access_token)
        if more.get("sub") != claims["sub"]:
            raise NotAuthenticated("what the provider says besides is of somebody else")
        return {**more, **claims}

    async def _id_claims(self, provider: Provider, attempt: _Attempt, token: str) -> Mapping[str, Any]:
        client_id = provider.oidc.client_id
        parts = jwts.take_apart(token.encode("utf-8", "replace"))
        expected = jwts.Expected(issuer=provider.oidc.issuer, audiences=frozenset({client_id}), now=self._clock())
        jwts.check(parts, expected)
        jwts.verify(parts, await provider.keys(parts.kid))
        claims, nonce = parts.claims, parts.claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), attempt.nonce.encode()):
            raise NotAuthenticated("this ID token was made for another login")
        is_for_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if is_for_several else client_id) != client_id:
            raise NotAuthenticated("this ID token was given to another client of the provider")
        return claims

    def _attempt(self, cookies: bytes | None) -> _Attempt | None:
        prefix = f"{self.cookie_name}=".encode()
        values = [one.strip() for one in (cookies or b"").split(b";")]
        found = [one.removeprefix(prefix) for one in values if one.startswith(prefix)]
        if len(found) != 1:
            return None
        try:
            attempt = msgspec.convert(self._signer.loads(found[0]), _Attempt)
        except (BadSignature, msgspec.ValidationError):
            return None
        return attempt if self._clock() - attempt.begun_at < MINUTES * 60 else None

    def _cookie(self, value: str) -> str:
        """Lax, since the browser comes back from the provider's site."""
        secure = "; Secure" if self._is_secure else ""
        return f"{self.cookie_name}={value}; Path=/; Max-Age={MINUTES * 60}; HttpOnly; SameSite=Lax{secure}"


def _answer(query: bytes) -> dict[str, str]:
    """Read what the provider says in the address; of what stands there twice nothing counts."""
    if len(query) > _MAX_QUERY_BYTES:
        raise NotVouched("This address is longer than any that the provider would send.")
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise NotVouched("This address cannot be read.") from error
    answer = dict(pairs)
    if len(answer) != len(pairs):
        raise NotVouched("This address says something twice, as no provider does.")
    return answer


def _check_whose(answer: Mapping[str, str], metadata: Metadata) -> None:
    said = answer.get("iss")
    if said is None and not metadata.authorization_response_iss_parameter_supported:
        return
    if said != metadata.issuer:
        raise NotVouched("This answer is of another provider than the one that was asked. Begin again.")


def _refusal(answer: Mapping[str, str]) -> str:
    error = text.line(answer["error"])[:100]
    said = text.line(answer.get("error_description", ""))[:300]
    if error == "access_denied":
        return f"The provider did not let you in, or you turned back there{f': {said}' if said else '.'}"
    return f"The provider says {error!r}{f': {said}' if said else '.'}"


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _secret(path: str) -> str:
    """Read the client's secret, each time: it may be changed while we run."""
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        log.error("client_secret_not_read", path=path, error=str(error))  # noqa: TRY400  the reason is in the words
        raise TransientError("the file with this service's secret for the provider cannot be read just now") from error
